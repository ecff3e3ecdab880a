// SPDX-License-Identifier: Apache-2.0

package minter

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regmint/regmint/providers"
)

const day = 24 * time.Hour

func TestSuspendNeverServesAnExpiredToken(t *testing.T) { // T8, golang/go#24595
	for _, held := range []bool{false, true} {
		t.Run(fmt.Sprint("held ", held), func(t *testing.T) {
			inBubble(t, time.Hour, func(r *rig) {
				if held {
					defer r.m.Hold(r.req())()
				}
				r.want("token-1")
				r.clock.suspend(10 * time.Minute)
				r.want("token-1")
				r.wantAttempts(1)
				r.clock.suspend(9 * time.Hour)
				r.want("token-2")
				r.wantAttempts(2)
			})
		})
	}
}

func TestSuspendWithoutARegistryAfterwardsIsAFailure(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		r.want("token-1")
		r.up.down(kindErr(providers.Unavailable))
		r.clock.suspend(time.Hour - 1)
		r.want("token-1")
		r.clock.suspend(1)
		r.wantErr(providers.Unavailable)
	})
}

func TestFirstCallerAfterASuspendStartsTheRenewalsThatAreOverdue(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		defer r.m.Hold(r.req())()
		other := r.req()
		other.ID.Account, other.Source = "other", newUpstream(r.clock, 12*time.Hour)
		warm := func() {
			if _, err := r.m.Get(r.Context(), other); err != nil {
				r.Fatal(err)
			}
		}
		r.want("token-1")
		warm()
		warm()
		r.clock.suspend(40 * time.Minute) // Go's timer would be late by as much
		synctest.Wait()
		r.wantAttempts(1)
		warm()
		synctest.Wait()
		r.wantAttempts(2)
	})
}

func TestWallClockJumps(t *testing.T) {
	const h = time.Hour
	for name, jump := range map[string]func(*clocks){
		"+1h":   func(c *clocks) { c.jump(h) },
		"-1h":   func(c *clocks) { c.jump(-h) },
		"+400d": func(c *clocks) { c.jump(400 * day) },
		"-400d": func(c *clocks) { c.jump(-400 * day) },
		"1970":  func(c *clocks) { c.set(time.Unix(0, 0)) },
		"2200":  func(c *clocks) { c.set(time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)) },
	} {
		for _, life := range []time.Duration{2 * time.Second, time.Minute, time.Hour, 12 * h} {
			t.Run(fmt.Sprint(name, " life ", life), func(t *testing.T) {
				inBubble(t, life, func(r *rig) { jumpAndBack(r, life, jump) })
			})
		}
	}
}

// jumpAndBack gets across a jump and its correction, with a registry that says
// how long its tokens live, and one that is down.
func jumpAndBack(r *rig, life time.Duration, jump func(*clocks)) {
	serves := func(d time.Duration) {
		r.Helper()
		for range 40 {
			c, err := r.get()
			if err != nil || r.up.expired(c) {
				r.Fatalf("%s %v, expired %t", c.Secret.Reveal(), err, r.up.expired(c))
			}
			sleep(d / 40)
		}
	}
	defer r.m.Hold(r.req())()
	serves(life / 4)
	for range 3 {
		jump(r.clock)
		serves(3 * life)
		r.clock.jump(-r.clock.offset())
		serves(3 * life)
	}
	// Down: what is alive by both clocks is served to its end, no further.
	c, _ := r.get()
	left := c.ExpiresAt.Sub(r.clock.instant().wall)
	r.up.down(kindErr(providers.Unavailable))
	jump(r.clock)
	ahead := r.clock.offset() > 0
	for range 40 {
		c, err := r.get()
		switch {
		case err == nil && r.up.expired(c):
			r.Fatal("served an expired token")
		case err != nil && !ahead:
			r.Fatalf("a living token was refused: %v", err)
		}
		sleep(left / 40)
	}
	r.clock.jump(-r.clock.offset())
	sleep(40 * time.Nanosecond) // what the division cut off
	r.wantErr(providers.Unavailable)
}

func TestTokenOfACorrectedClockIsServedAgain(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		defer r.m.Hold(r.req())()
		r.want("token-1")
		r.up.down(kindErr(providers.Unavailable))
		r.clock.jump(2 * time.Hour)
		r.wantErr(providers.Unavailable)
		r.clock.jump(-2 * time.Hour)
		r.want("token-1")
	})
}

func TestAbsoluteTimesOfARegistryWhoseClockDiffers(t *testing.T) { // T8: server Date skew; H54
	for _, skew := range []time.Duration{-10 * time.Minute, 10 * time.Minute, -50 * time.Minute, 30 * day} {
		t.Run(fmt.Sprint("ours is off by ", skew), func(t *testing.T) {
			inBubble(t, time.Hour, func(r *rig) {
				r.up.set(func(u *upstream) { u.absolute = true })
				r.clock.jump(skew)
				if skew > time.Hour {
					// By our clock no answer is ever alive.
					r.wantErr(providers.Unavailable)
					return
				}
				for range 1000 {
					c, err := r.get()
					if err != nil || r.up.expired(c) {
						r.Fatalf("%v, expired %t", err, r.up.expired(c))
					}
					sleep(10 * time.Second)
				}
				r.up.down(kindErr(providers.Unavailable))
				for range 360 {
					if c, err := r.get(); err == nil && r.up.expired(c) {
						r.Fatal("served an expired token")
					}
					sleep(10 * time.Second)
				}
				r.wantErr(providers.Unavailable)
			})
		})
	}
}

func TestLivesFrom2SecondsTo12Hours(t *testing.T) {
	for _, life := range []time.Duration{2 * time.Second, 10 * time.Second, time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, time.Hour, 12 * time.Hour} {
		for _, held := range []bool{true, false} {
			t.Run(fmt.Sprint(life, " held ", held), func(t *testing.T) {
				inBubble(t, life, func(r *rig) {
					if held {
						defer r.m.Hold(r.req())()
					}
					waited := 0
					for range 2000 {
						start := time.Now()
						c, err := r.get()
						if err != nil || r.up.expired(c) {
							r.Fatalf("%v, expired %t", err, r.up.expired(c))
						}
						if time.Since(start) > 0 {
							waited++
						}
						r.up.set(func(u *upstream) { u.latency = min(life/100, 10*time.Second) })
						sleep(life / 20)
					}
					lives := 2000.0 / 20
					if n := float64(r.up.attempts()); n > 1.2*lives/0.45 {
						r.Errorf("%g mints in %g lives", n, lives)
					}
					if waited > 0 {
						r.Errorf("%d callers waited although each life was asked for", waited)
					}
				})
			})
		}
	}
}

func TestExpiryDuringAFlightIsSeenByItsWaiters(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		r.up.set(func(u *upstream) { u.latency = time.Second })
		got := make(chan error)
		var n atomic.Int32
		r.m.clock = func() instant {
			// The machine sleeps right after the landing, before the waiter runs.
			if n.Add(1) == 3 {
				r.clock.suspend(2 * time.Hour)
			}
			return r.clock.instant()
		}
		go func() {
			c, err := r.get()
			if err == nil && r.up.expired(c) {
				err = fmt.Errorf("%s is expired", c.Secret.Reveal())
			}
			got <- err
		}()
		if err := <-got; err != nil {
			r.Error(err)
		}
		synctest.Wait()
		r.wantAttempts(2)
	})
}

func TestSystemClock(t *testing.T) {
	wall, boot := SystemClock()
	if wall != wall.Round(0) {
		t.Error("the wall clock has a monotonic part")
	}
	if boot <= 0 {
		t.Errorf("boot %s", boot)
	}
	for range 1000 {
		_, b := SystemClock()
		if b < boot {
			t.Fatalf("%s after %s", b, boot)
		}
		boot = b
	}
}
