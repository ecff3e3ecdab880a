// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/agent/store"
	"github.com/regmint/regmint/providers"
)

// product keeps tokens as products with families do: a rotation kills the token
// it is asked with at once, and a second use of a dead one kills all.
type product struct {
	mu     sync.Mutex
	serial int
	dead   map[string]bool
	alive  map[string]bool
	reuses int
	asks   int
	down   bool                        // no network
	lose   func() (before, after bool) // the request, or its answer, is lost
	answer func(fresh string) string   // what it says instead
	ends   time.Time                   // of what lives
	verify func(token string) error    // the registry's word
	plan   error                       // why nothing can be rotated
	looks  int                         // whether a secret lives
	at     func(step string)
}

func newProduct() *product {
	return &product{dead: map[string]bool{}, alive: map[string]bool{"t0": true}, at: func(string) {}}
}

func (p *product) living(s providers.Secret) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.alive[s.Reveal()]
}

var errNet = &providers.Error{Kind: providers.Unavailable, Err: errors.New("no network")}

func (p *product) rotate(old string) (string, error) {
	before, after := false, false
	if p.lose != nil {
		before, after = p.lose()
	}
	if p.down || before {
		return "", errNet
	}
	p.mu.Lock()
	p.asks++
	if p.dead[old] {
		p.reuses++
		for t := range p.alive {
			p.dead[t] = true
		}
		clear(p.alive)
	}
	if !p.alive[old] {
		p.mu.Unlock()
		return "", &providers.Error{Kind: providers.LoginRequired, Err: errors.New("401")}
	}
	p.serial++
	fresh := fmt.Sprintf("t%d", p.serial)
	delete(p.alive, old)
	p.dead[old], p.alive[fresh] = true, true
	p.mu.Unlock()
	p.at("served")
	if after {
		return "", errNet
	}
	if p.answer != nil {
		return p.answer(fresh), nil
	}
	return fresh, nil
}

type rotProvider struct {
	testProvider
	product *product
}

func (p *rotProvider) Open(a providers.Account, d providers.Deps) (providers.Source, error) {
	return &rotSource{testSource{p: &p.testProvider, a: a, d: d}, p.product}, nil
}

type rotSource struct {
	testSource
	product *product
}

func (s *rotSource) Verify(_ context.Context, _ providers.Request, c providers.Credential) error {
	if s.product.verify == nil {
		return nil
	}
	return s.product.verify(c.Secret.Reveal())
}

func (s *rotSource) RotationPlan(context.Context, providers.Secret) (providers.RotationPlan, error) {
	if s.product.plan != nil {
		return providers.RotationPlan{}, s.product.plan
	}
	if s.product.down {
		return providers.RotationPlan{}, errNet
	}
	return providers.RotationPlan{What: "token", Dies: "the old one", ExpiresAt: s.product.ends}, nil
}

func (s *rotSource) Rotate(_ context.Context, old providers.Secret) (providers.Rotated, error) {
	t, err := s.product.rotate(old.Reveal())
	return providers.Rotated{Secret: providers.NewSecret(t), ExpiresAt: s.product.ends}, err
}

func (s *rotSource) Alive(_ context.Context, t providers.Secret) error {
	s.product.mu.Lock()
	s.product.looks++
	s.product.mu.Unlock()
	if s.product.down {
		return errNet
	}
	if !s.product.living(t) {
		return &providers.Error{Kind: providers.LoginRequired, Err: errors.New("401")}
	}
	return nil
}

// flaky is a store that fails now and then, but for good at nothing.
type flaky struct {
	mapStore
	mu sync.Mutex
	at func(step string)
}

func (f *flaky) Get(ctx context.Context, n string) (providers.Secret, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mapStore.Get(ctx, n)
}

func (f *flaky) Set(ctx context.Context, n string, s providers.Secret) error {
	f.at("set before")
	f.mu.Lock()
	err := f.mapStore.Set(ctx, n, s)
	f.mu.Unlock()
	f.at("set after")
	return err
}

func (f *flaky) Delete(ctx context.Context, n string) error {
	f.at("delete before")
	f.mu.Lock()
	err := f.mapStore.Delete(ctx, n)
	f.mu.Unlock()
	f.at("delete after")
	return err
}

// rotRig is what outlives a process: the product, the store, the state directory.
type rotRig struct {
	t       *testing.T
	product *product
	store   *flaky
	state   string
	account providers.Account
	more    []providers.Account
	now     time.Time
	kill    func(step string)
	open    func(*config.Config) (store.Store, error)
}

var time2040 = time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)

// quickDir is a directory in memory where there is one: thousands of durable
// writes take a disk half a minute.
func quickDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "regmint-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func newRotRig(t *testing.T) *rotRig {
	r := &rotRig{t: t, product: newProduct(), state: quickDir(t), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), kill: func(string) {}}
	at := func(s string) { r.kill(s) }
	r.store = &flaky{mapStore: mapStore{"reg.example": providers.NewSecret("t0")}, at: at}
	r.product.at = at
	r.open = func(*config.Config) (store.Store, error) { return r.store, nil }
	r.account = account("ci", "reg.example")
	r.account.Provider = "rot"
	r.account.Password = providers.SecretRef{Scheme: "keyring", Value: "reg.example"}
	return r
}

// process is a process that starts now.
func (r *rotRig) process() *Core {
	r.t.Helper()
	ps := []providers.Provider{&rotProvider{testProvider{name: "rot"}, r.product}, &testProvider{name: "generic"}}
	c, err := NewCore(r.t.Context(), CoreOptions{
		Providers: ps,
		Load: func(bool) (*config.Config, error) {
			return &config.Config{Accounts: append([]providers.Account{r.account}, r.more...)}, nil
		},
		Store:   func(cfg *config.Config) (store.Store, error) { return r.open(cfg) },
		Saved:   config.SavedFile{Path: filepath.Join(r.state, "saved.toml"), StateDir: r.state, Providers: ps},
		Log:     slog.New(slog.DiscardHandler),
		Clock:   func() (time.Time, time.Duration) { return r.clock(), 0 },
		ExecEnv: []string{},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	c.failpoint = func(s string) { r.kill(s) }
	return c
}

type killed struct{ step string }

// live runs f; killed reports that the process did not live to its end.
func live(f func()) (dead bool) {
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(killed); !ok {
				panic(p)
			}
			dead = true
		}
	}()
	f()
	return false
}

func (r *rotRig) secret() providers.Secret {
	return r.store.mapStore["reg.example"]
}

// second is the other name of the secret in the store.
func (r *rotRig) second() string { return nextPrefix + rotationID(r.account.Password) }

func (r *rotRig) left() []string {
	var out []string
	for n := range r.store.mapStore {
		if n != "reg.example" {
			out = append(out, n)
		}
	}
	return append(out, r.process().intentsOpen()...)
}

func (r *rotRig) asks() int {
	r.product.mu.Lock()
	defer r.product.mu.Unlock()
	return r.product.asks
}

func (r *rotRig) clock() time.Time {
	r.product.mu.Lock()
	defer r.product.mu.Unlock()
	return r.now
}

func (r *rotRig) later(d time.Duration) {
	r.product.mu.Lock()
	defer r.product.mu.Unlock()
	r.now = r.now.Add(d)
}
