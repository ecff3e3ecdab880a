// SPDX-License-Identifier: Apache-2.0

package minter

import (
	"fmt"
	"testing"
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

func TestNothingToServeLetsEveryNewFlightTry(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		r.up.down(kindErr(providers.Unavailable))
		for range 5 {
			r.wantErr(providers.Unavailable)
		}
		r.wantAttempts(5)
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
