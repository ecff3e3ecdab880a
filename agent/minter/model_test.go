// SPDX-License-Identifier: Apache-2.0

package minter

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regmint/regmint/providers"
)

// modelKey is what the model knows of one key: not how a Minter decides, only
// what must never happen.
type modelKey struct {
	w   *world
	req Request
	up  *upstream

	mu        sync.Mutex
	held      int
	drops     int            // so far
	gets      int            // callers inside Get
	asked     bool           // since the last landing
	minted    bool           // since the last drop
	flying    int            // attempts of this generation under way
	lastEnd   time.Duration  // truth at which the last attempt of this generation ended
	ended     bool           // there was one
	quiet     time.Duration  // truth before which no attempt may start
	firm      bool           // ForgetFailures does not lift quiet
	born      map[string]int // token: drops at the start of its attempt
	fault     error
	panics    bool
	attempts  int
	forgetful bool  // an input changed during the flight under way
	left      bool  // a caller left; the flight it began may still start
	jumps     int64 // of the wall clock, up to lastEnd
	served    bool  // the last Get
	ghosts    []int // generations of dropped flights that have yet to start, in order
}

func (k *modelKey) Key(providers.Request) string { return "" }

func (k *modelKey) RefreshEarly() bool { return k.up.early }

// Mint checks that this attempt is allowed, then asks the upstream.
func (k *modelKey) Mint(ctx context.Context, r providers.Request) (providers.Credential, error) {
	k.mu.Lock()
	now := k.w.clock.truth()
	gen := k.drops
	k.attempts++
	if len(k.ghosts) > 0 {
		gen, k.ghosts = k.ghosts[0], k.ghosts[1:]
	} else {
		k.check(now)
	}
	k.up.set(func(u *upstream) { u.fail = k.failure })
	panics := k.panics
	k.mu.Unlock()

	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if gen == k.drops {
			k.flying--
			k.left, k.forgetful = false, false
			k.lastEnd, k.ended, k.jumps = k.w.clock.truth(), true, k.w.jumps.Load()
		}
	}()
	if panics {
		panic("no")
	}
	c, err := k.up.Mint(ctx, r)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		last, again := k.born[c.Secret.Reveal()]
		k.born[c.Secret.Reveal()] = max(last, gen)
		if gen == k.drops {
			k.minted, k.asked, k.quiet, k.firm = true, k.asked && again, 0, false
		}
		return c, nil
	}
	if gen == k.drops {
		k.remember(err)
	}
	return c, err
}

func (k *modelKey) failure(int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.fault
}

// check is what holds at the start of each attempt. Caller holds k.mu.
func (k *modelKey) check(now time.Duration) {
	if k.flying++; k.flying > 1 {
		k.w.fail("%s: two flights at once", k.req.ID.Account)
	}
	if now < k.quiet {
		k.w.fail("%s: attempt %s too early after a remembered failure", k.req.ID.Account, k.quiet-now)
	}
	if k.gets == 0 && !(k.held > 0 && k.minted) && !k.asked && !k.left {
		k.w.fail("%s: an attempt nobody wants", k.req.ID.Account)
	}
	if gap := now - k.lastEnd; k.ended && k.w.jumps.Load() == k.jumps && k.alive() && k.up.reuse == 0 && gap < spacing(k.up.life) {
		k.w.fail("%s: attempts %s apart while a credential lives, life %s", k.req.ID.Account, gap, k.up.life)
	}
}

func (k *modelKey) remember(err error) {
	pe, ok := errors.AsType[*providers.Error](err)
	if !ok {
		k.quiet = 0
		return
	}
	d := map[providers.Kind]time.Duration{providers.Denied: 30 * time.Second, providers.Misconfigured: 30 * time.Second, providers.LoginRequired: 3 * time.Second}[pe.Kind]
	if k.forgetful {
		d = 0
	}
	k.firm = pe.RetryAfter > 0
	k.quiet = k.w.clock.truth() + max(d, min(pe.RetryAfter, time.Minute))
}

// alive reports that the last token of this generation lives by both clocks.
// Caller holds k.mu.
func (k *modelKey) alive() bool {
	k.up.mu.Lock()
	t := k.up.current
	k.up.mu.Unlock()
	gen, ok := k.born[t]
	return ok && gen == k.drops && k.up.living()
}

func TestRandomOperationsKeepTheInvariants(t *testing.T) { // T23
	n := uint64(2000)
	if raceDetector {
		n = 200
	}
	for i := range n {
		synctest.Test(t, func(t *testing.T) { sequence(t, *seedFlag+i) })
		if t.Failed() {
			return
		}
	}
}

func sequence(t *testing.T, seed uint64) {
	w := &world{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 7)), clock: newClocks()}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	rng := rand.New(rand.NewPCG(seed, 8))
	w.m = New(ctx, Config{Now: w.clock.now, Rand: rng.Float64, MaxFlights: 1 + w.rng.IntN(8)})
	for i := range 4 {
		life := time.Duration(float64(2*time.Second) * math.Pow(7200, w.rng.Float64()))
		u := newUpstream(w.clock, life)
		u.name, u.early = fmt.Sprint("k", i), w.rng.IntN(3) == 0
		if w.rng.IntN(4) == 0 {
			u.reuse = life / 20
		}
		k := &modelKey{w: w, up: u, born: map[string]int{}}
		k.req = Request{ID: ID{Account: u.name, Host: testHost(t, "r.example.com")}, Source: k}
		w.keys = append(w.keys, k)
		w.step("%s life %s early %t reuse %s", u.name, life, u.early, u.reuse)
	}
	for range 60 {
		w.op()
		synctest.Wait()
	}
	w.finish()
	stop()
	synctest.Wait()
}
