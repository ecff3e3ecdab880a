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

func TestRenewalsOfOneStartAreSpread(t *testing.T) { // T8: herd bound
	for _, life := range []time.Duration{time.Minute, 10 * time.Minute, 12 * time.Hour} {
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
