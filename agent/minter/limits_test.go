// SPDX-License-Identifier: Apache-2.0

package minter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regmint/regmint/providers"
)

func TestMintTimeoutBoundsASourceThatHonoursItsContext(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		r.up.set(func(u *upstream) { u.latency = time.Hour })
		start := time.Now()
		err := r.wantErr(providers.Unavailable)
		if time.Since(start) != time.Minute || !strings.Contains(err.Error(), "docker.io: no answer within 1m0s") {
			r.Errorf("%v after %s", err, time.Since(start))
		}
	})
}

func TestMintTimeoutFreesTheKeyOfASourceThatIgnoresItsContext(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		deaf := make(chan struct{})
		r.up.deaf = deaf
		start := time.Now()
		r.wantErr(providers.Unavailable)
		if d := time.Since(start); d > time.Minute+lastWords {
			r.Errorf("took %s", d)
		}
		if s := r.m.Stats(); s.Flights != 0 || s.Entries != 0 {
			r.Errorf("%+v", s)
		}
		r.up.set(func(u *upstream) { u.deaf = nil })
		r.want("token-1")
		close(deaf) // its late answer is nobody's
		synctest.Wait()
		r.want("token-1")
	})
}

func TestMaxFlightsBoundsMintsAndLosesNone(t *testing.T) {
	for _, limit := range []int{1, 2, 8, 64} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClocks()
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				m := New(ctx, Config{Now: c.now, MaxFlights: limit})
				var now, peak atomic.Int64
				var wg sync.WaitGroup
				for i := range 300 {
					u := newUpstream(c, time.Hour)
					u.latency = time.Second
					u.hook = func() {
						peak.Store(max(peak.Load(), now.Add(1)))
						time.Sleep(time.Second)
						now.Add(-1)
					}
					id := ID{Account: fmt.Sprint(i), Host: testHost(t, fmt.Sprintf("r%d.example.com", i%7))}
					wg.Go(func() {
						if _, err := m.Get(ctx, Request{ID: id, Source: u}); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				if p := int(peak.Load()); p > limit {
					t.Errorf("%d mints at once, limit %d", p, limit)
				}
				if s := m.Stats(); s.Mints != 300 || s.Flights != 0 || len(m.waiting) != 0 || len(m.perHost) != 0 || m.running != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

func TestCallerWaitingForItsTurnHonoursItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocks()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		m := New(ctx, Config{Now: c.now, MaxFlights: 1})
		slow, quick := newUpstream(c, time.Hour), newUpstream(c, time.Hour)
		slow.latency = 50 * time.Second
		go m.Get(ctx, Request{ID: ID{Account: "slow"}, Source: slow})
		synctest.Wait()
		mine, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		start := time.Now()
		_, err := m.Get(mine, Request{ID: ID{Account: "quick"}, Source: quick})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		if quick.attempts() != 0 {
			t.Error("started beyond the limit")
		}
		sleep(time.Minute)
		if quick.attempts() != 1 {
			t.Error("its turn never came")
		}
	})
}

func TestHangingRegistryLeavesRoomForOthers(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		dead := newUpstream(r.clock, time.Hour)
		dead.latency = time.Hour
		h := testHost(r, "dead.example.com")
		for i := range 500 {
			go r.m.Get(r.Context(), Request{ID: ID{Account: fmt.Sprint(i), Host: h}, Source: dead})
		}
		synctest.Wait()
		start := time.Now()
		r.want("token-1")
		if d := time.Since(start); d != 0 {
			r.Errorf("another registry waited %s", d)
		}
		r.stop()
		synctest.Wait()
	})
}

// TestConcurrentUse runs everything at once on real clocks, for the race
// detector; in a bubble the steps of a test follow each other.
func TestConcurrentUse(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	m := New(ctx, Config{MaxFlights: 4})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				req := Request{ID: ID{Account: fmt.Sprint(i % 5)}, Source: longSource{}}
				release := m.Hold(req)
				if _, err := m.Get(ctx, req); err != nil {
					t.Error(err)
				}
				switch (g + i) % 7 {
				case 0:
					m.Drop(func(id ID) bool { return id == req.ID })
				case 1:
					m.ForgetFailures(all)
				case 2:
					_, _ = m.Views(), m.Stats()
				}
				release()
			}
		})
	}
	wg.Wait()
	if s := m.Stats(); s.Entries > 5 || s.Flights != 0 || s.Mints < 5 {
		t.Errorf("%+v", s)
	}
	stop()
}

func TestStoppedMinterServesWhatItHasAndFailsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocks()
		ctx, stop := context.WithCancel(t.Context())
		m := New(ctx, Config{Now: c.now, MaxFlights: 1})
		u, slow := newUpstream(c, time.Hour), newUpstream(c, time.Hour)
		warm := Request{ID: ID{Account: "warm"}, Source: u}
		if _, err := m.Get(t.Context(), warm); err != nil {
			t.Fatal(err)
		}
		m.Hold(warm)
		slow.latency = time.Hour
		errs := make(chan error)
		for _, a := range []string{"flying", "waiting"} {
			go func() {
				_, err := m.Get(t.Context(), Request{ID: ID{Account: a}, Source: slow})
				errs <- err
			}()
			synctest.Wait()
		}
		stop()
		for range 2 {
			if err := <-errs; err == nil || !strings.Contains(err.Error(), "the agent is stopping") {
				t.Errorf("got %v", err)
			}
		}
		if _, err := m.Get(t.Context(), Request{ID: ID{Account: "new"}, Source: u}); err == nil {
			t.Error("minted after its end")
		}
		time.Sleep(50 * time.Minute)
		if _, err := m.Get(t.Context(), warm); err != nil {
			t.Errorf("a living credential: %v", err)
		}
		time.Sleep(time.Hour)
		if _, err := m.Get(t.Context(), warm); err == nil {
			t.Error("served an expired credential")
		}
		if u.attempts() != 1 {
			t.Errorf("%d attempts", u.attempts())
		}
	})
}
