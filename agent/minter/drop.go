// SPDX-License-Identifier: Apache-2.0

package minter

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/regmint/regmint/providers"
)

const (
	longLife = 24 * time.Hour // with more left than this a credential is long-lived
	maxLong  = 16_384         // long-lived credentials that nobody holds
)

// Hold keeps the credential of r fresh in the background until release is
// called (a job holds what it has asked for). Holding never mints by itself
// before the first Get. release may be called more than once.
func (m *Minter) Hold(r Request) (release func()) {
	now := m.clock()
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entries[r.ID]
	if e == nil {
		e = &entry{req: r}
		m.entries[r.ID] = e
	}
	e.held++
	m.schedule(e, now)
	return sync.OnceFunc(func() {
		now := m.clock()
		m.mu.Lock()
		defer m.mu.Unlock()
		e.held-- // an entry that is held stays in the map
		m.schedule(e, now)
	})
}

// Drop forgets entries and remembered failures for which match is true and
// returns how many living credentials it dropped. A flight under way finishes
// for its waiters but does not enter the cache, and later callers do not join
// it. What is held is minted anew by the next Get. match must not call m.
func (m *Minter) Drop(match func(ID) bool) int {
	now := m.clock()
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for id, e := range m.entries {
		if !match(id) {
			continue
		}
		if e.has && e.term.left(now) > 0 {
			n++
		}
		m.dequeue(e)
		e.flight = nil
		if e.held == 0 {
			m.forget(e)
			continue
		}
		*e = entry{req: e.req, held: e.held, mints: e.mints}
	}
	m.arm(now)
	return n
}

// ForgetFailures drops remembered failures alone, for an input changed, and
// returns how many stood for an answer. Failures of flights under way are not
// remembered either. A registry's own Retry-After stays: it does not depend on
// our inputs. match must not call m.
func (m *Minter) ForgetFailures(match func(ID) bool) int {
	now := m.clock()
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for id, e := range m.entries {
		if !match(id) {
			continue
		}
		if e.flight != nil {
			e.flight.forgetful = true
		}
		if e.err == nil {
			continue
		}
		if _, asked := remember(e.err); asked > 0 && now.boot < e.until {
			continue
		}
		if now.boot < e.until {
			n++
		}
		e.err, e.errAt = nil, time.Time{}
		e.fails, e.until, e.retry = 0, 0, 0
		m.schedule(e, now)
	}
	m.arm(now)
	return n
}

// thin keeps the number of long-lived credentials bounded: each CI job may
// bring an environment of its own, and what it got has no end that would make
// it leave. Those that nobody holds go, the longest unasked for first.
func (m *Minter) thin(now instant) {
	if m.lasting++; m.lasting <= maxLong {
		return
	}
	var idle []*entry
	n := 0
	for _, e := range m.entries {
		if !e.has || e.term.left(now) <= longLife {
			continue
		}
		n++
		if e.held == 0 && e.flight == nil {
			idle = append(idle, e)
		}
	}
	slices.SortFunc(idle, func(a, b *entry) int { return cmp.Compare(a.used, b.used) })
	for _, e := range idle[:max(0, min(len(idle), n-maxLong/2))] {
		m.dequeue(e)
		m.forget(e)
	}
	// Counted again after as many have landed, held ones or not.
	m.lasting = maxLong / 2
}

// Views lists the cache in no particular order.
func (m *Minter) Views() []View {
	now := m.clock()
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]View, 0, len(m.entries))
	for id, e := range m.entries {
		v := View{ID: id, Mints: e.mints, Held: e.held, Err: e.err, ErrAt: e.errAt}
		if e.has {
			v.Credential = e.cred
			v.Credential.Secret = providers.Secret{}
			if e.place > 0 && (e.held > 0 || e.asked) && e.due < e.term.end {
				v.RefreshAt = now.wall.Add(e.due - now.boot)
			}
		}
		out = append(out, v)
	}
	return out
}

// Stats returns the counters.
func (m *Minter) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stats
	s.Entries = len(m.entries)
	return s
}
