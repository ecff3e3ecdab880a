// SPDX-License-Identifier: Apache-2.0

package minter

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regmint/regmint/providers"
)

func all(ID) bool { return true }

func TestFailuresAreRememberedByKind(t *testing.T) {
	for kind, hold := range map[providers.Kind]time.Duration{
		providers.Denied:        30 * time.Second,
		providers.Misconfigured: 30 * time.Second,
		providers.LoginRequired: 3 * time.Second,
		providers.Unavailable:   0,
		providers.NoAccount:     0,
		"some new kind":         0,
	} {
		t.Run(string(kind), func(t *testing.T) {
			inBubble(t, time.Hour, func(r *rig) {
				r.up.down(kindErr(kind))
				r.wantErr(kind)
				if hold > 0 {
					sleep(hold - 1)
					r.wantErr(kind)
					r.wantAttempts(1)
					r.clock.suspend(1) // by boot time, too
				}
				r.wantErr(kind)
				r.wantAttempts(2)
				r.up.down(nil)
				sleep(hold)
				r.want("token-1")
				// Nothing of it is left.
				sleep(2 * time.Hour)
				if s := r.m.Stats(); s.Entries != 0 {
					r.Errorf("%+v", s)
				}
			})
		})
	}
}

func TestRememberedFailureIsForgottenInTime(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		r.up.down(kindErr(providers.Denied))
		r.wantErr(providers.Denied)
		if v := r.m.Views(); len(v) != 1 || v[0].Err == nil || v[0].ErrAt.IsZero() {
			r.Errorf("%+v", v)
		}
		sleep(31 * time.Second)
		if s := r.m.Stats(); s.Entries != 0 {
			r.Errorf("%+v", s)
		}
	})
}

func TestWallClockJumpDoesNotLengthenARememberedFailure(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		r.up.down(kindErr(providers.Denied))
		r.wantErr(providers.Denied)
		r.clock.jump(-400 * 24 * time.Hour)
		r.up.down(nil)
		sleep(30 * time.Second)
		r.want("token-1")
	})
}

func TestChangedInputClearsRememberedFailures(t *testing.T) {
	for name, clear := range map[string]func(r *rig) int{
		"forget": func(r *rig) int { return r.m.ForgetFailures(all) },
		"drop":   func(r *rig) int { r.m.Drop(all); return 1 },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, time.Hour, func(r *rig) {
				r.up.down(kindErr(providers.Denied))
				r.wantErr(providers.Denied)
				r.up.down(nil)
				if n := r.m.ForgetFailures(func(id ID) bool { return id.Account != "a" }); n != 0 {
					r.Errorf("forgot %d of others", n)
				}
				r.wantErr(providers.Denied)
				if n := clear(r); n != 1 {
					r.Errorf("cleared %d", n)
				}
				r.want("token-1")
				r.wantAttempts(2)
			})
		})
	}
}

func TestFailureOfAFlightThatSawTheOldInputIsNotRemembered(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		r.up.set(func(u *upstream) { u.latency = time.Second })
		r.up.down(kindErr(providers.LoginRequired))
		done := make(chan error)
		go func() { _, err := r.get(); done <- err }()
		synctest.Wait()
		r.m.ForgetFailures(all) // the person has logged in meanwhile
		if err := <-done; err == nil {
			r.Fatal("no error")
		}
		r.up.down(nil)
		r.want("token-1")
	})
}

func TestAnotherIdentityIsNotTouchedByADenial(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		r.up.down(kindErr(providers.Denied))
		r.wantErr(providers.Denied)
		r.up.down(nil)
		req := r.req()
		req.ID.Env = "another digest"
		if _, err := r.m.Get(r.Context(), req); err != nil {
			r.Error(err)
		}
	})
}

func TestRevokedIdentityIsTriedOncePer30s(t *testing.T) { // T9
	inBubble(t, time.Hour, func(r *rig) {
		r.want("token-1")
		r.up.down(kindErr(providers.Denied))
		r.m.Drop(all)
		for range 600 { // a client that asks twice a second for 5 min
			r.wantErr(providers.Denied)
			sleep(500 * time.Millisecond)
		}
		r.wantAttempts(1 + 10)
	})
}

func TestRetryAfterHoldsTheKeyBack(t *testing.T) { // H55
	for name, c := range map[string]struct{ ask, hold time.Duration }{
		"20 s":     {20 * time.Second, 20 * time.Second},
		"a day":    {24 * time.Hour, time.Minute},
		"negative": {-5 * time.Second, 0},
		"forever":  {1<<63 - 1, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, time.Hour, func(r *rig) {
				r.up.down(retryAfter(c.ask))
				r.wantErr(providers.Unavailable)
				if c.hold > 0 {
					sleep(c.hold / 4)
					err := r.wantErr(providers.Unavailable)
					if pe, _ := errors.AsType[*providers.Error](err); pe.RetryAfter != c.hold*3/4 {
						r.Errorf("says %s, want %s", pe.RetryAfter, c.hold*3/4)
					}
					// It is the upstream's wish, not an answer about our inputs.
					if n := r.m.ForgetFailures(all); n != 0 {
						r.Errorf("forgot %d", n)
					}
					sleep(c.hold*3/4 - 1)
					r.wantErr(providers.Unavailable)
					r.wantAttempts(1)
					sleep(1)
				}
				r.up.down(nil)
				r.want("token-1")
				r.wantAttempts(2)
			})
		})
	}
}

func TestNoAccountIsNeverRemembered(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		r.up.down(&providers.Error{Kind: providers.NoAccount, RetryAfter: time.Minute})
		r.wantErr(providers.NoAccount)
		r.wantErr(providers.NoAccount)
		r.wantAttempts(2)
	})
}

func TestBackOffBeginsAnewAfterASuccess(t *testing.T) {
	inBubble(t, 12*time.Hour, func(r *rig) {
		r.m.rand = func() float64 { return 0.99 }
		defer r.m.Hold(r.req())()
		r.want("token-1")
		down := func() {
			r.up.set(func(u *upstream) { u.tries = nil })
			r.up.down(kindErr(providers.Unavailable))
			sleep(7 * time.Hour)
			r.up.mu.Lock()
			defer r.up.mu.Unlock()
			if n := len(r.up.tries); n < 10 {
				r.Fatalf("%d attempts", n)
			}
			if gap := r.up.tries[1] - r.up.tries[0]; gap > 2*maxSpacing {
				r.Errorf("the second attempt came %s after the first", gap)
			}
		}
		down()
		r.up.down(nil)
		sleep(10 * time.Minute)
		r.want("token-2")
		down()
	})
}

func TestRetryAfterIsServedFromTheLivingCredential(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		defer r.m.Hold(r.req())()
		r.want("token-1")
		sleep(46 * time.Minute)
		r.m.Drop(all)
		r.want("token-3") // 2 came in the background
		r.up.down(retryAfter(50 * time.Second))
		sleep(46 * time.Minute)
		before := r.up.attempts()
		r.up.set(func(u *upstream) { u.tries = nil })
		for range 8 * 60 {
			r.want("token-3")
			sleep(time.Second)
		}
		r.up.mu.Lock()
		defer r.up.mu.Unlock()
		for i := 1; i < len(r.up.tries); i++ {
			if gap := r.up.tries[i] - r.up.tries[i-1]; gap < 50*time.Second {
				r.Errorf("attempt %d after %s", before+i, gap)
			}
		}
		if len(r.up.tries) < 5 {
			r.Errorf("only %d attempts in 8 min", len(r.up.tries))
		}
	})
}

func TestRetryAfterOutlivesTheCredential(t *testing.T) {
	inBubble(t, 10*time.Second, func(r *rig) {
		r.want("token-1")
		sleep(8 * time.Second)
		r.up.down(retryAfter(time.Minute))
		r.want("token-1") // short, the mint fails
		r.wantAttempts(2)
		sleep(30 * time.Second)
		r.up.down(nil)
		r.wantErr(providers.Unavailable)
		r.wantAttempts(2)
		sleep(30 * time.Second)
		r.want("token-2")
		r.wantAttempts(3)
	})
}
