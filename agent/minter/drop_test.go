// SPDX-License-Identifier: Apache-2.0

package minter

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regmint/regmint/providers"
)

func TestDropDuringAFlightAnswersItsWaitersAndKeepsNothing(t *testing.T) { // H21
	inBubble(t, time.Hour, func(r *rig) {
		r.up.set(func(u *upstream) { u.latency = time.Second })
		var wg sync.WaitGroup
		ask := func(want string) {
			wg.Go(func() {
				if c, err := r.get(); err != nil || c.Secret.Reveal() != want {
					r.Errorf("got %q %v, want %s", c.Secret.Reveal(), err, want)
				}
			})
		}
		for range 5 {
			ask("token-1")
		}
		sleep(500 * time.Millisecond)
		if n := r.m.Drop(all); n != 0 {
			r.Errorf("dropped %d credentials", n)
		}
		ask("token-2") // asks after the drop, hence not on the old flight
		wg.Wait()
		r.want("token-2")
		r.wantAttempts(2)
		if s := r.m.Stats(); s.Flights != 0 || s.Entries != 1 {
			r.Errorf("%+v", s)
		}
	})
}

func TestFlightDroppedWhileWaitingForItsTurnStillAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocks()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		m := New(ctx, Config{Now: c.now, MaxFlights: 1})
		u := newUpstream(c, time.Hour)
		u.latency = time.Second
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				if _, err := m.Get(ctx, Request{ID: ID{Account: fmt.Sprint(i)}, Source: u}); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		m.Drop(all)
		wg.Wait()
		if s := m.Stats(); s.Entries != 0 || s.Flights != 0 || s.Mints != 3 {
			t.Errorf("%+v", s)
		}
	})
}

func TestFailureOfADroppedFlightIsNotRemembered(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		r.up.set(func(u *upstream) { u.latency = time.Second })
		r.up.down(kindErr(providers.Denied))
		got := make(chan error)
		go func() { _, err := r.get(); got <- err }()
		synctest.Wait()
		r.m.Drop(all)
		if err := <-got; providers.KindOf(err) != providers.Denied {
			r.Errorf("%v", err)
		}
		r.up.down(nil)
		r.want("token-1")
	})
}

func TestDroppedHeldKeyIsMintedByTheNextGetOnly(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		release := r.m.Hold(r.req())
		r.want("token-1")
		if n := r.m.Drop(all); n != 1 {
			r.Errorf("dropped %d", n)
		}
		sleep(5 * time.Hour)
		r.wantAttempts(1)
		if v := r.m.Views(); len(v) != 1 || v[0].Held != 1 || !v[0].Credential.ExpiresAt.IsZero() {
			r.Errorf("%+v", v)
		}
		r.want("token-2")
		sleep(35 * time.Minute)
		r.wantAttempts(3) // held again
		release()
		if n := r.m.Drop(all); n != 1 {
			r.Errorf("dropped %d", n)
		}
		if s := r.m.Stats(); s.Entries != 0 {
			r.Errorf("%+v", s)
		}
	})
}

func TestDropTakesWhatMatchesAlone(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		for i := range 10 {
			req := r.req()
			req.ID.Account = fmt.Sprint(i % 2)
			req.ID.Grants = fmt.Sprint(i)
			if _, err := r.m.Get(r.Context(), req); err != nil {
				r.Fatal(err)
			}
		}
		if n := r.m.Drop(func(id ID) bool { return id.Account == "0" }); n != 5 {
			r.Errorf("dropped %d", n)
		}
		for _, v := range r.m.Views() {
			if v.ID.Account != "1" {
				r.Errorf("kept %+v", v.ID)
			}
		}
		sleep(61 * time.Minute)
		if n := r.m.Drop(all); n != 0 {
			r.Errorf("dropped %d after their end", n)
		}
	})
}

func TestDropCountsTheLivingAlone(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		defer r.m.Hold(r.req())()
		r.want("token-1")
		r.up.down(kindErr(providers.Unavailable))
		sleep(61 * time.Minute)
		if n := r.m.Drop(all); n != 0 {
			r.Errorf("dropped %d", n)
		}
	})
}

func TestLandingOfADroppedRenewalLetsTheNextOneStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocks()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		m := New(ctx, Config{Now: c.now, Rand: func() float64 { return 0 }, MaxFlights: 4}) // one renewal at a time
		a, b := newUpstream(c, time.Hour), newUpstream(c, time.Hour+time.Minute)
		for name, u := range map[string]*upstream{"a": a, "b": b} {
			r := Request{ID: ID{Account: name, Host: providers.DockerHub}, Source: u}
			m.Hold(r)
			if _, err := m.Get(ctx, r); err != nil {
				t.Fatal(err)
			}
		}
		a.set(func(u *upstream) { u.latency = time.Hour })
		sleep(24*time.Minute + 30*time.Second) // a since 24:00, b since 24:24
		if a.attempts() != 2 || b.attempts() != 1 {
			t.Fatalf("%d and %d attempts", a.attempts(), b.attempts())
		}
		m.Drop(func(id ID) bool { return id.Account == "a" })
		sleep(35 * time.Second)
		if n := b.attempts(); n != 2 {
			t.Errorf("%d attempts", n)
		}
	})
}

func TestReleaseOfAKeyNeverAskedForLeavesNothing(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		a, b := r.m.Hold(r.req()), r.m.Hold(r.req())
		a()
		a()
		if v := r.m.Views(); len(v) != 1 || v[0].Held != 1 {
			r.Errorf("%+v", v)
		}
		b()
		if s := r.m.Stats(); s.Entries != 0 {
			r.Errorf("%+v", s)
		}
	})
}

func TestViewsHoldNoSecret(t *testing.T) { // T19
	inBubble(t, time.Hour, func(r *rig) {
		r.up.set(func(u *upstream) { u.name = "CNRY" })
		r.want("CNRY-1")
		v := r.m.Views()
		if s := fmt.Sprintf("%+v %#v", v, v); strings.Contains(s, "CNRY") || !v[0].Credential.Secret.IsZero() {
			r.Errorf("%s", s)
		}
		if v[0].Credential.Username != "u" || v[0].Mints != 1 || v[0].RefreshAt != (time.Time{}) {
			r.Errorf("%+v", v[0])
		}
	})
}

func TestEntriesNobodyWantsLeave(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		for round := range 3 {
			for i := range 10_000 {
				req := r.req()
				req.ID.Grants = fmt.Sprint(round, i)
				if _, err := r.m.Get(r.Context(), req); err != nil {
					r.Fatal(err)
				}
			}
			sleep(time.Hour)
			if s := r.m.Stats(); s.Entries > 0 {
				r.Fatalf("round %d: %d entries after their end", round, s.Entries)
			}
		}
		if len(r.m.queue) != 0 || len(r.m.entries) != 0 {
			r.Error("something is left")
		}
	})
}

func TestCredentialsWithoutEndStayBounded(t *testing.T) {
	for _, life := range []time.Duration{0, 365 * day} {
		t.Run(life.String(), func(t *testing.T) {
			inBubble(t, life, func(r *rig) {
				env := func(i int) Request {
					req := r.req()
					req.ID.Env = fmt.Sprint("job ", i)
					return req
				}
				get := func(i int) string {
					c, err := r.m.Get(r.Context(), env(i))
					if err != nil {
						r.Fatal(err)
					}
					return c.Secret.Reveal()
				}
				defer r.m.Hold(env(0))()
				held, used := get(0), get(1)
				for i := 2; i < 3*maxLong; i++ {
					sleep(time.Second)
					get(i)
					if i%1000 == 0 && get(1) != used {
						r.Fatal("the one that is asked for went")
					}
					if s := r.m.Stats(); s.Entries > maxLong+2 {
						r.Fatalf("%d entries", s.Entries)
					}
				}
				if get(0) != held {
					r.Error("the held one went")
				}
				if s := r.m.Stats(); s.Entries < maxLong/2 {
					r.Errorf("%d entries", s.Entries)
				}
			})
		})
	}
}

// TestMemoryOf10000Credentials keeps the cache within its share of the agent's
// 80 MB: 40 MB are the idle agent's, and a heap may be twice what lives in it.
func TestMemoryOf10000Credentials(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	m := New(ctx, Config{})
	heap := func() uint64 {
		var s runtime.MemStats
		for range 3 {
			runtime.GC()
		}
		runtime.ReadMemStats(&s)
		return s.HeapAlloc + s.StackInuse
	}
	before := heap()
	const n, secret = 10_000, 1024
	src := longSource{}
	for i := range n {
		id := ID{Account: "configured/prod", Env: strings.Repeat("e", 64), Host: providers.DockerHub, Grants: fmt.Sprintf("acme/app-%05d=push", i)}
		if _, err := m.Get(ctx, Request{ID: id, Source: src, Request: providers.Request{Grants: []providers.Grant{{Repository: id.Grants}}}}); err != nil {
			t.Fatal(err)
		}
	}
	each := (heap() - before) / n
	t.Logf("%d bytes each, %d of them the secret", each, secret)
	if each > secret+1024 {
		t.Errorf("%d bytes for each credential of %d bytes", each, secret)
	}
	if s := m.Stats(); s.Entries != n {
		t.Errorf("%+v", s)
	}
}

type longSource struct{}

func (longSource) Key(providers.Request) string { return "" }

func (longSource) Mint(context.Context, providers.Request) (providers.Credential, error) {
	now := time.Now()
	return providers.Credential{Username: "AWS", Secret: providers.NewSecret(string(make([]byte, 1024))), IssuedAt: now, ExpiresAt: now.Add(12 * time.Hour)}, nil
}
