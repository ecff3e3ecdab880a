// SPDX-License-Identifier: Apache-2.0

package minter

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/regmint/regmint/providers"
)

// lastWords is how long a Source whose time is up may take to say why.
const lastWords = time.Second

// flight is one mint under way. cred, term and err are set before done closes.
type flight struct {
	req        Request
	entry      *entry // the flight counts while entry.flight is this flight
	background bool
	forgetful  bool // an input changed meanwhile: its failure is not remembered
	done       chan struct{}
	cred       providers.Credential
	term       term
	err        error
}

// answer is what a Source gave.
type answer struct {
	cred  providers.Credential
	early bool
	err   error
}

// start makes a flight for e, which has none. Caller holds m.mu.
func (m *Minter) start(e *entry, background bool) *flight {
	f := &flight{req: e.req, entry: e, background: background, done: make(chan struct{})}
	e.flight = f
	m.dequeue(e)
	m.stats.Flights++
	if m.admits(f) {
		m.launch(f)
	} else {
		m.waiting = append(m.waiting, f)
	}
	return f
}

func (m *Minter) admits(f *flight) bool {
	if m.running >= m.maxFlights {
		return false
	}
	if f.background {
		return m.background < m.maxBackground
	}
	return m.perHost[f.req.ID.Host] < m.maxPerHost
}

func (m *Minter) launch(f *flight) {
	m.running++
	if f.background {
		m.background++
	} else {
		m.perHost[f.req.ID.Host]++
	}
	go m.fly(f)
}

// fly runs one flight. It ends by itself: attempt is bounded by MintTimeout.
func (m *Minter) fly(f *flight) {
	a := m.attempt(f.req)
	now := m.clock()
	m.mu.Lock()
	m.running--
	if f.background {
		m.background--
	} else if h := f.req.ID.Host; m.perHost[h] > 1 {
		m.perHost[h]--
	} else {
		delete(m.perHost, h)
	}
	m.land(f, a, now)
	m.admit()
	m.run(now)
	m.mu.Unlock()
	m.report(f)
}

// admit launches the flights that waited for their turn.
func (m *Minter) admit() {
	for i := 0; i < len(m.waiting) && m.running < m.maxFlights; {
		if f := m.waiting[i]; m.admits(f) {
			m.waiting = slices.Delete(m.waiting, i, i+1)
			m.launch(f)
			continue
		}
		i++
	}
}

// attempt asks the Source under the minter's own context and time limit. A
// Source that ignores its context is left behind, so that the key and the
// place among the flights are free again.
func (m *Minter) attempt(r Request) answer {
	ctx, cancel := context.WithTimeout(m.ctx, m.timeout)
	defer cancel()
	got := make(chan answer, 1)
	go call(ctx, r, got)
	select {
	case a := <-got:
		return m.explain(a, r.ID.Host)
	case <-ctx.Done():
	}
	t := time.NewTimer(lastWords)
	defer t.Stop()
	select {
	case a := <-got:
		return m.explain(a, r.ID.Host)
	case <-t.C:
		return m.explain(answer{err: ctx.Err()}, r.ID.Host)
	}
}

// explain puts words to an ended context and a host to every failure.
func (m *Minter) explain(a answer, h providers.Host) answer {
	if a.err == nil {
		return a
	}
	if _, ok := errors.AsType[*providers.Error](a.err); !ok {
		switch {
		case m.ctx.Err() != nil:
			return answer{err: errStopped(h)}
		case errors.Is(a.err, context.DeadlineExceeded):
			return answer{err: unavailable(h, "no answer within %s: %w", m.timeout, context.DeadlineExceeded)}
		}
	}
	return answer{err: problem(a.err, h)}
}

// call runs the Source's own code. Whatever that does, got receives one answer.
func call(ctx context.Context, r Request, got chan<- answer) {
	a := answer{err: unavailable(r.ID.Host, "the provider ended without an answer")}
	defer func() {
		if v := recover(); v != nil {
			// The value may quote a secret; its type does not.
			a = answer{err: unavailable(r.ID.Host, "the provider panicked (%T); this is a bug in regmint", v)}
		}
		got <- a
	}()
	c, err := r.Source.Mint(ctx, r.Request)
	if err == nil && c.Secret.IsZero() {
		err = unavailable(r.ID.Host, "the answer holds no secret")
	}
	if err != nil {
		a = answer{err: err}
		return
	}
	c.IssuedAt, c.ExpiresAt = c.IssuedAt.Round(0), c.ExpiresAt.Round(0)
	early := false
	if s, ok := r.Source.(providers.EarlyRefresher); ok {
		early = s.RefreshEarly()
	}
	a = answer{cred: c, early: early}
}

// land takes the answer of f into the cache, unless f was dropped meanwhile,
// and wakes its waiters.
func (m *Minter) land(f *flight, a answer, now instant) {
	defer close(f.done)
	m.stats.Flights--
	f.cred, f.err = a.cred, a.err
	if f.err == nil {
		var ok bool
		if f.term, ok = newTerm(a.cred, now, a.early, m.rand()); !ok {
			f.cred, f.err = providers.Credential{}, errExpired(f.req.ID.Host)
		}
	}
	e := f.entry
	current := e.flight == f
	if current {
		e.flight = nil
		e.tried = now.boot
	}
	switch {
	case f.err != nil:
		m.stats.MintErrors++
		if current {
			m.failed(e, f, now)
		}
	default:
		m.stats.Mints++
		if current {
			m.landed(e, f, now)
		}
	}
	if current {
		m.schedule(e, now)
	}
}

func (m *Minter) failed(e *entry, f *flight, now instant) {
	e.fails++
	e.err, e.errAt = f.err, now.wall
	hold, asked := remember(f.err)
	if f.forgetful {
		hold = asked
	}
	e.until = now.boot + hold
	e.retry = now.boot + m.backoff(e, now)
}

func (m *Minter) landed(e *entry, f *flight, now instant) {
	e.mints++
	e.fails, e.until, e.retry = 0, 0, 0
	e.err, e.errAt = nil, time.Time{}
	if e.has && !e.term.forever() && !f.term.forever() {
		old, slack := e.term.left(now), spacing(e.term.life)/2
		if more := f.term.left(now) - old; old > 0 && more <= slack {
			// No refresh. Another secret that ends about when the old one does
			// is taken: its making may have ended the old one.
			e.same = true
			if more >= -slack && !f.cred.Secret.Equal(e.cred.Secret) {
				e.cred = f.cred
				e.term.expires, e.term.end = f.term.expires, f.term.end
			}
			f.cred, f.term = e.cred, e.term
			return
		}
		if old > 0 {
			m.stats.Refreshes++
		}
	}
	e.has, e.same, e.asked = true, false, false
	e.cred, e.term = f.cred, f.term
	if e.term.left(now) > longLife {
		m.thin(now)
	}
}

// report logs outside the lock. It names no environment digest and no secret.
func (m *Minter) report(f *flight) {
	id := f.req.ID
	if f.err != nil {
		level := slog.LevelWarn
		if providers.KindOf(f.err) == providers.NoAccount {
			level = slog.LevelDebug // nobody is anybody there: a public image is pulled
		}
		m.log.Log(m.ctx, level, "mint failed", "host", id.Host.String(), "account", id.Account, "background", f.background,
			"kind", string(providers.KindOf(f.err)), "err", f.err.Error())
		return
	}
	m.log.Debug("minted", "host", id.Host.String(), "account", id.Account, "background", f.background,
		"expires", f.cred.ExpiresAt)
}
