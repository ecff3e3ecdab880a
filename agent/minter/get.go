// SPDX-License-Identifier: Apache-2.0

package minter

import (
	"context"
	"errors"
	"time"

	"github.com/regmint/regmint/providers"
)

// Get returns a credential that has not expired, minting where it must. ctx is
// the caller's own deadline: when it ends the flight goes on for the others,
// and the caller gets the credential it would have replaced while that lives.
// Errors are those of the Source, *providers.Error of kind Unavailable where
// the Source gave none; ctx's own error is wrapped.
func (m *Minter) Get(ctx context.Context, r Request) (providers.Credential, error) {
	// A credential can end between its landing and this caller's turn (a
	// suspend, a life of milliseconds): ask anew, not for ever.
	for range 3 {
		f, c, err := m.ask(ctx, r)
		if f == nil {
			return c, err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return m.leave(ctx, r.ID)
		}
		if c, err, ok := m.collect(r.ID, f); ok {
			return c, err
		}
	}
	return providers.Credential{}, errExpired(r.ID.Host)
}

// ask answers from the cache, or returns the flight to wait for.
func (m *Minter) ask(ctx context.Context, r Request) (*flight, providers.Credential, error) {
	now := m.clock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.late(now) {
		m.run(now)
	}
	e := m.entries[r.ID]
	if e == nil {
		e = &entry{req: r}
		m.entries[r.ID] = e
	}
	e.req.Source = r.Source // a reload may have opened the account anew
	e.used = now.boot
	if !e.has {
		return m.miss(ctx, e, now)
	}
	left := e.term.left(now)
	switch e.term.judge(left) {
	case gone:
		return m.miss(ctx, e, now)
	case short:
		if f := m.renewal(ctx, e, now, left); f != nil {
			return f, providers.Credential{}, nil
		}
	case stale:
		if e.flight == nil && e.dueFor(now, left) && !m.stopped {
			e.asked = true
			if e.place == 0 || e.due > now.boot {
				m.enqueue(e, now.boot)
			}
			m.run(now)
		}
	}
	m.stats.Hits++
	if !e.asked {
		e.asked = true
		m.schedule(e, now)
	}
	return nil, e.cred, nil
}

// miss is ask with nothing to serve: it joins the flight, answers a remembered
// failure or starts a flight.
func (m *Minter) miss(ctx context.Context, e *entry, now instant) (*flight, providers.Credential, error) {
	m.stats.Misses++
	if e.flight != nil {
		m.stats.Shared++
		return e.flight, providers.Credential{}, nil
	}
	if now.boot < e.until {
		return nil, providers.Credential{}, e.remembered(now)
	}
	if err := m.refuses(ctx, e.req.ID.Host); err != nil {
		m.schedule(e, now)
		return nil, providers.Credential{}, err
	}
	return m.start(e, false), providers.Credential{}, nil
}

// renewal returns the flight a caller with a short credential waits for, nil
// if no attempt is under way or due.
func (m *Minter) renewal(ctx context.Context, e *entry, now instant, left time.Duration) *flight {
	if e.flight != nil {
		m.stats.Shared++
		return e.flight
	}
	if !e.dueFor(now, left) || m.refuses(ctx, e.req.ID.Host) != nil {
		return nil
	}
	return m.start(e, false)
}

// refuses says why no flight may start: the minter has ended or the caller has
// already gone.
func (m *Minter) refuses(ctx context.Context, h providers.Host) error {
	if m.stopped || m.ctx.Err() != nil {
		return errStopped(h)
	}
	if ctx.Err() != nil {
		return errLeft(ctx, h)
	}
	return nil
}

// collect is what a caller gets when its flight has landed; ok is false if it
// must ask again.
func (m *Minter) collect(id ID, f *flight) (c providers.Credential, err error, ok bool) {
	now := m.clock()
	if f.err == nil && f.term.left(now) > 0 {
		return f.cred, nil, true
	}
	if c, ok := m.alive(id, now); ok {
		return c, nil, true
	}
	return providers.Credential{}, f.err, f.err != nil
}

// leave is what a caller gets whose deadline ends before its flight.
func (m *Minter) leave(ctx context.Context, id ID) (providers.Credential, error) {
	if c, ok := m.alive(id, m.clock()); ok {
		return c, nil
	}
	return providers.Credential{}, errLeft(ctx, id.Host)
}

// alive returns what is cached for id while it lives.
func (m *Minter) alive(id ID, now instant) (providers.Credential, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entries[id]
	if e == nil || !e.has || e.term.left(now) <= 0 {
		return providers.Credential{}, false
	}
	return e.cred, true
}

// dueFor reports whether a caller's need may start an attempt now.
func (e *entry) dueFor(now instant, left time.Duration) bool {
	return now.boot >= e.until &&
		now.boot-e.tried >= spacing(e.term.life) &&
		(!e.same || left <= e.term.last)
}

// remembered is the failure that stands for an answer; a Retry-After in it
// counts down.
func (e *entry) remembered(now instant) error {
	pe, ok := errors.AsType[*providers.Error](e.err)
	if !ok || pe.RetryAfter <= 0 {
		return e.err
	}
	c := *pe
	c.RetryAfter = e.until - now.boot
	return &c
}
