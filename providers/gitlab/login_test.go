// SPDX-License-Identifier: Apache-2.0

package gitlab_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/gitlab"
	"github.com/regmint/regmint/test/fakecloud"
	fake "github.com/regmint/regmint/test/fakecloud/gitlab"
)

// person answers questions; a code is entered as onCode says.
type person struct {
	providers.LoginUI
	choice  int
	asked   []string
	devices []providers.Device
	onCode  func(d providers.Device)
}

func (p *person) Say(string, ...any) {}

func (p *person) Choose(_ context.Context, question string, choices []string) (int, error) {
	p.asked = append(p.asked, question+strings.Join(choices, "|"))
	return p.choice, nil
}

func (p *person) Device(_ context.Context, d providers.Device) error {
	p.devices = append(p.devices, d)
	if p.onCode != nil {
		p.onCode(d)
	}
	return nil
}

func (r *rig) login(p *person, o gitlab.Options, edit ...func(*providers.Account)) (providers.LoginResult, error) {
	r.t.Helper()
	return gitlab.New().Login(r.t.Context(), providers.LoginRequest{Host: r.request("").Host, Account: r.account(o, edit...), Deps: r.deps, UI: p})
}

func saved(a *providers.Account) { a.Layer = providers.LayerSaved }

func kept(a *providers.Account) {
	a.Password = providers.SecretRef{Scheme: "keyring", Value: "browser"}
}

func TestLoginInTheBrowserIsKeptAndRefreshedOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{DeviceInterval: time.Second})
	app := r.gl.Application("regmint", fake.ReadRegistry, fake.WriteRegistry, fake.API)
	p := &person{onCode: func(d providers.Device) {
		if err := r.gl.Approve(d.Code, r.jane); err != nil {
			t.Error(err)
		}
	}}
	o := gitlab.Options{ClientID: app.ClientID}
	res, err := r.login(p, o, saved)
	if err != nil || !res.Write || res.Secret.IsZero() || len(p.devices) != 1 || p.devices[0].URL != "https://gitlab.com/oauth/device" {
		t.Fatalf("%+v, %v", res, err)
	}
	r.secrets["keyring:browser"] = res.Secret.Reveal()
	s := r.open(o, kept)
	c := r.mint(s, r.request(""))
	if life := c.ExpiresAt.Sub(r.cloud.Now()); life < time.Hour || life > 2*time.Hour {
		t.Errorf("lives %v", life)
	}
	if err := r.verify(s, r.request("", push("acme/app")), c); err != nil {
		t.Error(err)
	}
	_, err = s.(providers.NativeMinter).MintNative(t.Context(), r.request(""))
	r.wantError(err, providers.Denied, "scope api", "read_registry")
	r.cloud.Advance(115 * time.Minute)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if c, err := r.open(o, kept).Mint(t.Context(), r.request("")); err != nil || c.Life() < time.Hour {
				t.Errorf("%v, %v", c.Life(), err)
			}
		})
	}
	wg.Wait()
	if n := r.gl.Counts(); n.Refreshes != 1 || n.ReusedRefresh != 0 {
		t.Errorf("%+v", n)
	}
}

func TestLoginInTheBrowserThatFailsSaysWhy(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{DeviceInterval: time.Second})
	app := r.gl.Application("regmint", fake.ReadRegistry, fake.WriteRegistry)
	_, err := r.login(&person{onCode: func(d providers.Device) { _ = r.gl.Decline(d.Code) }}, gitlab.Options{ClientID: app.ClientID}, saved)
	r.wantError(err, providers.Denied, "declined")
	_, err = r.login(&person{}, gitlab.Options{ClientID: "unknown"}, saved)
	r.wantError(err, providers.Misconfigured, "check client_id", "personal_access_tokens")
	_, err = r.login(&person{}, gitlab.Options{ClientID: app.ClientID})
	r.wantError(err, providers.Misconfigured, "no place for the login")
	_, err = r.open(gitlab.Options{ClientID: app.ClientID}, kept).Mint(t.Context(), r.request(""))
	r.wantError(err, providers.LoginRequired, "run: regmint login registry.gitlab.com")
}

func TestLoginWithoutAnythingSaysWhereTokensAreMade(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	_, err := r.login(&person{}, gitlab.Options{}, saved)
	r.wantError(err, providers.LoginRequired, "https://gitlab.com/-/user_settings/personal_access_tokens?name=regmint&scopes=read_registry,write_registry", "-u USER", "--password-stdin")
	if _, err = r.login(&person{}, gitlab.Options{}, saved, r.withSecret("x")); err == nil || !strings.Contains(err.Error(), "personal_access_tokens") {
		t.Errorf("an account with a token: %v", err)
	}
}

func TestLoginOfGlabIsOfferedAndUsed(t *testing.T) {
	t.Parallel()
	for name, logIn := range map[string]func(r *rig, p *fake.Glab, dir string){
		"OAuth": func(r *rig, p *fake.Glab, dir string) { p.LogIn(r.t, dir, r.jane) },
		"a token": func(r *rig, p *fake.Glab, dir string) {
			p.LogInToken(r.t, dir, r.jane.Token(fake.TokenSpec{Scopes: []string{fake.API}}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, fake.Options{})
			dir := t.TempDir()
			logIn(r, r.glab(dir), dir)
			who := &person{}
			res, err := r.login(who, gitlab.Options{}, saved)
			if err != nil || !res.Write || res.Who != "jane" || !res.Account.Options.(*gitlab.Options).Glab || !res.Secret.IsZero() || len(who.asked) != 1 {
				t.Fatalf("%+v, asked %q, %v", res, who.asked, err)
			}
			s := r.open(gitlab.Options{Glab: true})
			c := r.mint(s, r.request(""))
			if err := r.verify(s, r.request("", push("acme/app")), c); err != nil {
				t.Error(err)
			}
			if n, err := s.(providers.NativeMinter).MintNative(t.Context(), r.request("")); err != nil || !n.Secret.Equal(c.Secret) {
				t.Errorf("native: %v", err)
			}
			if _, err = r.login(&person{choice: 1}, gitlab.Options{}, saved); err == nil || !strings.Contains(err.Error(), "personal_access_tokens") {
				t.Errorf("another choice: %v", err)
			}
		})
	}
}

func TestLoginOfGlabThatIsOverIsRenewedByGlab(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	dir := t.TempDir()
	p := r.glab(dir)
	pair := p.LogIn(t, dir, r.jane)
	r.cloud.Advance(3 * time.Hour)
	if c := r.mint(r.open(gitlab.Options{Glab: true}), r.request("")); c.Secret.Reveal() == pair.Access || !c.ExpiresAt.After(r.cloud.Now()) {
		t.Errorf("%+v", c)
	}
	if n := r.gl.Counts(); n.Refreshes != 1 {
		t.Errorf("%+v", n)
	}
}

func TestGlabThatCannotHelpIsAClearLine(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	s := r.open(gitlab.Options{Glab: true})
	_, err := s.Mint(t.Context(), r.request(""))
	r.wantError(err, providers.Misconfigured, "glab is not installed")
	dir := t.TempDir()
	p := r.glab(dir)
	s = r.open(gitlab.Options{Glab: true})
	_, err = s.Mint(t.Context(), r.request(""))
	r.wantError(err, providers.LoginRequired, "glab is not logged in to gitlab.com", "glab auth login --hostname gitlab.com")
	p.LogInToken(t, dir, r.jane.Token(fake.TokenSpec{Scopes: registryScopes}))
	p.Break("the keyring is locked")
	if _, err = s.Mint(t.Context(), r.request("")); err == nil || !strings.Contains(err.Error(), "glab") {
		t.Errorf("%v", err)
	}
}

// What current versions of glab print is taken at its word about who they are.
func TestAnswerOfGlabForAnotherInstanceIsNotUsed(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	answer := func(instance, kind, more string) func(context.Context, providers.Command) ([]byte, error) {
		return func(_ context.Context, c providers.Command) ([]byte, error) {
			if c.Args[0] != "auth" || c.Args[1] != "credential-helper" {
				return nil, os.ErrInvalid
			}
			return fmt.Appendf(nil, `{"type":"success","instance_url":%q,"token":{"type":%q,"token":%q%s}}`, instance, kind, canary, more), nil
		}
	}
	ends := r.cloud.Now().Add(time.Hour).UTC().Truncate(time.Second)
	r.deps.Run = answer("https://gitlab.com", "oauth2", fmt.Sprintf(`,"expiry_timestamp":%q`, ends.Format(time.RFC3339)))
	if c := r.mint(r.open(gitlab.Options{Glab: true}), r.request("")); c.Secret.Reveal() != canary || !c.ExpiresAt.Equal(ends) {
		t.Errorf("%+v", c)
	}
	for _, tt := range []struct{ instance, kind, more, want string }{
		{"https://gitlab.corp.example", "pat", "", "answers for https://gitlab.corp.example"},
		{"https://gitlab.com", "oauth2", `,"expiry_timestamp":"2001-01-01T00:00:00Z"`, "has expired"},
		{"https://gitlab.com", "job-token", "", `identity = "job"`},
	} {
		r.deps.Run = answer(tt.instance, tt.kind, tt.more)
		_, err := r.open(gitlab.Options{Glab: true}).Mint(t.Context(), r.request(""))
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), canary) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
	if n := r.cloud.Count(func(q fakecloud.Request) bool { return q.Status == 401 }); n != 0 {
		t.Errorf("a foreign token was shown to GitLab %d times", n)
	}
	if w := r.open(gitlab.Options{Glab: true}).(providers.Watcher).Watches(); len(w) != 1 || filepath.Base(w[0]) != "config.yml" {
		t.Errorf("%q", w)
	}
}

func TestInAJobNobodyHasToLogIn(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	r.deps.Env = ciJob("registry.gitlab.com", "gitlab.com:443")
	res, err := r.login(&person{}, gitlab.Options{}, saved)
	if err != nil || res.Write || !strings.Contains(res.Who, "CI job") {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestAccountsOfOneStoredLoginShareIt(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	p := gitlab.New()
	if g := p.LoginGroup(r.account(gitlab.Options{ClientID: "x"}, kept)); g != "GitLab login keyring:browser" {
		t.Errorf("%q", g)
	}
	if g := p.LoginGroup(r.account(gitlab.Options{}, kept)); g != "" {
		t.Errorf("%q", g)
	}
}
