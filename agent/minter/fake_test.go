// SPDX-License-Identifier: Apache-2.0

package minter

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regmint/regmint/providers"
)

var seedFlag = flag.Uint64("seed", 1, "first seed of the random tests")

// clocks derives both clocks from the bubble's time. A suspend stops Go's
// timers, hence moves both clocks against the bubble; a jump moves the wall.
type clocks struct {
	mu         sync.Mutex
	start      time.Time
	wall, boot time.Duration
}

func newClocks() *clocks { return &clocks{start: time.Now(), boot: time.Hour} }

func (c *clocks) now() (time.Time, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := time.Since(c.start)
	return c.start.Add(d + c.wall), d + c.boot
}

func (c *clocks) instant() instant {
	w, b := c.now()
	return instant{w.Round(0), b}
}

// truth is real time: it never jumps.
func (c *clocks) truth() time.Duration { _, b := c.now(); return b }

func (c *clocks) suspend(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall += d
	c.boot += d
}

func (c *clocks) jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall += d
}

func (c *clocks) set(t time.Time) {
	w, _ := c.now()
	c.jump(t.Sub(w))
}

// offset is how far the wall clock is from the truth.
func (c *clocks) offset() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall - (c.boot - time.Hour)
}

// upstream is a registry and the provider in front of it. It knows the truth
// about its tokens.
type upstream struct {
	clock *clocks
	name  string

	mu       sync.Mutex
	life     time.Duration
	latency  time.Duration
	absolute bool              // answers with times of its own, true clock; else a life
	reuse    time.Duration     // hands out the same token until this much is left
	fail     func(n int) error // attempt n, from 1
	hook     func()            // runs within Mint
	shape    func(*providers.Credential)
	tries    []time.Duration // truth of each attempt
	mints    int
	ends     map[string]time.Duration
	current  string
	said     time.Time // expiry of the last answer
	early    bool
	deaf     chan struct{} // ignores its context until closed
}

func newUpstream(c *clocks, life time.Duration) *upstream {
	return &upstream{clock: c, name: "token", life: life, ends: map[string]time.Duration{}}
}

func (u *upstream) Key(providers.Request) string { return "" }

func (u *upstream) RefreshEarly() bool { return u.early }

func (u *upstream) Mint(ctx context.Context, _ providers.Request) (providers.Credential, error) {
	u.mu.Lock()
	u.tries = append(u.tries, u.clock.truth())
	n, latency, hook, deaf, fail := len(u.tries), u.latency, u.hook, u.deaf, u.fail
	u.mu.Unlock()
	if deaf != nil {
		<-deaf
	}
	if hook != nil {
		hook()
	}
	if latency > 0 {
		select {
		case <-time.After(latency):
		case <-ctx.Done():
			return providers.Credential{}, ctx.Err()
		}
	}
	if fail != nil {
		if err := fail(n); err != nil {
			return providers.Credential{}, err
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.token(), nil
}

// token makes a credential, or gives the current one again.
func (u *upstream) token() providers.Credential {
	now := u.clock.truth()
	if u.current == "" || u.reuse == 0 || u.ends[u.current]-now <= u.reuse {
		u.mints++
		u.current = fmt.Sprintf("%s-%d", u.name, u.mints)
		u.ends[u.current] = now + u.life
	}
	wall, _ := u.clock.now()
	c := providers.Credential{Username: "u", Secret: providers.NewSecret(u.current)}
	left := u.ends[u.current] - now
	switch {
	case u.life == 0:
	case u.absolute:
		real := wall.Add(-u.clock.offset())
		c.IssuedAt, c.ExpiresAt = real.Add(left-u.life), real.Add(left)
	default:
		c.IssuedAt, c.ExpiresAt = wall, wall.Add(left)
	}
	if u.shape != nil {
		u.shape(&c)
	}
	u.said = c.ExpiresAt
	return c
}

// expired reports the truth about a credential that was served.
func (u *upstream) expired(c providers.Credential) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	end, ok := u.ends[c.Secret.Reveal()]
	return !ok || u.life > 0 && end <= u.clock.truth()
}

func (u *upstream) attempts() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.tries)
}

func (u *upstream) set(f func(*upstream)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f(u)
}

// down makes every attempt fail with e; nil heals it.
func (u *upstream) down(e error) {
	u.set(func(u *upstream) { u.fail = func(int) error { return e } })
}

// rig is one minter with one upstream in a bubble.
type rig struct {
	*testing.T
	clock *clocks
	up    *upstream
	m     *Minter
	stop  context.CancelFunc
}

// inBubble runs f with a minter whose upstream hands out tokens of that life.
func inBubble(t *testing.T, life time.Duration, f func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newClocks()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		rng := rand.New(rand.NewPCG(*seedFlag, 0))
		f(&rig{t, c, newUpstream(c, life), New(ctx, Config{Now: c.now, Rand: rng.Float64}), stop})
	})
}

func testHost(t testing.TB, s string) providers.Host {
	t.Helper()
	h, err := providers.ParseHost(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (r *rig) req() Request {
	return Request{ID: ID{Account: "a", Host: providers.DockerHub}, Source: r.up, Request: providers.Request{Host: providers.DockerHub}}
}

func (r *rig) get() (providers.Credential, error) { return r.m.Get(r.Context(), r.req()) }

// want gets and demands this token, alive.
func (r *rig) want(secret string) {
	r.Helper()
	c, err := r.get()
	if err != nil {
		r.Fatalf("get: %v, want %s", err, secret)
	}
	if got := c.Secret.Reveal(); got != secret {
		r.Fatalf("got %s, want %s", got, secret)
	}
	if r.up.expired(c) {
		r.Fatalf("served %s after its end", secret)
	}
}

// wantErr gets and demands a failure of that kind.
func (r *rig) wantErr(k providers.Kind) error {
	r.Helper()
	c, err := r.get()
	if err == nil {
		r.Fatalf("got %s, want a failure", c.Secret.Reveal())
	}
	if providers.KindOf(err) != k {
		r.Fatalf("kind %s (%v), want %s", providers.KindOf(err), err, k)
	}
	return err
}

func (r *rig) wantAttempts(n int) {
	r.Helper()
	if got := r.up.attempts(); got != n {
		r.Fatalf("%d attempts, want %d", got, n)
	}
}

// sleep lets d pass and every goroutine settle.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func kindErr(k providers.Kind) error {
	return &providers.Error{Kind: k, Host: providers.DockerHub, Err: errors.New("no")}
}

func retryAfter(d time.Duration) error {
	return &providers.Error{Kind: providers.Unavailable, Host: providers.DockerHub, Err: errors.New("429"), RetryAfter: d}
}
