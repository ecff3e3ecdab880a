// SPDX-License-Identifier: Apache-2.0

package minter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regmint/regmint/providers"
)

func TestGetMintsOnceFor200Callers(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		r.up.set(func(u *upstream) { u.latency = 300 * time.Millisecond })
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				if c, err := r.get(); err != nil || c.Secret.Reveal() != "token-1" {
					r.Errorf("%v %v", c, err)
				}
			})
		}
		wg.Wait()
		r.wantAttempts(1)
		if s := r.m.Stats(); s.Misses != 200 || s.Shared != 199 || s.Mints != 1 || s.Entries != 1 || s.Flights != 0 {
			r.Errorf("%+v", s)
		}
		r.want("token-1")
		if s := r.m.Stats(); s.Hits != 1 {
			r.Errorf("%+v", s)
		}
	})
}

func TestGet10000CallersOver20HostsAnd2IdentitiesMint40(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		var ups []*upstream
		var reqs []Request
		for h := range 20 {
			for a := range 2 {
				u := newUpstream(r.clock, time.Hour)
				u.latency, u.name = 300*time.Millisecond, fmt.Sprintf("h%da%d", h, a)
				ups = append(ups, u)
				reqs = append(reqs, Request{ID: ID{Account: fmt.Sprint(a), Host: testHost(r, fmt.Sprintf("r%d.example.com", h))}, Source: u})
			}
		}
		for round := range 2 {
			var wg sync.WaitGroup
			for i := range 10_000 {
				wg.Go(func() {
					n := i % len(reqs)
					c, err := r.m.Get(r.Context(), reqs[n])
					if err != nil || c.Secret.Reveal() != ups[n].name+"-1" {
						r.Errorf("round %d, caller of %s got %q, %v", round, ups[n].name, c.Secret.Reveal(), err)
					}
				})
			}
			wg.Wait()
		}
		for _, u := range ups {
			if u.attempts() != 1 {
				r.Errorf("%s: %d mints", u.name, u.attempts())
			}
		}
		if s := r.m.Stats(); s.Mints != 40 {
			r.Errorf("%d mints, want 40", s.Mints)
		}
	})
}

func TestEveryPartOfTheIDSeparatesCredentials(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		h := testHost(r, "ghcr.io")
		ids := []ID{
			{Account: "ab"},
			{Env: "ab"},
			{Grants: "ab"},
			{Source: "ab"},
			{Job: "ab"},
			{Host: h},
			{Account: "a", Env: "b"},
			{Account: "b", Env: "a"},
			{Env: "a", Grants: "b"},
			{Grants: "a", Source: "b"},
			{Source: "a", Job: "b"},
		}
		seen := map[string]bool{}
		for range 2 {
			for _, id := range ids {
				c, err := r.m.Get(r.Context(), Request{ID: id, Source: r.up})
				if err != nil {
					r.Fatal(err)
				}
				seen[c.Secret.Reveal()] = true
			}
		}
		if len(seen) != len(ids) {
			r.Errorf("%d credentials for %d identities", len(seen), len(ids))
		}
		r.wantAttempts(len(ids))
	})
}

func TestLeavingCallerDoesNotKillTheFlight(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		r.up.set(func(u *upstream) { u.latency = 20 * time.Second })
		ctx, cancel := context.WithTimeout(r.Context(), 9*time.Second)
		defer cancel()
		stays := make(chan error)
		go func() { _, err := r.m.Get(ctx, r.req()); stays <- err }()
		go func() { _, err := r.get(); stays <- err }()
		start := time.Now()
		err := <-stays
		if !errors.Is(err, context.DeadlineExceeded) || providers.KindOf(err) != providers.Unavailable || time.Since(start) != 9*time.Second {
			r.Errorf("the leaving caller got %v after %s", err, time.Since(start))
		}
		if err := <-stays; err != nil {
			r.Errorf("the staying caller got %v", err)
		}
		r.wantAttempts(1)
	})
}

func TestFlightLandsInTheCacheAfterAllCallersLeft(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		r.up.set(func(u *upstream) { u.latency = 20 * time.Second })
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(r.Context(), time.Duration(i)*100*time.Millisecond)
				defer cancel()
				if _, err := r.m.Get(ctx, r.req()); err == nil {
					r.Error("served before the mint ended")
				}
			})
		}
		wg.Wait()
		sleep(20 * time.Second)
		if s := r.m.Stats(); s.Flights != 0 || s.Entries != 1 {
			r.Fatalf("%+v", s)
		}
		r.want("token-1")
		r.wantAttempts(1)
	})
}

func TestCallerThatHasLeftStartsNothing(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		ctx, cancel := context.WithCancel(r.Context())
		cancel()
		if _, err := r.m.Get(ctx, r.req()); !errors.Is(err, context.Canceled) {
			r.Errorf("got %v", err)
		}
		r.wantAttempts(0)
		if s := r.m.Stats(); s.Entries != 0 {
			r.Errorf("%+v", s)
		}
		r.want("token-1")
		if _, err := r.m.Get(ctx, r.req()); err != nil {
			r.Errorf("a warm answer needs no time: %v", err)
		}
	})
}

func TestShortCredentialIsServedWhenTheCallersTimeEndsFirst(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		r.want("token-1")
		sleep(50 * time.Minute)
		r.up.set(func(u *upstream) { u.latency = 30 * time.Second })
		ctx, cancel := context.WithTimeout(r.Context(), 9*time.Second)
		defer cancel()
		c, err := r.m.Get(ctx, r.req())
		if err != nil || c.Secret.Reveal() != "token-1" {
			r.Fatalf("got %v, %v", c, err)
		}
		sleep(30 * time.Second)
		r.want("token-2")
		r.wantAttempts(2)
	})
}

func TestPanicOfASourceFreesTheKeyAndKeepsItsText(t *testing.T) {
	for name, c := range map[string]struct {
		hook func()
		want string
	}{
		"string":  {func() { panic("CNRY-secret") }, "panicked (string)"},
		"error":   {func() { panic(errors.New("CNRY-secret")) }, "panicked (*errors.errorString)"},
		"runtime": {func() { none := make([]int, 0); _ = none[cap(none)] }, "panicked (runtime.boundsError)"},
		"goexit":  {runtime.Goexit, "ended without an answer"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, time.Hour, func(r *rig) {
				var log bytes.Buffer
				r.m.log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
				r.up.set(func(u *upstream) { u.hook = c.hook })
				err := r.wantErr(providers.Unavailable)
				if !strings.Contains(err.Error(), c.want) {
					r.Errorf("%v, want %s", err, c.want)
				}
				synctest.Wait()
				for _, s := range []string{err.Error(), fmt.Sprintf("%+v %#v", err, err), log.String()} {
					if strings.Contains(s, "CNRY") {
						r.Errorf("the panic's text leaks: %s", s)
					}
				}
				r.up.set(func(u *upstream) { u.hook = nil })
				r.want("token-1")
			})
		})
	}
}

func TestSourceWithoutValueIsAnError(t *testing.T) {
	inBubble(t, time.Hour, func(r *rig) {
		req := r.req()
		req.Source = nil
		if _, err := r.m.Get(r.Context(), req); providers.KindOf(err) != providers.Unavailable {
			r.Errorf("%v", err)
		}
	})
}

func TestUselessAnswersAreUnavailable(t *testing.T) {
	for want, shape := range map[string]func(*providers.Credential){
		"docker.io: the answer is already expired; compare this machine's clock with the registry's": func(c *providers.Credential) { c.ExpiresAt = c.IssuedAt },
		"docker.io: the answer holds no secret":                                                      func(c *providers.Credential) { c.Secret = providers.Secret{} },
	} {
		inBubble(t, time.Hour, func(r *rig) {
			r.up.set(func(u *upstream) { u.shape = shape })
			if err := r.wantErr(providers.Unavailable); err.Error() != want {
				r.Errorf("got %q, want %q", err, want)
			}
			r.up.set(func(u *upstream) { u.shape = nil })
			r.want("token-2")
		})
	}
}

func TestErrorsGetTheHostAndKeepTheirKind(t *testing.T) {
	var none *providers.Error
	for want, give := range map[string]error{
		"docker.io: dial refused":                                     errors.New("dial refused"),
		"docker.io: not allowed":                                      &providers.Error{Kind: providers.Denied, Err: errors.New("not allowed")},
		"docker.io: the provider failed without saying why":           none,
		"while asking: docker.io: no":                                 fmt.Errorf("while asking: %w", kindErr(providers.LoginRequired)),
		"docker.io: no answer within 1m0s: context deadline exceeded": fmt.Errorf("Get: %w", context.DeadlineExceeded),
	} {
		inBubble(t, time.Hour, func(r *rig) {
			r.up.down(give)
			_, err := r.get()
			if err == nil || err.Error() != want {
				r.Errorf("got %q, want %q", err, want)
			}
			if e, ok := errors.AsType[*providers.Error](err); !ok || e.Kind == "" {
				r.Errorf("%v has no kind", err)
			}
		})
	}
}
