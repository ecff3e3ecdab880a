// SPDX-License-Identifier: Apache-2.0

package minter

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
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

// world is one random sequence.
type world struct {
	t     *testing.T
	seed  uint64
	rng   *rand.Rand
	clock *clocks
	m     *Minter
	keys  []*modelKey
	gets  sync.WaitGroup
	held  []func()
	trace []string
	mu    sync.Mutex
	bad   bool
	jumps atomic.Int64
}

func (w *world) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.bad {
		w.t.Errorf("-seed %d: %s\n%v", w.seed, fmt.Sprintf(format, args...), w.trace)
	}
	w.bad = true
}

func (w *world) step(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trace = append(w.trace, fmt.Sprintf("%s: %s\n", w.clock.truth(), fmt.Sprintf(format, args...)))
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

// op does one random thing.
func (w *world) op() {
	k := w.keys[w.rng.IntN(len(w.keys))]
	switch w.rng.IntN(16) {
	case 0, 1, 2, 3:
		w.get(k, time.Hour)
	case 4:
		w.get(k, time.Duration(w.rng.IntN(3000))*time.Millisecond)
	case 5:
		k.mu.Lock()
		k.held++
		k.mu.Unlock()
		w.step("hold %s", k.req.ID.Account)
		release := w.m.Hold(k.req)
		w.held = append(w.held, func() {
			w.step("release %s", k.req.ID.Account)
			release()
			k.mu.Lock()
			k.held--
			k.mu.Unlock()
		})
	case 6:
		if len(w.held) > 0 {
			i := w.rng.IntN(len(w.held))
			w.held[i]()
			w.held = append(w.held[:i], w.held[i+1:]...)
		}
	case 7:
		w.drop(k)
	case 8:
		w.step("forget %s", k.req.ID.Account)
		k.mu.Lock()
		if !k.firm {
			k.quiet = 0
		}
		w.m.mu.Lock()
		e := w.m.entries[k.req.ID]
		k.forgetful = e != nil && e.flight != nil
		w.m.mu.Unlock()
		k.mu.Unlock()
		w.m.ForgetFailures(func(id ID) bool { return id == k.req.ID })
	case 9:
		d := time.Duration(w.rng.ExpFloat64() * float64(k.up.life))
		w.step("suspend %s", d)
		w.clock.suspend(d)
	case 10:
		d := []time.Duration{time.Hour, -time.Hour, k.up.life / 2, -k.up.life / 2, 400 * day, -400 * day, -w.clock.offset(), -w.clock.offset()}[w.rng.IntN(8)]
		w.step("jump %s", d)
		w.jumps.Add(1) // what was gone may live again
		w.clock.jump(d)
	case 11, 12:
		w.fault(k)
	default:
		d := time.Duration(w.rng.ExpFloat64() * 0.4 * float64(k.up.life))
		w.step("sleep %s", d)
		time.Sleep(d)
	}
}

func (w *world) fault(k *modelKey) {
	faults := []error{
		nil, nil, nil, errors.New("down"), kindErr(providers.Unavailable), kindErr(providers.Denied), kindErr(providers.LoginRequired),
		kindErr(providers.Misconfigured), kindErr(providers.NoAccount), retryAfter(10 * time.Second), retryAfter(time.Hour),
	}
	latencies := []time.Duration{0, 0, 0, 100 * time.Millisecond, 5 * time.Second, time.Hour}
	f, l, p := faults[w.rng.IntN(len(faults))], latencies[w.rng.IntN(len(latencies))], w.rng.IntN(20) == 0
	w.step("%s: fault %v latency %s panic %t", k.req.ID.Account, f, l, p)
	k.mu.Lock()
	k.fault, k.panics = f, p
	k.mu.Unlock()
	k.up.set(func(u *upstream) { u.latency = l })
}

func (w *world) drop(k *modelKey) {
	w.step("drop %s", k.req.ID.Account)
	k.mu.Lock()
	w.m.mu.Lock()
	for _, f := range w.m.waiting {
		if f.req.ID == k.req.ID && f.entry.flight == f {
			k.ghosts = append(k.ghosts, k.drops)
		}
	}
	w.m.mu.Unlock()
	k.drops++
	k.asked, k.minted, k.flying, k.ended, k.quiet, k.firm, k.forgetful = false, false, 0, false, 0, false, false
	k.up.set(func(u *upstream) { u.current = "" })
	k.mu.Unlock()
	w.m.Drop(func(id ID) bool { return id == k.req.ID })
}

// get asks in the background and checks the answer.
func (w *world) get(k *modelKey, limit time.Duration) {
	k.mu.Lock()
	k.gets++
	drops, had := k.drops, k.alive()
	k.mu.Unlock()
	w.step("get %s within %s", k.req.ID.Account, limit)
	w.gets.Go(func() {
		ctx, cancel := context.WithTimeout(w.t.Context(), limit)
		defer cancel()
		attempts := func() int { k.mu.Lock(); defer k.mu.Unlock(); return k.attempts }
		before := attempts()
		c, err := w.m.Get(ctx, k.req)
		k.mu.Lock()
		defer k.mu.Unlock()
		k.gets--
		w.step("got %s %q %v", k.req.ID.Account, c.Secret.Reveal(), err)
		k.served = err == nil
		k.left = k.left || ctx.Err() != nil
		if err != nil {
			if had && drops == k.drops && k.alive() {
				w.fail("%s refused with %v although a credential lives", k.req.ID.Account, err)
			}
			return
		}
		if k.attempts == before || k.attempts > before && k.minted {
			k.asked = true
		}
		gen, ok := k.born[c.Secret.Reveal()]
		if !ok {
			w.fail("%s got %s of another key", k.req.ID.Account, c.Secret.Reveal())
		}
		if gen < drops {
			w.fail("%s got %s, dropped before it asked", k.req.ID.Account, c.Secret.Reveal())
		}
		if k.up.expired(c) {
			w.fail("%s got %s after its end", k.req.ID.Account, c.Secret.Reveal())
		}
	})
}

// finish heals everything: each key answers, and nothing is left in the end.
func (w *world) finish() {
	w.step("finish")
	for _, release := range w.held {
		release()
	}
	w.held = nil
	w.jumps.Add(1)
	w.clock.jump(-w.clock.offset())
	for _, k := range w.keys {
		k.mu.Lock()
		k.fault, k.panics = nil, false
		k.mu.Unlock()
		k.up.set(func(u *upstream) { u.latency = 0 })
	}
	time.Sleep(2 * time.Minute)
	w.gets.Wait()
	for _, k := range w.keys {
		w.get(k, time.Second)
		w.gets.Wait()
		if !k.served {
			w.fail("%s never came back", k.req.ID.Account)
		}
	}
	time.Sleep(15 * time.Hour)
	synctest.Wait()
	if s := w.m.Stats(); s.Entries != 0 || s.Flights != 0 || len(w.m.queue) != 0 || w.m.running != 0 || w.m.background != 0 || len(w.m.perHost) != 0 || len(w.m.waiting) != 0 {
		w.fail("left over: %+v", s)
	}
}
