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
	Opened  uint64 // which opening of the Source: what an old one mints is not the new one's
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
	lasting int // long-lived credentials, and those that landed since they were counted
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
	used  time.Duration // boot time of the last ask

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
