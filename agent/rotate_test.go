// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/agent/api"
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

func TestRotationReplacesTheSecretAndWhatWasMintedFromIt(t *testing.T) {
	r := newRotRig(t)
	c := r.process()
	get := func(want string) {
		t.Helper()
		if resp := c.Get(t.Context(), nil, &api.GetRequest{Key: "reg.example"}); resp.Secret != want {
			t.Fatalf("got %+v, want %s", resp, want)
		}
	}
	get("t0")
	done, err := c.Rotate(t.Context(), r.account, nil)
	if err != nil || done.Finished || r.secret().Reveal() != "t1" || len(r.left()) > 0 {
		t.Fatalf("%+v %v, secret %s, left %v", done, err, r.secret().Reveal(), r.left())
	}
	get("t1")
}

// Every step of a rotation, and of what finishes one, may be the last of its
// process. Whatever happens, a secret that lives stays reachable, unless it
// died on its way from the product, and no dead one is ever used again.
func TestAThousandRotationsKilledAtEveryStepLoseNoSecret(t *testing.T) {
	t.Parallel()
	const seeds, shards = 1000, 4
	var mu sync.Mutex
	lost, steps := 0, map[string]int{}
	t.Run("seeds", func(t *testing.T) {
		for shard := range int64(shards) {
			t.Run(fmt.Sprint(shard), func(t *testing.T) {
				t.Parallel()
				for seed := shard; seed < seeds; seed += shards {
					k := killedRun{rotRig: newRotRig(t), rnd: rand.New(rand.NewSource(seed)), seed: seed, steps: map[string]int{}}
					onTheWay := k.run()
					mu.Lock()
					if onTheWay {
						lost++
					}
					for s, n := range k.steps {
						steps[s] += n
					}
					mu.Unlock()
				}
			})
		}
	})
	for _, s := range []string{"intent", "rehearsed", "served", "answered", "next", "replaced", "cleaned", "set before", "set after", "delete before", "delete after"} {
		if steps[s] == 0 {
			t.Errorf("no run was killed at %q", s)
		}
	}
	t.Logf("killed at %v; %d of %d on the way from the product", steps, lost, seeds)
}

// killedRun is the life of one secret among processes that are killed.
type killedRun struct {
	*rotRig
	rnd   *rand.Rand
	seed  int64
	kills int
	last  string
	steps map[string]int
}

// run reports a secret that was lost on its way from the product: nothing but a
// process that died ever had it.
func (k *killedRun) run() (onTheWay bool) {
	t, rnd := k.t, k.rnd
	k.kills = 1 + rnd.Intn(3)
	odds := 2 + rnd.Intn(8)
	k.kill = func(step string) {
		k.last = step
		if k.kills > 0 && rnd.Intn(odds) == 0 {
			k.kills--
			k.steps[step]++
			panic(killed{step})
		}
	}
	trouble := rnd.Intn(3) == 0
	k.product.lose = func() (bool, bool) { return trouble && rnd.Intn(3) == 0, trouble && rnd.Intn(3) == 0 }
	for try := 0; try < 12; try++ {
		served := k.product.serial
		dead, err := k.oneProcess()
		if k.product.serial > served && !k.product.living(k.secret()) && !k.product.living(k.store.mapStore[k.second()]) {
			onTheWay = true // killed between "served" and the first durable write, or the answer was lost
		}
		k.now = k.now.Add(2 * time.Minute)
		if !dead && (err == nil || providers.KindOf(err) == providers.LoginRequired) && k.kills == 0 {
			break
		}
	}
	k.kills, trouble = 0, false
	_, err := k.process().Rotate(t.Context(), k.account, nil)
	switch {
	case k.product.reuses > 0:
		t.Fatalf("seed %d: a dead secret was used again (last step %s)", k.seed, k.last)
	case onTheWay:
		if providers.KindOf(err) != providers.LoginRequired || !strings.Contains(err.Error(), "interrupted") {
			t.Fatalf("seed %d: lost on the way, and rotate says %v", k.seed, err)
		}
	case err != nil || !k.product.living(k.secret()) || len(k.left()) > 0:
		t.Fatalf("seed %d: %v; the secret %s lives: %v; left %v (last step %s)", k.seed, err, k.secret().Reveal(), k.product.living(k.secret()), k.left(), k.last)
	}
	return onTheWay
}

// oneProcess is one process that does one thing.
func (k *killedRun) oneProcess() (dead bool, err error) {
	c, t := k.process(), k.t
	err = errNet
	dead = live(func() {
		switch k.rnd.Intn(3) {
		case 0:
			c.settleAll(t.Context())
		case 1:
			_ = c.Get(t.Context(), nil, &api.GetRequest{Key: "reg.example"})
		default:
			_, err = c.Rotate(t.Context(), k.account, nil)
		}
	})
	return dead, err
}

func TestARotationWhoseAnswerWasLostSaysWhatHappened(t *testing.T) {
	r := newRotRig(t)
	r.product.lose = func() (bool, bool) { return false, true }
	if _, err := r.process().Rotate(t.Context(), r.account, nil); providers.KindOf(err) != providers.Unavailable {
		t.Fatalf("lost answer: %v", err)
	}
	if _, err := r.process().Rotate(t.Context(), r.account, nil); providers.KindOf(err) != providers.Unavailable || r.product.asks != 1 {
		t.Fatalf("at once again: %v, %d asks", err, r.product.asks)
	}
	r.now = r.now.Add(time.Minute)
	r.product.down = true
	if _, err := r.process().Rotate(t.Context(), r.account, nil); providers.KindOf(err) != providers.Unavailable || len(r.left()) == 0 {
		t.Fatalf("without network: %v, left %v", err, r.left())
	}
	r.product.down = false
	r.process().settleAll(t.Context())
	resp := r.process().Get(t.Context(), nil, &api.GetRequest{Key: "reg.example"})
	if resp.Kind != string(providers.LoginRequired) || !strings.Contains(resp.Message, "rotation at") || !strings.Contains(resp.Message, "regmint login reg.example") {
		t.Fatalf("get: %+v", resp)
	}
	c := r.process()
	r.product.alive["mine"] = true
	if reply := c.Store(t.Context(), nil, api.Login{ServerURL: "reg.example", Username: "ci", Secret: "mine"}); reply.Outcome != api.OK {
		t.Fatalf("store: %+v", reply)
	}
	if resp := c.Get(t.Context(), nil, &api.GetRequest{Key: "reg.example"}); resp.Secret != "mine" {
		t.Fatalf("after the login: %+v", resp)
	}
	if left := r.left(); len(left) > 0 || r.product.reuses > 0 {
		t.Fatalf("left %v, %d reuses", left, r.product.reuses)
	}
}

func TestALoginDuringARotationStays(t *testing.T) {
	r := newRotRig(t)
	r.kill = func(step string) {
		if step == "next" {
			r.store.mapStore["reg.example"] = providers.NewSecret("mine")
		}
	}
	if _, err := r.process().Rotate(t.Context(), r.account, nil); err != nil || r.secret().Reveal() != "mine" || len(r.left()) > 0 {
		t.Fatalf("%v, secret %s, left %v", err, r.secret().Reveal(), r.left())
	}
}

func TestAnIntentHoldsNoSecret(t *testing.T) {
	r := newRotRig(t)
	secret := "glpat-0123456789abcdefghij"
	r.product.alive[secret] = true
	r.store.mapStore["reg.example"] = providers.NewSecret(secret)
	r.kill = func(step string) {
		if step == "next" {
			panic(killed{step})
		}
	}
	live(func() { _, _ = r.process().Rotate(t.Context(), r.account, nil) })
	files, _ := filepath.Glob(filepath.Join(r.state, "rotate", "*"))
	if len(files) != 1 {
		t.Fatalf("files %v", files)
	}
	data, err := os.ReadFile(files[0])
	info, _ := os.Stat(files[0])
	if err != nil || strings.Contains(string(data), secret) || strings.Contains(string(data), "t1") || info.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
		t.Fatalf("%v %v %s", err, info.Mode(), data)
	}
}

func TestRotationsAtOnceAskTheProductOnce(t *testing.T) {
	r := newRotRig(t)
	gate, asked := make(chan struct{}), make(chan struct{}, 8)
	r.kill = func(step string) {
		switch step {
		case "asked":
			asked <- struct{}{}
		case "served":
			<-gate
		}
	}
	var wg sync.WaitGroup
	errs := make([]error, 8)
	shared := make([]bool, 8)
	cores := make([]*Core, 8)
	for i := range cores {
		cores[i] = r.process()
	}
	for i := range cores {
		wg.Go(func() {
			done, err := cores[i].Rotate(t.Context(), r.account, nil)
			shared[i], errs[i] = done.Shared, err
		})
	}
	for range cores {
		<-asked
	}
	r.later(time.Second)
	close(gate)
	wg.Wait()
	if err := errors.Join(errs...); err != nil || r.asks() != 1 || r.secret().Reveal() != "t1" {
		t.Fatalf("%v, %d asks, secret %s", err, r.asks(), r.secret().Reveal())
	}
	if n := len(slices.DeleteFunc(shared, func(b bool) bool { return !b })); n != 7 {
		t.Fatalf("%d say that another one rotated", n)
	}
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

func TestRotationIsRefusedWhereNoNewSecretCanBePut(t *testing.T) {
	for scheme, part := range map[string]string{"env": "variable", "file": "does not write", "exec": "does not write"} {
		r := newRotRig(t)
		r.account.Password = providers.SecretRef{Scheme: scheme, Value: "/x"}
		_, err := r.process().Rotate(t.Context(), r.account, map[string]string{"/x": "t0"})
		if providers.KindOf(err) != providers.Misconfigured || !strings.Contains(err.Error(), part) || r.product.asks != 0 {
			t.Errorf("%s: %v", scheme, err)
		}
	}
	r := newRotRig(t)
	r.account.Provider = "generic"
	if _, err := r.process().Rotate(t.Context(), r.account, nil); providers.KindOf(err) != providers.Misconfigured {
		t.Errorf("a product without rotation: %v", err)
	}
}

func TestAStoreThatTakesNothingIsNoticedBeforeTheProductIsAsked(t *testing.T) {
	r := newRotRig(t)
	c := r.process()
	c.state.Load().store = fullStore{r.store}
	if _, err := c.Rotate(t.Context(), r.account, nil); err == nil || r.product.asks != 0 || !slices.Equal(r.left(), nil) {
		t.Fatalf("%v, %d asks, left %v", err, r.product.asks, r.left())
	}
}

type fullStore struct{ store.Store }

func (fullStore) Set(context.Context, string, providers.Secret) error {
	return errors.New("disk full")
}
