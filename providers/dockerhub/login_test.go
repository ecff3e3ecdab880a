// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	hub "github.com/regmint/regmint/test/fakecloud/dockerhub"
)

// quick makes device logins poll every second.
func quick(r *rig) { r.hub.Set(func(o *hub.Options) { o.DeviceInterval = time.Second }) }

func TestADeviceLoginMakesWhatTheRegistryTakes(t *testing.T) {
	r := newRig(t)
	quick(r)
	r.hub.SlowDown(0)
	a := account(func(a *providers.Account) { a.Layer = providers.LayerSaved })
	res, err := r.login(a)
	if err != nil {
		t.Fatal(err)
	}
	if res.Who != "acme-bot" || !res.Write || res.Secret.IsZero() || res.Account.Options.(*Options).Identity != "device" {
		t.Fatalf("%+v", res)
	}
	res.Account.Password = providers.SecretRef{Scheme: "keyring", Value: "hub"}
	_ = r.deps.Save(t.Context(), res.Account.Password, res.Secret)
	s := r.open(res.Account)
	c := r.works(s, "acme/app=push")
	if c.Username != "acme-bot" || !strings.HasPrefix(c.Secret.Reveal(), "dckr_pat_") || c.Life() != checkedFor {
		t.Errorf("%+v", c)
	}
	// Many mints, one token: Docker Hub keeps a few of them only.
	for range 20 {
		r.works(s)
	}
	if n := r.hub.Counts(); n.Generated != 1 || n.Refreshes != 0 {
		t.Errorf("%+v", n)
	}
	if g := (Provider{}).LoginGroup(res.Account); g != "Docker Hub login keyring:hub" {
		t.Errorf("group %q", g)
	}
}

func TestADeletedTokenIsMadeAnewByOneProcess(t *testing.T) {
	r := newRig(t)
	quick(r)
	s := r.loggedIn()
	for _, g := range r.bot.Generated() {
		g.Revoke()
	}
	r.cloud.Advance(2 * time.Hour) // the access token is over too
	var mu sync.Mutex
	secrets := map[string]bool{}
	together(50, func() {
		c, err := r.open(s.account).Mint(t.Context(), request(t))
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			t.Error(err)
		}
		secrets[c.Secret.Reveal()] = true
	})
	n := r.hub.Counts()
	if len(secrets) != 1 || n.Generated != 2 || n.Refreshes != 1 || n.ReusedRefresh != 0 {
		t.Errorf("%d tokens, %+v", len(secrets), n)
	}
	r.works(s, "acme/app=push")
}

// An access token may end before its time: a sign-out elsewhere, a clock.
func TestAnAccessTokenThatEndedEarlyIsRefreshed(t *testing.T) {
	r := newRig(t)
	quick(r)
	r.hub.Set(func(o *hub.Options) { o.AccessLife = time.Second })
	s := r.loggedIn()
	p := r.pair(s)
	p.ExpiresAt = r.cloud.Now().Add(time.Hour)
	r.secrets["keyring:hub"] = p.Secret().Reveal()
	r.hub.Set(func(o *hub.Options) { o.AccessLife = time.Hour })
	r.cloud.Advance(2 * time.Second)
	for _, g := range r.bot.Generated() {
		g.Revoke()
	}
	r.works(s, "acme/app=push")
	if n := r.hub.Counts(); n.Refreshes != 1 || n.Generated != 2 {
		t.Errorf("%+v", n)
	}
}

func TestAnEndedSessionAsksForALogin(t *testing.T) {
	r := newRig(t)
	quick(r)
	s := r.loggedIn()
	r.bot.SignOut()
	r.works(s) // the token goes on, as with docker login
	for _, g := range r.bot.Generated() {
		g.Revoke()
	}
	r.cloud.Advance(2 * time.Hour)
	_, err := s.Mint(t.Context(), request(t))
	r.fails(err, providers.LoginRequired, "run: regmint login docker.io")
}

func TestARegistryThatDoesNotAnswerSaysNothingAgainstALogin(t *testing.T) {
	r := newRig(t)
	quick(r)
	s := r.loggedIn()
	made := r.pair(s).Made
	r.deps.Network.HTTPSProxy = "http://127.0.0.1:1"
	c, err := r.open(s.account).Mint(t.Context(), request(t))
	if err != nil || c.Secret.Reveal() != made {
		t.Errorf("%v", err)
	}
}

func TestDeviceLoginsThatEndBadly(t *testing.T) {
	for name, c := range map[string]struct {
		decide func(r *rig) func(string) error
		kind   providers.Kind
		want   string
	}{
		"declined": {func(r *rig) func(string) error { return r.hub.Decline }, providers.Denied, "declined"},
		"too late": {func(r *rig) func(string) error { return r.hub.ExpireCode }, providers.LoginRequired, "in time"},
		"nobody":   {func(*rig) func(string) error { return func(string) error { return providers.ErrNobody } }, providers.Unavailable, "nobody"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			quick(r)
			a := account(func(a *providers.Account) { a.Layer = providers.LayerSaved })
			res, err := Provider{}.Login(t.Context(), providers.LoginRequest{
				Host: providers.DockerHub, Account: a, Deps: r.deps, UI: &person{decide: c.decide(r)},
			})
			if providers.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) || !res.Secret.IsZero() {
				t.Errorf("%v", err)
			}
			if n := r.hub.Counts().Generated; n != 0 {
				t.Errorf("%d tokens made", n)
			}
		})
	}
}

func TestSlowDownIsObeyed(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for as long as it is told to")
	}
	r := newRig(t)
	quick(r)
	r.hub.SlowDown(1)
	if _, err := r.login(account(func(a *providers.Account) { a.Layer = providers.LayerSaved })); err != nil {
		t.Error(err)
	}
}

func TestALoginOfAnAccountOfTheirOwnGoesWhereItSays(t *testing.T) {
	r := newRig(t)
	quick(r)
	if _, err := r.login(r.as("acme-bot", "correct-horse-battery")); providers.KindOf(err) != providers.Misconfigured || !strings.Contains(err.Error(), "-u USER") {
		t.Errorf("a password account: %v", err)
	}
	a := account(func(a *providers.Account) { a.Options = &Options{Identity: "device"} })
	if _, err := r.login(a); providers.KindOf(err) != providers.Misconfigured || !strings.Contains(err.Error(), "keyring:NAME") {
		t.Errorf("no place: %v", err)
	}
	a.Password = providers.SecretRef{Scheme: "keyring", Value: "hub"}
	if res, err := r.login(a); err != nil || res.Write || res.Secret.IsZero() {
		t.Errorf("%+v %v", res, err)
	}
	// Before anybody logged in.
	s := r.open(a)
	if _, err := s.Mint(t.Context(), request(t)); providers.KindOf(err) == providers.NoAccount || err == nil {
		t.Errorf("a configured login that is not there: %v", err)
	}
	con := r.acme.Connect(hub.Connection{Subject: "repo:acme/app:*", Scope: hub.RepoRead})
	r.runner(subject)
	if res, err := r.login(r.connected(con)); err != nil || res.Who != "acme" || res.Write {
		t.Errorf("a connection: %+v %v", res, err)
	}
}

// docker login -u and regmint login -u store a password where a device login
// was kept.
func TestAPasswordTakesTheplaceOfADeviceLogin(t *testing.T) {
	r := newRig(t)
	quick(r)
	s := r.loggedIn()
	a := s.account
	a.Username = "acme-bot"
	r.secrets["keyring:hub"] = r.bot.PAT(hub.RepoRead).Secret
	if c := r.works(r.open(a)); !strings.HasPrefix(c.Origin, "personal access token") {
		t.Errorf("%+v", c)
	}
	r.fails(r.open(a).CheckNative(t.Context(), request(t)), providers.Denied, "personal access token")
}
