// SPDX-License-Identifier: Apache-2.0

package minter

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regmint/regmint/providers"
)

func TestFreshIsServedStaleIsRenewedBehindShortIsWaitedFor(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		r.want("token-1")
		r.up.set(func(u *upstream) { u.latency = 5 * time.Second })
		sleep(23 * time.Minute) // 37 min left
		r.want("token-1")
		r.wantAttempts(1)
		r.m.mu.Lock()
		r.m.entries[r.req().ID].asked = false // as if nobody had asked: no timer
		r.m.schedule(r.m.entries[r.req().ID], r.clock.instant())
		r.m.mu.Unlock()
		sleep(8 * time.Minute) // 29 min left
		start := time.Now()
		r.want("token-1")
		if time.Since(start) != 0 {
			r.Error("a stale answer made its caller wait")
		}
		sleep(5 * time.Second)
		r.wantAttempts(2)
		r.want("token-2")
		r.m.mu.Lock()
		r.m.entries[r.req().ID].asked = false
		r.m.schedule(r.m.entries[r.req().ID], r.clock.instant())
		r.m.mu.Unlock()
		sleep(46 * time.Minute) // 14 min left
		start = time.Now()
		r.want("token-3")
		if time.Since(start) != 5*time.Second {
			r.Errorf("a short one took %s", time.Since(start))
		}
	})
}

func TestFailingRenewalServesTheOldOneToItsEndAndThenFails(t *testing.T) {
	for _, k := range []providers.Kind{providers.Unavailable, providers.Denied, providers.LoginRequired, providers.Misconfigured, providers.NoAccount} {
		t.Run(string(k), func(t *testing.T) {
			inBubble(t, time.Hour, func(r *rig) {
				defer r.m.Hold(r.req())()
				r.want("token-1")
				r.up.down(kindErr(k))
				for range 3599 {
					sleep(time.Second)
					r.want("token-1")
				}
				if v := r.m.Views(); len(v) != 1 || v[0].Err == nil {
					r.Errorf("the failure is not shown: %+v", v)
				}
				sleep(time.Second)
				r.wantErr(k)
				r.up.down(nil)
				sleep(30 * time.Second)
				r.want("token-2")
				if v := r.m.Views(); v[0].Err != nil || v[0].Mints != 2 || v[0].Held != 1 || !v[0].Credential.Secret.IsZero() {
					r.Errorf("%+v", v)
				}
			})
		})
	}
}

func TestHerdOnAShortCredentialKeepsAttemptsApart(t *testing.T) {
	for _, c := range []struct{ life, gap time.Duration }{
		{time.Hour, 30 * time.Second}, {5 * time.Minute, 30 * time.Second}, {time.Minute, 6 * time.Second}, {2 * time.Second, 200 * time.Millisecond},
	} {
		t.Run(c.life.String(), func(t *testing.T) {
			inBubble(t, c.life, func(r *rig) {
				r.want("token-1")
				r.up.down(kindErr(providers.Unavailable))
				left := min(15*time.Minute, c.life/10*4)
				sleep(c.life - left + 1)
				var wg sync.WaitGroup
				for range 50 {
					wg.Go(func() {
						for range 99 {
							r.want("token-1")
							time.Sleep(left / 100)
						}
					})
				}
				wg.Wait()
				r.up.mu.Lock()
				defer r.up.mu.Unlock()
				for i := 1; i < len(r.up.tries); i++ {
					if gap := r.up.tries[i] - r.up.tries[i-1]; gap < c.gap {
						r.Errorf("attempts %s apart, want %s", gap, c.gap)
					}
				}
				if n := len(r.up.tries); n < 3 {
					r.Errorf("only %d attempts", n)
				}
			})
		})
	}
}

func TestNothingToServeLetsEveryNewFlightTry(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		r.up.down(kindErr(providers.Unavailable))
		for range 5 {
			r.wantErr(providers.Unavailable)
		}
		r.wantAttempts(5)
	})
}

func TestSameTokenAgainIsNoRefresh(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		r.up.set(func(u *upstream) { u.reuse = 5 * time.Minute }) // a metadata server
		defer r.m.Hold(r.req())()
		r.want("token-1")
		sleep(30 * time.Minute)
		r.wantAttempts(2) // the line was passed: the same token came again
		for range 24*60 + 59 {
			sleep(time.Second)
			start := time.Now()
			r.want("token-1") // below the floor, too
			if time.Since(start) != 0 {
				r.Fatal("a caller waited")
			}
		}
		r.wantAttempts(2)
		r.up.set(func(u *upstream) { u.latency = time.Second }) // shows that this caller waits
		sleep(2 * time.Second)
		r.want("token-2")
		r.wantAttempts(3)
		if s := r.m.Stats(); s.Refreshes != 1 {
			r.Errorf("%+v", s)
		}
		sleep(30*time.Minute + 2*time.Second)
		r.wantAttempts(4) // the next one is asked for at its line again
	})
}

func TestSameTokenAgainAfterItsLastCallIsAskedForAtTheSpacing(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		r.up.set(func(u *upstream) { u.reuse = time.Second })
		defer r.m.Hold(r.req())()
		r.want("token-1")
		sleep(55*time.Minute - time.Second)
		r.wantAttempts(2)
		sleep(5 * time.Minute)
		if n := r.up.attempts(); n < 2+8 || n > 2+11 {
			r.Errorf("%d attempts in the last 5 min, want one per 30 s", n-2)
		}
		sleep(time.Second)
		r.want("token-2")
	})
}

func TestLifeStaysThatOfTheFirstSight(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		r.up.set(func(u *upstream) { u.reuse = time.Second })
		// Seconds are cut from the answer, so that the end moves a little.
		r.up.set(func(u *upstream) {
			u.shape = func(c *providers.Credential) { c.ExpiresAt = c.ExpiresAt.Add(700 * time.Millisecond) }
		})
		r.want("token-1")
		r.up.set(func(u *upstream) {
			u.shape = func(c *providers.Credential) { c.ExpiresAt = c.ExpiresAt.Add(900 * time.Millisecond) }
		})
		sleep(50 * time.Minute)
		r.want("token-1")
		r.wantAttempts(2)
		e := r.m.entries[r.req().ID]
		if e.term.life != time.Hour+700*time.Millisecond || !e.same || e.cred.ExpiresAt != r.clock.start.Add(e.term.life) {
			r.Errorf("life %s same %t", e.term.life, e.same)
		}
	})
}

func TestAnotherSecretWithTheSameEndIsTaken(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		r.want("token-1")
		end := r.clock.start.Add(time.Hour) // of a session: every token of it
		r.up.set(func(u *upstream) {
			u.shape = func(c *providers.Credential) { c.ExpiresAt = end.Add(-300 * time.Millisecond) }
		})
		sleep(50 * time.Minute)
		r.want("token-2")
		sleep(4 * time.Minute)
		r.want("token-2")
		r.wantAttempts(2)
		r.up.set(func(u *upstream) { u.shape = func(c *providers.Credential) { c.ExpiresAt = end.Add(-2 * time.Minute) } })
		sleep(2 * time.Minute)
		r.want("token-2") // the answers end sooner than what we have
		if n := r.up.attempts(); n < 3 {
			r.Errorf("%d attempts: there was no such answer", n)
		}
	})
}

func TestEarlyRefresherGivesBuildKitAtLeastFiveMinutes(t *testing.T) {
	for _, c := range []struct {
		life  time.Duration
		early bool
		after time.Duration
		want  string
	}{
		{5 * time.Minute, true, 29 * time.Second, "token-1"},
		{5 * time.Minute, true, 31 * time.Second, "token-2"},
		{5 * time.Minute, false, 31 * time.Second, "token-1"},
		{10 * time.Minute, true, 5*time.Minute + time.Second, "token-2"},
		{10 * time.Minute, true, 3 * time.Minute, "token-1"},
		{11 * time.Minute, true, 4 * time.Minute, "token-1"},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			inBubble(t, c.life, func(r *rig) {
				r.up.set(func(u *upstream) { u.early = c.early })
				r.want("token-1")
				sleep(c.after)
				r.want(c.want)
			})
		})
	}
}

func TestNoExpiryIsAlwaysFresh(t *testing.T) {
	inBubble(t, 0, func(r *rig) {
		defer r.m.Hold(r.req())()
		r.want("token-1")
		for range 10 {
			sleep(1000 * time.Hour)
			r.clock.suspend(1000 * time.Hour)
			r.clock.jump(-3000 * time.Hour)
			r.want("token-1")
		}
		r.wantAttempts(1)
		if n := r.m.Drop(all); n != 1 {
			r.Errorf("dropped %d", n)
		}
		r.want("token-2")
	})
}

func TestHeldIsRenewedInTheBackground(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		release := r.m.Hold(r.req())
		sleep(3 * time.Hour)
		r.wantAttempts(0) // holding alone does not mint
		r.want("token-1")
		sleep(24 * time.Hour)
		n := r.up.attempts()
		if n < 24*60/30 || n > 24*60/24+1 {
			r.Errorf("%d mints in 24 h, want one per 24 to 30 min", n)
		}
		if w := r.m.wakes; w > n+1 {
			r.Errorf("%d wake-ups for %d mints", w, n)
		}
		if v := r.m.Views(); len(v) != 1 || !v[0].RefreshAt.After(v[0].Credential.IssuedAt) || !v[0].RefreshAt.Before(v[0].Credential.ExpiresAt) {
			r.Errorf("%+v", v)
		}
		r.want(fmt.Sprintf("token-%d", n))
		release()
		release()
		sleep(3 * time.Hour)
		if s := r.m.Stats(); s.Entries != 0 {
			r.Errorf("kept after its release: %+v", s)
		}
		if got := r.up.attempts(); got > n+1 {
			r.Errorf("%d mints after the release", got-n)
		}
	})
}

func TestNotHeldIsRenewedOnceForEachLifeItWasAskedIn(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		r.want("token-1")
		sleep(2 * time.Hour)
		r.wantAttempts(1) // one ask, one mint
		if s := r.m.Stats(); s.Entries != 0 {
			r.Errorf("%+v", s)
		}
		r.want("token-2")
		sleep(10 * time.Minute)
		r.want("token-2") // asked for again in its life
		sleep(30 * time.Minute)
		r.wantAttempts(3)
		sleep(3 * time.Hour)
		r.wantAttempts(3)
		if s := r.m.Stats(); s.Entries != 0 {
			r.Errorf("%+v", s)
		}
	})
}

func TestHeldComesBackByItselfAfterAnOutageBeyondItsEnd(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		defer r.m.Hold(r.req())()
		r.want("token-1")
		r.up.down(kindErr(providers.Unavailable))
		sleep(11 * time.Hour)
		n := r.up.attempts()
		if n < 11*60/6 || n > 11*60 {
			r.Errorf("%d attempts in 11 h", n)
		}
		r.up.down(nil)
		sleep(2 * (maxBackoff + maxSpacing))
		if r.up.mints != 2 {
			r.Fatalf("%d mints", r.up.mints)
		}
		r.want("token-2")
	})
}

func TestHeldIsNotRenewedForEverWhereAPersonMustAct(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		defer r.m.Hold(r.req())()
		r.want("token-1")
		r.up.down(kindErr(providers.LoginRequired))
		sleep(time.Hour)
		n := r.up.attempts()
		if n < 3 || n > 20 {
			r.Errorf("%d attempts", n)
		}
		sleep(24 * time.Hour)
		r.wantAttempts(n)
		r.up.down(nil)
		r.want("token-2")
		sleep(time.Hour)
		if got := r.up.mints; got < 3 {
			r.Errorf("not renewed again: %d mints", got)
		}
	})
}

func TestReloadedSourceIsUsedByTheNextRenewal(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		defer r.m.Hold(r.req())()
		r.want("token-1")
		next := newUpstream(r.clock, time.Hour)
		req := r.req()
		req.Source = next
		if _, err := r.m.Get(r.Context(), req); err != nil {
			r.Fatal(err)
		}
		sleep(40 * time.Minute)
		r.wantAttempts(1)
		if next.attempts() != 1 {
			r.Errorf("%d", next.attempts())
		}
	})
}

func TestRenewalsOfOneStartAreSpread(t *testing.T) { // T8: herd bound
	for _, life := range []time.Duration{time.Minute, 5 * time.Minute, 10 * time.Minute, time.Hour, 12 * time.Hour} {
		for _, event := range []string{"start", "outage", "suspend"} {
			t.Run(fmt.Sprint(life, " ", event), func(t *testing.T) {
				inBubble(t, life, func(r *rig) { herd(r, life, event) })
			})
		}
	}
}

// herd starts 500 tokens together and counts the most mints in any second
// afterwards.
func herd(r *rig, life time.Duration, event string) {
	r.up.set(func(u *upstream) { u.latency = 100 * time.Millisecond })
	var wg sync.WaitGroup
	for i := range 500 {
		req := r.req()
		req.ID.Account = fmt.Sprint(i)
		r.m.Hold(req)
		wg.Go(func() {
			if _, err := r.m.Get(r.Context(), req); err != nil {
				r.Error(err)
			}
		})
	}
	wg.Wait()
	r.wantAttempts(500)
	r.up.set(func(u *upstream) { u.tries = nil })
	switch event {
	case "outage":
		r.up.down(kindErr(providers.Unavailable))
		sleep(3 * life)
		r.up.down(nil)
	case "suspend":
		r.clock.suspend(9 * time.Hour)
		req := r.req()
		req.ID.Account = "7"
		if _, err := r.m.Get(r.Context(), req); err != nil {
			r.Error(err)
		}
	}
	sleep(5 * life)
	r.stop()
	synctest.Wait()
	tries := r.up.tries
	worst, first := 0, 0
	for i := range tries {
		for tries[i]-tries[first] >= time.Second {
			first++
		}
		worst = max(worst, i-first+1)
	}
	if worst > 25 {
		r.Errorf("%d mints within one second", worst)
	}
	if len(tries) < 500*5 {
		r.Errorf("%d mints in all", len(tries))
	}
}
