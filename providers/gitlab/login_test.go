// SPDX-License-Identifier: Apache-2.0

package gitlab_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/gitlab"
	fake "github.com/regmint/regmint/test/fakecloud/gitlab"
)

// person answers questions; a code is entered as onCode says.
type person struct {
	providers.LoginUI
	token   string // pasted where one is asked for; "" = nobody does
	user    string // typed where a name is asked for
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

func (p *person) Ask(_ context.Context, question string) (string, error) {
	p.asked = append(p.asked, question)
	return p.user, nil
}

func (p *person) Secret(_ context.Context, question string) (providers.Secret, error) {
	if p.token == "" {
		return providers.Secret{}, providers.ErrNobody
	}
	p.asked = append(p.asked, question)
	return providers.NewSecret(p.token), nil
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
	if err != nil || !res.Write || res.Who != "jane" || res.Secret.IsZero() || len(p.devices) != 1 || p.devices[0].URL != "https://gitlab.com/oauth/device" {
		t.Fatalf("%+v, %v", res, err)
	}
	r.secrets["keyring:browser"] = res.Secret.Reveal()
	s := r.open(o, kept)
	c := r.mint(s, r.request(""))
	if life := c.ExpiresAt.Sub(r.cloud.Now()); life < time.Hour || life > 2*time.Hour || c.Username != "oauth2" || !strings.Contains(c.Origin, "as jane") {
		t.Errorf("lives %v, %s", life, c.Origin)
	}
	r.cloud.Advance(30 * time.Minute)
	if again := r.mint(r.open(o, kept), r.request("")); !again.IssuedAt.Equal(c.IssuedAt) {
		t.Errorf("the same token was issued %v, then %v", c.IssuedAt, again.IssuedAt)
	}
	if err := r.verify(s, r.request("", push("acme/app")), c); err != nil {
		t.Error(err)
	}
	_, err = s.(providers.NativeMinter).MintNative(t.Context(), r.request(""))
	r.wantError(err, providers.Denied, "scope api", "read_registry")
	r.cloud.Advance(85 * time.Minute)
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

func TestInAJobNobodyHasToLogIn(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	r.deps.Env = ciJob("registry.gitlab.com", "gitlab.com:443")
	res, err := r.login(&person{}, gitlab.Options{}, saved)
	if err != nil || res.Write || !strings.Contains(res.Who, "CI job") {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestPageForATokenNamesTheScopesTheAccountNeeds(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	for scopes, edit := range map[string]struct {
		o gitlab.Options
		f func(*providers.Account)
	}{
		"read_registry,write_registry":             {gitlab.Options{}, func(*providers.Account) {}},
		"read_registry,write_registry,self_rotate": {gitlab.Options{}, func(a *providers.Account) { a.Rotate = providers.Duration(time.Hour) }},
		"api": {gitlab.Options{Project: "acme/app"}, func(*providers.Account) {}},
	} {
		_, err := r.login(&person{}, edit.o, kept, edit.f)
		r.wantError(err, providers.LoginRequired, "?name=regmint&scopes="+scopes)
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
