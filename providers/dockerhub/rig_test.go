// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/providers/internal/oauth"
	"github.com/regmint/regmint/providers/internal/oidc"
	"github.com/regmint/regmint/test/fakecloud"
	hub "github.com/regmint/regmint/test/fakecloud/dockerhub"
)

const subject = "repo:acme/app:ref:refs/heads/main"

// rig is a Docker Hub with an organisation acme, its private repository app and
// a robot that may do all there.
type rig struct {
	t       *testing.T
	cloud   *fakecloud.Cloud
	hub     *hub.Hub
	acme    *hub.Org
	bot     *hub.User
	deps    providers.Deps
	log     *httpxtest.Log
	secrets map[string]string
	waits   []time.Duration // of device logins
}

func newRig(t *testing.T) *rig {
	t.Helper()
	c := fakecloud.Start(t)
	r := &rig{t: t, cloud: c, hub: hub.New(c, hub.Options{}), secrets: map[string]string{}}
	r.acme, r.bot = r.hub.Org("acme"), r.hub.User("acme-bot", "correct-horse-battery")
	r.acme.Add(r.bot, hub.Admin)
	r.hub.Repository("acme/app", hub.Private)
	r.deps, r.log = httpxtest.Deps(t, r.secrets)
	r.deps.Now = c.Now
	r.deps.Network = providers.Network{HTTPSProxy: c.ProxyURL(), CAFile: c.CAFile(t), NoProxy: "none.invalid"}
	return r
}

func account(edit ...func(*providers.Account)) providers.Account {
	p, err := providers.ParsePattern("docker.io")
	if err != nil {
		panic(err)
	}
	a := providers.Account{Name: "hub", Provider: "dockerhub", Hosts: []providers.Pattern{p}, Layer: providers.LayerConfigured}
	for _, e := range edit {
		e(&a)
	}
	return a
}

// as is an account with a secret under keyring:hub.
func (r *rig) as(user, secret string) providers.Account {
	r.secrets["keyring:hub"] = secret
	return account(func(a *providers.Account) {
		a.Username, a.Password = user, providers.SecretRef{Scheme: "keyring", Value: "hub"}
	})
}

func (r *rig) open(a providers.Account) *source {
	r.t.Helper()
	s, err := open(a, r.deps)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func request(t testing.TB, targets ...string) providers.Request {
	t.Helper()
	q := providers.Request{Host: providers.DockerHub}
	for _, s := range targets {
		repo, access, _ := strings.Cut(s, "=")
		a, err := providers.ParseAccess(access)
		if err != nil {
			t.Fatal(err)
		}
		q.Grants = append(q.Grants, providers.Grant{Repository: repo, Access: a})
	}
	return q
}

// works fails the test unless the registry takes what is minted.
func (r *rig) works(s *source, targets ...string) providers.Credential {
	r.t.Helper()
	c, err := s.Mint(r.t.Context(), request(r.t))
	if err != nil {
		r.t.Fatal(err)
	}
	if c.Username == "" || c.Secret.IsZero() || c.Origin == "" {
		r.t.Fatalf("credential %+v", c)
	}
	if err := s.Verify(r.t.Context(), request(r.t, targets...), c); err != nil {
		r.t.Fatalf("the registry refuses what was minted: %v", err)
	}
	return c
}

// fails checks kind and text of an error, and that it holds no secret.
func (r *rig) fails(err error, kind providers.Kind, want ...string) {
	r.t.Helper()
	e, ok := errors.AsType[*providers.Error](err)
	if !ok || e.Err == nil || e.Kind != kind {
		r.t.Errorf("want %s, got %T: %v", kind, err, err)
		return
	}
	if e.Host != providers.DockerHub {
		r.t.Errorf("no host in %v", err)
	}
	if n := len([]rune(err.Error())); n > 160 {
		r.t.Errorf("%d characters: %v", n, err)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			r.t.Errorf("no %q in: %v", w, err)
		}
	}
	for _, s := range r.known() {
		if len(s) >= 16 && !strings.HasPrefix(s, "https://") && len(httpxtest.Leaks(err.Error()+r.log.String(), s)) > 0 {
			r.t.Errorf("a secret in %v or in the log", err)
		}
	}
}

// known are the secrets of the rig, and those inside of its kept logins.
func (r *rig) known() []string {
	var out []string
	for _, s := range r.secrets {
		if p, ok := oauth.ParsePair(providers.NewSecret(s)); ok {
			out = append(out, p.Access, p.Refresh, p.Made)
			continue
		}
		out = append(out, s)
	}
	return out
}

func (r *rig) calls(host, path string) int {
	return r.cloud.Count(func(q fakecloud.Request) bool { return q.Host == host && strings.HasPrefix(q.Path, path) })
}

// deletes asks the API to delete a tag with a native token.
func (r *rig) deletes(path, scheme, token string) int {
	r.t.Helper()
	q, err := http.NewRequestWithContext(r.t.Context(), http.MethodDelete, "https://hub.docker.com/v2/repositories/"+path+"/", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	q.Header.Set("Authorization", scheme+" "+token)
	res, err := r.cloud.Client().Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// runner gives the account's surroundings the variables of a job.
func (r *rig) runner(sub string) {
	run := r.cloud.GitHubRunner(sub)
	r.secrets["env:"+oidc.GitHubURL], r.secrets["env:"+oidc.GitHubToken] = run.URL, run.Token
	r.deps.Env[oidc.GitHubURL], r.deps.Env[oidc.GitHubToken] = run.URL, run.Token
}

// person is somebody at a terminal: what they do with the code they see.
type person struct {
	providers.LoginUI
	token  string // pasted where one is asked for; "" = nobody does
	asked  []string
	decide func(code string) error
	shown  []providers.Device
}

func (*person) Say(string, ...any) {}

func (p *person) Choose(_ context.Context, _ string, choices []string) (int, error) {
	p.asked = append(p.asked, choices...)
	if p.token == "" {
		return 0, providers.ErrNobody
	}
	return 0, nil
}

func (p *person) Secret(_ context.Context, question string) (providers.Secret, error) {
	p.asked = append(p.asked, question)
	if p.token == "" {
		return providers.Secret{}, providers.ErrNobody
	}
	return providers.NewSecret(p.token), nil
}

func (p *person) Device(_ context.Context, d providers.Device) error {
	p.shown = append(p.shown, d)
	if p.decide == nil {
		return nil
	}
	return p.decide(d.Code)
}

// login is a device login of the rig's robot.
func (r *rig) login(a providers.Account) (providers.LoginResult, error) {
	return r.decided(a, func(code string) error { return r.hub.Approve(code, r.bot) })
}

// decided is a device login whose person does this with the code.
func (r *rig) decided(a providers.Account, decide func(code string) error) (providers.LoginResult, error) {
	return login(r.t.Context(), providers.LoginRequest{Host: providers.DockerHub, Account: a, Deps: r.deps, UI: &person{decide: decide}}, r.pause)
}

// pause lets the time pass that a device login waits for.
func (r *rig) pause(ctx context.Context, d time.Duration) bool {
	r.cloud.Advance(d)
	r.waits = append(r.waits, d)
	return ctx.Err() == nil
}

// loggedIn opens an account with a device login in keyring:hub.
func (r *rig) loggedIn() *source {
	r.t.Helper()
	a := account(func(a *providers.Account) { a.Layer = providers.LayerSaved })
	res, err := r.login(a)
	if err != nil {
		r.t.Fatal(err)
	}
	a = res.Account
	a.Password = providers.SecretRef{Scheme: "keyring", Value: "hub"}
	_ = r.deps.Save(r.t.Context(), a.Password, res.Secret)
	return r.open(a)
}

func (r *rig) pair(s *source) oauth.Pair {
	r.t.Helper()
	p, k, err := s.stored(r.t.Context(), providers.DockerHub)
	if err != nil || k != byDevice {
		r.t.Fatal(k, err)
	}
	return p
}

// together runs f at once n times.
func together(n int, f func()) {
	var wg sync.WaitGroup
	for range n {
		wg.Go(f)
	}
	wg.Wait()
}
