// SPDX-License-Identifier: Apache-2.0

// Package minter caches credentials, mints each once however many callers
// wait, and renews it before it ends. It knows no provider and no transport.
//
// A credential is judged on every read by two clocks, the wall clock and the
// time since boot, and ends when either says so. Timers only start work; they
// are never trusted to end a credential. See docs/adr/0003 and 0004.
package minter

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/regmint/regmint/providers"
)

// ID names one credential; it is the cache key, compared field by field, so
// that no two sets of parts can run together.
type ID struct {
	Account string // layer and name
	Env     string // salted digest of the environment values of the Source
	Host    providers.Host
	Grants  string // canonical
	Source  string // Source.Key
	Job     string // set where the Source makes a thing per job
}

// Config is what a Minter needs. Zero fields get defaults.
type Config struct {
	// Now returns the wall clock and the time since boot, suspend included
	// (default SystemClock). It is called from many goroutines.
	Now func() (wall time.Time, boot time.Duration)
	// Rand is uniform in [0,1); it spreads refreshes. It is called by one
	// goroutine at a time (default math/rand/v2).
	Rand func() float64
	// Log gets failures as warnings and mints as debug lines (default: none).
	Log *slog.Logger
	// MintTimeout bounds one mint (default 60 s); it is independent of callers.
	MintTimeout time.Duration
	// MaxFlights bounds mints at once (default 64). One host has at most half
	// of them and renewals in the background a quarter, so that a registry
	// that hangs leaves room for the others.
	MaxFlights int
}

// Request is one ask.
type Request struct {
	ID      ID
	Source  providers.Source
	Request providers.Request
}

// View is one cached entry, without its secret, for status and metrics.
type View struct {
	ID         ID
	Credential providers.Credential // Secret is empty; all zero where only a failure is remembered
	RefreshAt  time.Time            // wall clock; zero: not planned
	Mints      int
	Held       int
	Err        error // remembered failure or last failed refresh
	ErrAt      time.Time
}

// Stats counts since the start.
type Stats struct {
	// Hits were answered from the cache, Misses found nothing to serve, Shared
	// waited for a flight that another caller or a timer had started.
	Hits, Misses, Shared uint64
	// Mints succeeded, MintErrors failed; Refreshes are the Mints that took
	// the place of a credential still alive.
	Mints, MintErrors, Refreshes uint64
	// Entries are in the cache now; Flights are running or waiting to run now.
	Entries, Flights int
}

// Minter is safe for concurrent use.
type Minter struct {
	ctx     context.Context // the minter's own life, never a caller's
	clock   func() instant
	rand    func() float64
	log     *slog.Logger
	timeout time.Duration

	maxFlights, maxPerHost, maxBackground int

	mu      sync.Mutex
	entries map[ID]*entry
	stats   Stats
	stopped bool

	// Flights: running ones are counted, the rest wait in order of arrival.
	running, background int
	perHost             map[providers.Host]int // running, started by callers
	waiting             []*flight

	// Background work, ordered by the boot time at which it is due.
	queue    queue
	timer    *time.Timer
	armed    time.Duration // boot time the timer is set for; never: not set
	launched time.Duration // boot time of the last launch in the background
	wakes    int
}

// entry is what is known of one ID. Minter.mu guards all of it.
type entry struct {
	req    Request
	flight *flight // under way and still wanted
	held   int
	mints  int

	has   bool // cred and term are set
	same  bool // the last mint brought no later expiry
	asked bool // asked for since cred landed
	cred  providers.Credential
	term  term

	tried time.Duration // boot time at which the last attempt ended
	retry time.Duration // boot time before which no attempt is made in the background
	until time.Duration // boot time up to which err stands for an answer
	fails int           // failures in a row
	err   error
	errAt time.Time

	due   time.Duration // boot time of its next piece of work
	place int           // index in Minter.queue plus 1; 0: not queued
}

// New returns a Minter whose background work ends with ctx. Afterwards Get
// answers what is cached and still alive, and fails otherwise.
func New(ctx context.Context, c Config) *Minter {
	if c.Now == nil {
		c.Now = SystemClock
	}
	if c.Rand == nil {
		c.Rand = rand.Float64
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.MintTimeout <= 0 {
		c.MintTimeout = time.Minute
	}
	if c.MaxFlights <= 0 {
		c.MaxFlights = 64
	}
	m := &Minter{
		ctx: ctx,
		clock: func() instant {
			wall, boot := c.Now()
			return instant{wall: wall.Round(0), boot: boot}
		},
		rand:          c.Rand,
		log:           c.Log,
		timeout:       c.MintTimeout,
		maxFlights:    c.MaxFlights,
		maxPerHost:    max(1, c.MaxFlights/2),
		maxBackground: max(1, c.MaxFlights/4),
		entries:       map[ID]*entry{},
		perHost:       map[providers.Host]int{},
		armed:         never,
		launched:      -never,
	}
	m.timer = time.AfterFunc(never, m.wake)
	m.timer.Stop()
	context.AfterFunc(ctx, m.stop)
	return m
}

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
