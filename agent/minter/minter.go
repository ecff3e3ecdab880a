// SPDX-License-Identifier: Apache-2.0

// Package minter caches credentials, mints each once however many callers
// wait, and renews it before it ends. It knows no provider and no transport.
package minter

import (
	"context"
	"log/slog"
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
	// Now returns the wall clock and the time since boot, suspend included.
	Now func() (wall time.Time, boot time.Duration)
	// Rand is uniform in [0,1); it spreads refreshes.
	Rand func() float64
	Log  *slog.Logger
	// MintTimeout bounds one mint (default 60 s); it is independent of callers.
	MintTimeout time.Duration
	// MaxFlights bounds mints at once (default 64).
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
	Credential providers.Credential // Secret is empty
	RefreshAt  time.Time            // zero: never
	Mints      int
	Held       int
	Err        error // remembered failure or last failed refresh
	ErrAt      time.Time
}

// Minter is safe for concurrent use.
type Minter struct{}

// New returns a Minter whose background work ends with ctx.
func New(ctx context.Context, c Config) *Minter { return nil }

// Get returns a credential that has not expired, minting where it must. ctx is
// the caller's own deadline: when it ends the flight goes on for the others.
func (m *Minter) Get(ctx context.Context, r Request) (providers.Credential, error) {
	return providers.Credential{}, nil
}

// Hold keeps the credential of r fresh in the background until release is
// called (a job holds what it has asked for). Holding never mints by itself
// before the first Get.
func (m *Minter) Hold(r Request) (release func()) { return nil }

// Drop forgets entries and remembered failures for which match is true and
// returns how many credentials it dropped. A flight under way finishes for its
// waiters but does not enter the cache.
func (m *Minter) Drop(match func(ID) bool) int { return 0 }

// ForgetFailures drops remembered failures alone (an input changed).
func (m *Minter) ForgetFailures(match func(ID) bool) int { return 0 }

// Views lists the cache.
func (m *Minter) Views() []View { return nil }

// Stats counts since the start.
type Stats struct {
	Hits, Misses, Mints, MintErrors, Refreshes, Shared uint64
	Entries, Flights                                  int
}

// Stats returns the counters.
func (m *Minter) Stats() Stats { return Stats{} }
