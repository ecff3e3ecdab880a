// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/agent/store"
	"github.com/regmint/regmint/providers"
)

// testProvider mints NAME-SERIAL for the values of its environment.
type testProvider struct {
	name  string
	env   []string
	hosts string // Match: under this domain

	mu       sync.Mutex
	mints    int
	err      error
	life     time.Duration
	wider    bool
	refuse   bool
	breaks   bool          // its Verify panics          // Verify answers 401
	gate     chan struct{} // a mint waits until it is closed; nil = none does
	onOpen   func(a providers.Account)
	onMint   func(s *testSource) error
	watches  []string
	openErr  error
	last     providers.Request
	origin   string
	minted   bool // robot is the name of everybody
	fixed    bool // CanNarrow answers no
	keeps    func(user string, secret providers.Secret) (bool, error)
	learned  providers.Learned // by Verify; zero: nothing
	verified int
}

func (p *testProvider) Name() string  { return p.name }
func (p *testProvider) Env() []string { return p.env }
func (p *testProvider) Options() any  { return &struct{}{} }
func (p *testProvider) MintedUser(_ providers.Host, user string, secret providers.Secret, _ time.Time) (time.Duration, bool) {
	if secret.Equal(providers.NewSecret("too old")) {
		return 0, p.minted
	}
	return 12 * time.Hour, p.minted && user == "robot"
}

func (p *testProvider) KeepsLogin(_ providers.Host, user string, secret providers.Secret) (bool, error) {
	if p.keeps == nil {
		return false, nil
	}
	return p.keeps(user, secret)
}

func (p *testProvider) NeedsUser() bool { return false }

func (p *testProvider) LoginOptions(providers.Account) any { return p.Options() }

func (p *testProvider) CanNarrow(providers.Account, []providers.Grant) bool { return !p.fixed }

func (p *testProvider) Match(h providers.Host) bool {
	if p.hosts == "" {
		return false
	}
	_, ok := h.Under(p.hosts)
	return ok
}

func (p *testProvider) Open(a providers.Account, d providers.Deps) (providers.Source, error) {
	if p.onOpen != nil {
		p.onOpen(a)
	}
	if p.openErr != nil {
		return nil, p.openErr
	}
	return &testSource{p: p, a: a, d: d}, nil
}

type testSource struct {
	p *testProvider
	a providers.Account
	d providers.Deps
}

func (s *testSource) Watches() []string { return s.p.watches }

func (p *testProvider) mintCount() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mints
}

func (p *testProvider) setMint(f func(*testSource) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onMint = f
}

func (s *testSource) Key(providers.Request) string { return "" }

func (s *testSource) Mint(ctx context.Context, r providers.Request) (providers.Credential, error) {
	if s.p.gate != nil {
		select {
		case <-s.p.gate:
		case <-ctx.Done():
			return providers.Credential{}, ctx.Err()
		}
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.mints++
	s.p.last = r
	if s.p.err != nil {
		return providers.Credential{}, s.p.err
	}
	if s.p.onMint != nil {
		if err := s.p.onMint(s); err != nil {
			return providers.Credential{}, err
		}
	}
	secret := fmt.Sprintf("%s-%d", s.a.Name, s.p.mints)
	if !s.a.Password.IsZero() {
		v, err := s.d.Resolve(ctx, s.a.Password)
		if err != nil {
			return providers.Credential{}, err
		}
		secret = v.Reveal()
	}
	for _, n := range s.p.env {
		secret += "-" + s.d.Env[n]
	}
	now := s.d.Now()
	c := providers.Credential{Username: s.a.Username, Secret: providers.NewSecret(secret), IssuedAt: now, Origin: s.p.origin, Wider: s.p.wider && len(r.Grants) > 0}
	if c.Username == "" {
		c.Username = "robot"
	}
	if s.p.life > 0 {
		c.ExpiresAt = now.Add(s.p.life)
	}
	if s.p.verified > 0 && !s.p.learned.ExpiresAt.IsZero() {
		c.ExpiresAt = s.p.learned.ExpiresAt
	}
	return c, nil
}

func (s *testSource) Verify(context.Context, providers.Request, providers.Credential) error {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.verified++
	if s.p.breaks {
		panic("verify")
	}
	if s.p.refuse {
		return &providers.Error{Kind: providers.LoginRequired, Err: errors.New("401")}
	}
	return nil
}

func (s *testSource) Learned(providers.Credential) (providers.Learned, bool) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if s.p.verified == 0 {
		return providers.Learned{}, s.p.learned != providers.Learned{}
	}
	return s.p.learned, s.p.learned != providers.Learned{}
}

// mapStore is a store for one goroutine.
type mapStore map[string]providers.Secret

func (m mapStore) Get(_ context.Context, name string) (providers.Secret, error) {
	if s, ok := m[name]; ok {
		return s, nil
	}
	return providers.Secret{}, store.ErrNotFound
}

func (m mapStore) Set(_ context.Context, name string, s providers.Secret) error {
	m[name] = s
	return nil
}
func (m mapStore) Delete(_ context.Context, name string) error { delete(m, name); return nil }
func (m mapStore) Names(context.Context) ([]string, error)     { return nil, nil }
func (m mapStore) Describe() string                            { return "a map" }

type rig struct {
	*Core
	t    *testing.T
	p    *testProvider
	amb  *testProvider
	cfg  *config.Config
	mem  store.Store
	home string
}

func newRig(t *testing.T, accounts ...providers.Account) *rig {
	t.Helper()
	r := &rig{
		t: t, cfg: &config.Config{Accounts: accounts}, home: t.TempDir(),
		p:   &testProvider{name: "generic", life: time.Hour},
		amb: &testProvider{name: "cloud", env: []string{"CLOUD_PROFILE"}, hosts: "cloud.example", life: time.Hour},
	}
	mem := mapStore{}
	r.mem = mem
	var err error
	ps := []providers.Provider{r.amb, r.p}
	saved := config.SavedFile{Path: filepath.Join(r.home, "config.d", "regmint.toml"), StateDir: r.home, Providers: ps}
	r.Core, err = NewCore(t.Context(), CoreOptions{
		Providers: ps,
		Load: func(bool) (*config.Config, error) {
			c := *r.cfg
			if s, err := saved.Read(); err == nil && s != nil {
				c.Accounts = append([]providers.Account{}, c.Accounts...)
				c.Spares = nil
				for _, a := range s.Accounts {
					if until, ok := s.Expires[a.Name]; ok {
						c.Spares = append(c.Spares, config.Spare{Account: a, Until: until})
					} else {
						c.Accounts = append(c.Accounts, a)
					}
				}
			}
			return &c, nil
		},
		Store:  func(*config.Config) (store.Store, error) { return mem, nil },
		Config: "/home/u/config.toml", Saved: saved,
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func account(name string, hosts ...string) providers.Account {
	a := providers.Account{Name: name, Provider: "generic", Layer: providers.LayerConfigured, Source: "config.toml:1"}
	for _, h := range hosts {
		p, err := providers.ParsePattern(h)
		if err != nil {
			panic(err)
		}
		a.Hosts = append(a.Hosts, p)
	}
	return a
}

func (r *rig) ask(j *job, req api.GetRequest) *api.GetResponse {
	r.t.Helper()
	return r.Get(r.t.Context(), j, &req)
}

func (r *rig) want(j *job, key, outcome, part string) *api.GetResponse {
	r.t.Helper()
	resp := r.ask(j, api.GetRequest{Key: key})
	if resp.Outcome != outcome || !strings.Contains(resp.Secret+resp.Message, part) {
		r.t.Fatalf("get %s = %s %q %q, want %s with %q", key, resp.Outcome, resp.Secret, resp.Message, outcome, part)
	}
	return resp
}

func (r *rig) job(req api.JobRequest, parent *job) *job {
	r.t.Helper()
	req.Kind, req.ID = "run", "abcdefghijklmnopqrstuvwxyz"
	if parent != nil {
		req.ID = "zbcdefghijklmnopqrstuvwxyz"
	}
	j, err := r.newJob(req, parent)
	if err != nil {
		r.t.Fatal(err)
	}
	return j
}

func TestGetMintsOnceAndServesFromMemory(t *testing.T) {
	r := newRig(t, account("a", "reg.example"))
	r.want(nil, "reg.example", api.OK, "a-1")
	r.want(nil, "https://reg.example/v2/", api.OK, "a-1")
	r.want(nil, "reg.example/team/app", api.OK, "a-1")
	if r.p.mints != 1 {
		t.Fatalf("%d mints, want 1", r.p.mints)
	}
}

func TestGetOfUnknownHostIsNotFound(t *testing.T) {
	r := newRig(t, account("a", "reg.example"))
	r.want(nil, "other.example", api.NotFound, "")
	r.want(nil, "reg.example.evil.example", api.NotFound, "")
}

func TestEightEnvironmentsAreEightIdentities(t *testing.T) {
	r := newRig(t)
	seen := map[string]bool{}
	for i := range 8 {
		for range 2 {
			resp := r.ask(nil, api.GetRequest{Key: "x.cloud.example", Env: []string{fmt.Sprintf("CLOUD_PROFILE=p%d", i)}})
			if !strings.HasSuffix(resp.Secret, fmt.Sprintf("-p%d", i)) {
				t.Fatalf("caller %d got %q", i, resp.Secret)
			}
			seen[resp.Secret] = true
		}
	}
	if len(seen) != 8 || r.amb.mints != 8 {
		t.Fatalf("%d identities from %d mints, want 8 and 8", len(seen), r.amb.mints)
	}
}

func TestConfiguredAccountReadsTheCallersVariableOnlyWhenItNamesIt(t *testing.T) {
	a := account("ci", "reg.example")
	a.Password = providers.SecretRef{Scheme: "env", Value: "MY_TOKEN"}
	r := newRig(t, a)
	resp := r.ask(nil, api.GetRequest{Key: "reg.example"})
	if resp.Outcome != api.NeedEnv || len(resp.NeedEnv) != 1 || resp.NeedEnv[0] != "MY_TOKEN" {
		t.Fatalf("got %+v, want need_env MY_TOKEN", resp)
	}
	if resp = r.ask(nil, api.GetRequest{Key: "reg.example", Env: []string{"MY_TOKEN=s1"}}); resp.Secret != "s1" {
		t.Fatalf("got %+v", resp)
	}
	if resp = r.ask(nil, api.GetRequest{Key: "reg.example", Env: []string{"MY_TOKEN=s2"}}); resp.Secret != "s2" {
		t.Fatalf("second caller got %q", resp.Secret)
	}
	resp = r.ask(nil, api.GetRequest{Key: "reg.example", Env: []string{"MY_TOKEN"}})
	if resp.Outcome != api.Failed || !strings.Contains(resp.Message, "MY_TOKEN") {
		t.Fatalf("unset variable: %+v", resp)
	}
}

func TestFailureIsLoudAndShort(t *testing.T) {
	r := newRig(t, account("a", "reg.example"))
	r.p.err = &providers.Error{Kind: providers.Denied, Err: errors.New("no \x1b[31m rights " + strings.Repeat("x", 300)), Hint: "ask the owner"}
	resp := r.want(nil, "reg.example", api.Failed, "reg.example: no \\x1b[31m rights")
	if n := len([]rune(resp.Message)); n > 160 || !strings.HasSuffix(resp.Message, "; ask the owner") {
		t.Fatalf("%d characters: %s", n, resp.Message)
	}
	if resp := r.ask(nil, api.GetRequest{Key: "reg.example", Soft: true}); resp.Outcome != api.NotFound {
		t.Fatalf("soft link got %+v", resp)
	}
	r.cfg.Accounts[0].OnFailure = providers.OnFailureAnonymous
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	r.want(nil, "reg.example", api.NotFound, "")
}

func TestStoreOfAHandedOutSecretChangesNothing(t *testing.T) { // H19
	r := newRig(t, account("a", "reg.example"))
	got := r.want(nil, "reg.example", api.OK, "")
	rep := r.Store(t.Context(), nil, api.Login{ServerURL: "reg.example", Username: "robot", Secret: got.Secret})
	if rep.Outcome != api.OK {
		t.Fatalf("%+v", rep)
	}
	rep = r.Store(t.Context(), nil, api.Login{ServerURL: "reg.example", Username: "ann", Secret: "other"})
	if rep.Outcome != api.Failed || !strings.Contains(rep.Message, "account a") {
		t.Fatalf("a login that would not be used was accepted: %+v", rep)
	}
}

func TestJobLoginWinsInItsJobAlone(t *testing.T) {
	r := newRig(t, account("a", "reg.example"))
	one := r.job(api.JobRequest{}, nil)
	if rep := r.Store(t.Context(), one, api.Login{ServerURL: "https://reg.example/v2/", Username: "ci", Secret: "s3cret"}); rep.Outcome != api.OK {
		t.Fatalf("%+v", rep)
	}
	r.want(one, "reg.example/x/y", api.OK, "s3cret")
	r.want(nil, "reg.example", api.OK, "a-")
	two := r.job(api.JobRequest{}, nil)
	r.want(two, "reg.example", api.OK, "a-")
	if rep := r.Erase(t.Context(), two, api.Login{ServerURL: "reg.example"}); rep.Outcome != api.OK {
		t.Fatalf("%+v", rep)
	}
	r.want(one, "reg.example", api.OK, "s3cret")
	r.Erase(t.Context(), one, api.Login{ServerURL: "reg.example"})
	r.want(one, "reg.example", api.OK, "a-")
}

func TestHubItemsAreNeverTheHubCredential(t *testing.T) {
	r := newRig(t, account("hub", "docker.io"))
	j := r.job(api.JobRequest{}, nil)
	for _, in := range []*job{nil, j} {
		r.want(in, "https://index.docker.io/v1/refresh-token", api.NotFound, "")
		if rep := r.Store(t.Context(), in, api.Login{ServerURL: "https://index.docker.io/v1/refresh-token", Username: "x", Secret: "rt"}); rep.Outcome != api.OK {
			t.Fatalf("%+v", rep)
		}
		r.want(in, "https://index.docker.io/v1/refresh-token", api.OK, "rt")
		r.want(in, "https://index.docker.io/v1/", api.OK, "hub-")
	}
}

func TestOnlyAnswersForItsTargets(t *testing.T) {
	r := newRig(t, account("a", "a.example"), account("b", "b.example"))
	j := r.job(api.JobRequest{Targets: []string{"a.example/team/app=pull"}, Only: true}, nil)
	if resp := r.want(j, "b.example", api.NotFound, "--only"); !strings.HasPrefix(resp.Message, "b.example: ") || strings.Contains(resp.Message, "login") {
		t.Errorf("a login would not help: %s", resp.Message)
	}
	r.want(j, "a.example", api.OK, "a-")
	r.want(j, "b.example", api.NotFound, "")
	if l := r.List(j, api.ListRequest{}); len(l.Entries) != 1 {
		t.Fatalf("list %v", l.Entries)
	}
	inner := r.job(api.JobRequest{}, j)
	r.want(inner, "b.example", api.NotFound, "")
}

func TestNestedJobNeverGainsRights(t *testing.T) {
	r := newRig(t, account("a", "a.example"))
	outer := r.job(api.JobRequest{Targets: []string{"a.example/app=pull"}}, nil)
	inner := r.job(api.JobRequest{Targets: []string{"a.example/app=push"}}, outer)
	g, err := grants(inner, asked{host: host(t, "a.example")}, nil)
	if err != nil || len(g) != 1 || g[0].Access != providers.Pull {
		t.Fatalf("grants %v, %v; want pull", g, err)
	}
	other := r.job(api.JobRequest{Targets: []string{"a.example/other=pull"}}, outer)
	r.want(other, "a.example", api.Failed, "may not do")
}

func TestRequireRefusesAWiderCredential(t *testing.T) {
	a := account("a", "reg.example")
	a.Narrow = providers.NarrowRequire
	r := newRig(t, a)
	r.p.wider = true
	r.want(nil, "reg.example", api.OK, "")
	r.want(nil, "reg.example/app=pull", api.Failed, "cannot be narrowed")
}

func TestListLeavesOutWhatCannotAnswer(t *testing.T) {
	r := newRig(t, account("a", "a.example"), account("w", "*.wild.example"), account("h", "docker.io"))
	r.want(nil, "x.wild.example", api.OK, "")
	l := r.List(nil, api.ListRequest{})
	for _, k := range []string{"a.example", "x.wild.example", "https://index.docker.io/v1/"} {
		if _, ok := l.Entries[k]; !ok {
			t.Errorf("list lacks %s: %v", k, l.Entries)
		}
		r.want(nil, k, api.OK, "")
	}
	r.p.err = errors.New("down")
	r.ask(nil, api.GetRequest{Key: "a.example", Refresh: true})
	if l := r.List(nil, api.ListRequest{}); l.Entries["a.example"] != "" {
		t.Fatalf("a failing host is listed: %v", l.Entries)
	}
	if l := newRig(t).List(nil, api.ListRequest{}); l.Entries == nil {
		t.Fatal("list is null")
	}
}

func TestListTriesAgainWhatMayMendByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, account("a", "a.example"))
		listed := func() bool { _, ok := r.List(nil, api.ListRequest{}).Entries["a.example"]; return ok }
		for _, c := range []struct {
			kind  providers.Kind
			until time.Duration // zero: for ever
		}{{providers.Unavailable, time.Minute}, {providers.Denied, 10 * time.Minute}, {providers.LoginRequired, 0}} {
			r.p.err = &providers.Error{Kind: c.kind, Err: errors.New("x")}
			r.ask(nil, api.GetRequest{Key: "a.example", Refresh: true})
			if listed() {
				t.Errorf("%s: listed at once", c.kind)
			}
			time.Sleep(cmp.Or(c.until, 24*time.Hour))
			if listed() != (c.until > 0) {
				t.Errorf("%s: listed later: %t", c.kind, listed())
			}
		}
	})
}

func TestOtherConfigurationIsSaid(t *testing.T) {
	r := newRig(t, account("a", "reg.example"))
	resp := r.ask(nil, api.GetRequest{Key: "reg.example", Config: "/tmp/x.toml"})
	if resp.Outcome != api.Failed || !strings.Contains(resp.Message, "/tmp/x.toml") || !strings.Contains(resp.Message, "/home/u/config.toml") {
		t.Fatalf("%+v", resp)
	}
}

func TestRejectedSecretBecomesLoginRequired(t *testing.T) {
	r := newRig(t, account("a", "reg.example"))
	r.p.life = 0
	r.p.refuse = true
	r.want(nil, "reg.example", api.OK, "")
	deadline := time.Now().Add(30 * time.Second)
	for {
		resp := r.ask(nil, api.GetRequest{Key: "reg.example"})
		if resp.Outcome == api.Failed {
			if resp.Kind != string(providers.LoginRequired) || !strings.Contains(resp.Message, "rejected by the registry") {
				t.Fatalf("%+v", resp)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a refused secret is still served")
		}
	}
	r.p.mu.Lock()
	r.p.refuse = false
	r.p.mu.Unlock()
	r.want(nil, "reg.example", api.OK, "")
}

// A provider that fails inside while nobody waits takes nobody along, and a
// later get asks the registry again.
func TestAProviderThatFailsBehindAnAnswerEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, account("a", "reg.example"))
		r.p.life, r.p.breaks = 0, true
		for asked := range 3 {
			r.want(nil, "reg.example", api.OK, "")
			synctest.Wait()
			if r.p.verified != asked+1 {
				t.Errorf("the registry was asked %d times, want %d", r.p.verified, asked+1)
			}
			time.Sleep(verifyEvery + time.Second)
		}
	})
}

func TestCarriedLoginIsAskedLast(t *testing.T) {
	r := newRig(t, account("a", "a.example"))
	j := r.job(api.JobRequest{Logins: []api.Login{
		{ServerURL: "a.example", Username: "u", Secret: "carried-a", Carried: true},
		{ServerURL: "b.example", Username: "u", Secret: "carried-b", Carried: true},
	}}, nil)
	r.want(j, "a.example", api.OK, "a-")
	r.want(j, "b.example", api.OK, "carried-b")
}

func TestHostOfTwoAccountsNeedsAChoice(t *testing.T) {
	r := newRig(t, account("one", "reg.example"), account("two", "reg.example"))
	r.want(nil, "reg.example", api.Failed, "one")
	if resp := r.ask(nil, api.GetRequest{Key: "reg.example", Account: "two"}); !strings.HasPrefix(resp.Secret, "two-") {
		t.Fatalf("%+v", resp)
	}
	j := r.job(api.JobRequest{Accounts: []string{"one"}}, nil)
	r.want(j, "reg.example", api.OK, "one-")
}

func host(t *testing.T, s string) providers.Host {
	t.Helper()
	h, err := providers.ParseHost(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestGrantsIntersect(t *testing.T) {
	g := func(repo string, a providers.Access) providers.Grant {
		return providers.Grant{Repository: repo, Access: a}
	}
	for _, c := range []struct {
		a, b []providers.Grant
		want string
	}{
		{[]providers.Grant{g("", providers.Push)}, []providers.Grant{g("x", providers.Pull)}, "x=pull "},
		{[]providers.Grant{g("x", providers.Push)}, []providers.Grant{g("y", providers.Push)}, ""},
		{[]providers.Grant{g("x", 0)}, []providers.Grant{g("x", providers.Delete)}, "x=delete "},
		{[]providers.Grant{g("x", providers.Pull), g("y", providers.Push)}, []providers.Grant{g("", providers.Push)}, "x=pull y=push "},
	} {
		if got := canonical(intersect(c.a, c.b)); got != c.want {
			t.Errorf("%v and %v = %q, want %q", c.a, c.b, got, c.want)
		}
	}
}

func TestPolicyHoldsForLoginsOfAJobAndRecognisedHosts(t *testing.T) {
	r := newRig(t)
	r.cfg.Policy = config.Policy{Access: providers.Pull, Narrow: providers.NarrowRequire}
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	r.p.wider, r.amb.wider = true, true
	j := r.job(api.JobRequest{Env: []string{"CLOUD_PROFILE=x"}}, nil)
	r.Store(t.Context(), j, api.Login{ServerURL: "reg.example", Username: "u", Secret: "s"})
	r.want(j, "reg.example", api.Failed, "cannot be narrowed")
	r.want(j, "a.cloud.example", api.Failed, "cannot be narrowed")
}
