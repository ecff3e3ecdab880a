// SPDX-License-Identifier: Apache-2.0

package minter

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regmint/regmint/providers"
)

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
