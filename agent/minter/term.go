// SPDX-License-Identifier: Apache-2.0

package minter

import (
	"time"

	"github.com/regmint/regmint/providers"
)

const (
	// never is further away than any due time, with room for sums.
	never = time.Duration(1) << 62
	// maxLife keeps times on the boot clock far from overflow.
	maxLife = 100 * 365 * 24 * time.Hour

	maxSpacing = 30 * time.Second
	maxFloor   = 15 * time.Minute
	earlyLife  = 10 * time.Minute // providers.EarlyRefresher counts up to here
	earlyFloor = 5 * time.Minute
	lastCall   = 5 * time.Minute
)

// instant is one reading of both clocks.
type instant struct {
	wall time.Time     // without the monotonic part
	boot time.Duration // since boot, suspend included
}

// term is when one credential ends and how much of it must be left for what.
// The zero term has no known end.
type term struct {
	expires time.Time     // wall clock; zero: no known end
	end     time.Duration // boot clock
	life    time.Duration
	floor   time.Duration // less is left: short
	line    time.Duration // more is left: fresh
	last    time.Duration // no later expiry to be had: next attempt at this much left
}

// newTerm reads the times of a credential that has just landed. jitter is
// uniform in [0,1). It reports false if the credential has ended already.
func newTerm(c providers.Credential, now instant, early bool, jitter float64) (term, bool) {
	if c.ExpiresAt.IsZero() {
		return term{}, true
	}
	left := min(c.ExpiresAt.Sub(now.wall), maxLife)
	life := left
	if !c.IssuedAt.IsZero() {
		// Both times come from one clock, ours or the issuer's, so their
		// difference holds even where that clock and ours disagree.
		if l := min(c.Life(), maxLife); l > 0 {
			left, life = min(left, l), l
		}
	}
	if left <= 0 {
		return term{}, false
	}
	t := term{expires: c.ExpiresAt, end: now.boot + left, last: min(lastCall, life/10)}
	t.floor, t.line = marks(life, early, jitter)
	if left <= t.line {
		// It comes used from somebody's cache, or its time of issue is wrong:
		// for us its life begins now, else we would ask again and again.
		life = left
		t.floor, t.line = marks(life, early, jitter)
	}
	t.life = life
	return t, true
}

// marks returns how much must be left for a credential of that life not to be
// short, and to be fresh.
func marks(life time.Duration, early bool, jitter float64) (floor, line time.Duration) {
	floor = min(maxFloor, life/10*4)
	if early && life <= earlyLife {
		floor = min(life/10*9, earlyFloor)
	}
	return floor, life/10*6 - time.Duration(jitter*float64(life/10))
}

// verdict is what may be done with a credential.
type verdict int

const (
	gone  verdict = iota // never served
	short                // wait for a mint, fall back on it
	fresh                // serve
	stale                // serve, renew behind it
)

func (v verdict) String() string { return [...]string{"gone", "short", "fresh", "stale"}[v] }

// judge sorts by the time left, which left returns.
func (t term) judge(left time.Duration) verdict {
	switch {
	case t.forever():
		return fresh
	case left <= 0:
		return gone
	case left < t.floor:
		return short
	case left > t.line:
		return fresh
	}
	return stale
}

func (t term) forever() bool { return t.expires.IsZero() }

// left is the time left by the clock that leaves less of it.
func (t term) left(now instant) time.Duration {
	if t.forever() {
		return maxLife
	}
	return min(t.expires.Sub(now.wall), t.end-now.boot)
}

// spacing is the least time between attempts while a credential lives.
func spacing(life time.Duration) time.Duration {
	if life <= 0 {
		return maxSpacing
	}
	return min(maxSpacing, life/10)
}
