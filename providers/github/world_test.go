// SPDX-License-Identifier: Apache-2.0

package github_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/github"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/test/fakecloud"
	fake "github.com/regmint/regmint/test/fakecloud/github"
)

// world is a fake GitHub and the surroundings of an account.
type world struct {
	t       *testing.T
	c       *fakecloud.Cloud
	g       *fake.GitHub
	jane    *fake.User
	deps    providers.Deps
	log     *httpxtest.Log
	secrets map[string]string
	host    string
	edit    func(*providers.Account)
}

func newWorld(t *testing.T) *world { return worldOf(t, fake.Options{}) }

func worldOf(t *testing.T, o fake.Options) *world {
	t.Helper()
	c := fakecloud.Start(t)
	w := &world{t: t, c: c, g: fake.New(c, o), secrets: map[string]string{}}
	w.host = w.g.Registry()
	w.jane = w.g.User("jane")
	w.g.Org("acme").Add(w.jane)
	w.g.Package("acme/app")
	w.deps, w.log = httpxtest.Deps(t, w.secrets)
	w.deps.Now = c.Now
	w.deps.Network = providers.Network{HTTPSProxy: c.ProxyURL(), CAFile: c.CAFile(t), NoProxy: "none.invalid"}
	return w
}

// gh puts a fake gh in place.
func (w *world) gh() *fake.CLI {
	p := w.g.CLI(w.t)
	w.deps.Run = func(ctx context.Context, c providers.Command) ([]byte, error) {
		if c.Path != "gh" {
			return nil, &providers.Error{Kind: providers.Misconfigured, Err: fmt.Errorf("%s: no such program: %w", c.Path, fs.ErrNotExist)}
		}
		cmd := exec.CommandContext(ctx, p.Path, c.Args...)
		cmd.Env = append([]string{"HOME=" + w.deps.Home, "PATH=" + os.Getenv("PATH")}, c.Env...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		b, err := cmd.Output()
		if err != nil {
			line, _, _ := strings.Cut(stderr.String(), "\n")
			return nil, &providers.Error{Kind: providers.Unavailable, Err: fmt.Errorf("gh failed: %w: %s", err, line)}
		}
		return b, nil
	}
	return p
}

func (w *world) account(o *github.Options, secret string) providers.Account {
	w.t.Helper()
	pat, err := providers.ParsePattern(w.host)
	if err != nil {
		w.t.Fatal(err)
	}
	a := providers.Account{Name: "work", Provider: "github", Hosts: []providers.Pattern{pat}, Options: o, Layer: providers.LayerConfigured}
	if secret != "" {
		w.secrets["keyring:work"] = secret
		a.Password = providers.SecretRef{Scheme: "keyring", Value: "work"}
	}
	if w.edit != nil {
		w.edit(&a)
	}
	return a
}

func (w *world) open(o *github.Options, secret string) providers.Source {
	w.t.Helper()
	s, err := github.New().Open(w.account(o, secret), w.deps)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) request(grants ...string) providers.Request {
	w.t.Helper()
	r := providers.Request{Host: httpxtest.Host(w.t, w.host)}
	for _, g := range grants {
		repo, access, _ := strings.Cut(g, "=")
		a, err := providers.ParseAccess(access)
		if err != nil {
			w.t.Fatal(err)
		}
		r.Grants = append(r.Grants, providers.Grant{Repository: repo, Access: a})
	}
	r.Grants = providers.MergeGrants(r.Grants)
	return r
}

func (w *world) mint(s providers.Source, grants ...string) providers.Credential {
	w.t.Helper()
	c, err := s.Mint(w.t.Context(), w.request(grants...))
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// refused checks the kind and parts of an error's text.
func (w *world) refused(err error, k providers.Kind, parts ...string) {
	w.t.Helper()
	e, ok := errors.AsType[*providers.Error](err)
	if !ok || e.Kind != k || e.Host.String() != w.host {
		w.t.Errorf("%v (%s), want %s", err, providers.KindOf(err), k)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			w.t.Errorf("%v: lacks %q", err, p)
		}
	}
}

// env makes the account that is recognised by its host's name.
func (w *world) ambient(env ...string) {
	w.edit = func(a *providers.Account) { a.Layer = providers.LayerAmbient }
	w.deps.Env = map[string]string{}
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		w.deps.Env[k] = v
	}
}

func (w *world) app(o github.Options, a *fake.App) *github.Options {
	w.secrets["env:KEY"] = a.Key
	o.AppID, o.PrivateKey = strconv.Itoa(a.ID), providers.SecretRef{Scheme: "env", Value: "KEY"}
	return &o
}

// person answers a login: choice by choice, and codes as a user.
type person struct {
	providers.LoginUI
	token   string // pasted where one is asked for; "" = nobody does
	w       *world
	choices []int
	said    []string
	asked   []string
	decide  func(code string)
	nobody  bool
}

func (p *person) Say(format string, args ...any) {
	p.said = append(p.said, fmt.Sprintf(format, args...))
}

func (p *person) Choose(_ context.Context, _ string, choices []string) (int, error) {
	p.asked = append(p.asked, choices...)
	if p.nobody {
		return 0, providers.ErrNobody
	}
	if len(p.choices) == 0 {
		return 0, nil
	}
	i := p.choices[0]
	p.choices = p.choices[1:]
	return i, nil
}

func (p *person) Secret(_ context.Context, question string) (providers.Secret, error) {
	p.asked = append(p.asked, question)
	if p.nobody || p.token == "" {
		return providers.Secret{}, providers.ErrNobody
	}
	return providers.NewSecret(p.token), nil
}

func (p *person) Device(_ context.Context, d providers.Device) error {
	if p.nobody {
		return providers.ErrNobody
	}
	p.said = append(p.said, d.URL+" "+d.Code)
	p.decide(d.Code)
	return nil
}

// logIn runs a login of the account as it is saved or new.
func (w *world) logIn(p *person, o *github.Options, layer providers.Layer) (providers.LoginResult, error) {
	a := w.account(o, "")
	a.Layer = layer
	if layer == providers.LayerConfigured {
		a.Password = providers.SecretRef{Scheme: "keyring", Value: "work"}
	}
	p.w = w
	q := providers.LoginRequest{Host: httpxtest.Host(w.t, w.host), Account: a, Deps: w.deps, UI: p}
	return github.LogIn(w.t.Context(), q, func(ctx context.Context, d time.Duration) bool {
		w.c.Advance(d)
		return ctx.Err() == nil
	})
}
