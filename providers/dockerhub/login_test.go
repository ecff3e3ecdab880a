// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/test/fakecloud"
	hub "github.com/regmint/regmint/test/fakecloud/dockerhub"
)

func TestADeviceLoginMakesWhatTheRegistryTakes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := account(func(a *providers.Account) { a.Layer, a.Username = providers.LayerSaved, "somebody-else" })
	res, err := r.login(a)
	if err != nil {
		t.Fatal(err)
	}
	if res.Account.Username != "" {
		t.Errorf("the login keeps the user name %q", res.Account.Username)
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
	t.Parallel()
	r := newRig(t)
	s := r.loggedIn()
	for _, g := range r.bot.Generated() {
		g.Revoke()
	}
	r.cloud.Advance(2 * time.Hour) // the access token is over too
	var mu sync.Mutex
	secrets := map[string]bool{}
	together(16, func() {
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

// Access tokens may end before their time: a sign-out elsewhere, a change of
// keys. All who find that out are one refresh, and make one token.
func TestAccessTokensThatEndedEarlyAreRefreshedOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.loggedIn()
	r.bot.EndAccess()
	for _, g := range r.bot.Generated() {
		g.Revoke()
	}
	together(20, func() {
		if _, err := r.open(s.account).Mint(t.Context(), request(t)); err != nil {
			t.Error(err)
		}
	})
	r.works(s, "acme/app=push")
	if n := r.hub.Counts(); n.Refreshes != 1 || n.Generated != 2 || n.ReusedRefresh != 0 {
		t.Errorf("%+v", n)
	}
}

func TestAnEndedSessionAsksForALogin(t *testing.T) {
	t.Parallel()
	r := newRig(t)
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
	t.Parallel()
	r := newRig(t)
	s := r.loggedIn()
	made := r.pair(s).Made
	r.deps.Network.HTTPSProxy = "http://127.0.0.1:1"
	c, err := r.open(s.account).Mint(t.Context(), request(t))
	if err != nil || c.Secret.Reveal() != made {
		t.Errorf("%v", err)
	}
	if l := c.Life(); l != 5*time.Minute {
		t.Errorf("what was not looked at is handed out for %s", l)
	}
}

func TestDeviceLoginsThatEndBadly(t *testing.T) {
	t.Parallel()
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
			a := account(func(a *providers.Account) { a.Layer = providers.LayerSaved })
			res, err := r.decided(a, c.decide(r))
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
	t.Parallel()
	r := newRig(t)
	r.hub.SlowDown(2)
	if _, err := r.login(account(func(a *providers.Account) { a.Layer = providers.LayerSaved })); err != nil {
		t.Error(err)
	}
	if want := []time.Duration{5e9, 10e9, 15e9}; !slices.Equal(r.waits, want) {
		t.Errorf("waited %v", r.waits)
	}
}

func TestALoginThatGetsNoTokenLeavesNoSession(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cloud.Inject(fakecloud.Fault{Host: hub.APIHost, Path: "/v2/access-tokens", Status: http.StatusInternalServerError, Times: 1})
	_, err := r.login(account(func(a *providers.Account) { a.Layer = providers.LayerSaved }))
	r.fails(err, providers.Unavailable, "HTTP 500")
	if n := r.bot.Sessions(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

func TestALogoutEndsTheSessionAndSaysWhatIsLeft(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.loggedIn()
	end := func(secret string) providers.Ended {
		return Provider{}.EndLogin(t.Context(), providers.EndRequest{
			Host: providers.DockerHub, Account: s.account, Secret: providers.NewSecret(secret), Deps: r.deps,
		})
	}
	kept := r.secrets["keyring:hub"]
	proxy := r.deps.Network.HTTPSProxy
	r.deps.Network.HTTPSProxy = "http://127.0.0.1:1"
	if got := end(kept); got.What != "" || !strings.Contains(got.Left, "the login at Docker Hub") || !strings.Contains(got.Left, "access token") {
		t.Errorf("unreachable: %+v", got)
	}
	r.deps.Network.HTTPSProxy = proxy
	if got := end(kept); got.What != "the login at Docker Hub" || !strings.Contains(got.Left, tokensPage) || r.bot.Sessions() != 0 {
		t.Errorf("%+v, %d sessions", got, r.bot.Sessions())
	}
	for _, other := range []string{"", r.bot.PAT(hub.RepoRead).Secret} { // not ours to end
		if got := end(other); got != (providers.Ended{}) {
			t.Errorf("%+v", got)
		}
	}
	r.works(s) // what is left works on, as said
}

func TestALoginOfAnAccountOfTheirOwnGoesWhereItSays(t *testing.T) {
	t.Parallel()
	r := newRig(t)
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
	t.Parallel()
	r := newRig(t)
	s := r.loggedIn()
	a := s.account
	a.Username = "acme-bot"
	r.secrets["keyring:hub"] = r.bot.PAT(hub.RepoRead).Secret
	if c := r.works(r.open(a)); !strings.HasPrefix(c.Origin, "personal access token") {
		t.Errorf("%+v", c)
	}
	r.fails(r.open(a).CheckNative(t.Context(), request(t)), providers.Denied, "personal access token")
}

// What was kept at another server or application is handed to nobody, nor is a
// kept login that cannot be read taken for a password.
func TestAKeptLoginThatDoesNotFitIsNotUsed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.loggedIn()
	kept := r.secrets["keyring:hub"]
	before := len(r.cloud.Requests())
	for name, c := range map[string]struct {
		options Options
		secret  string
	}{
		"another tenant":      {Options{LoginEndpoint: "https://login.example"}, kept},
		"another application": {Options{ClientID: "other"}, kept},
		"cut":                 {Options{}, kept[:len(kept)-5]},
		"somebody's":          {Options{}, `{"access_token":"x","issuer":"https://login.docker.com/oauth/token","client_id":"` + cliClient + `"}`},
	} {
		a := s.account
		c.options.Identity = "device"
		a.Options, a.Username = &c.options, "acme-bot"
		r.secrets["keyring:hub"] = c.secret
		o := r.open(a)
		_, err := o.Mint(t.Context(), request(t))
		r.fails(err, providers.Misconfigured, "run: regmint login docker.io")
		_, err = o.MintNative(t.Context(), request(t))
		r.fails(err, providers.Misconfigured)
		if n := len(r.cloud.Requests()) - before; n != 0 {
			t.Errorf("%s: %d requests", name, n)
		}
	}
}

func TestALoginThatCannotBeRenewedIsNone(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"access_token":"opaque","expires_in":3600}`:                          "offline_access",
		`{"access_token":"opaque","refresh_token":"ref","expires_in":3600}`:    "whose it is",
		`{"access_token":"a.e30.c","refresh_token":"ref","expires_in":3600}`:   "whose it is",
		`{"refresh_token":"ref","expires_in":3600}`:                            "no access token",
		`{"access_token":"opaque","refresh_token":"ref","expires_in":"-3600"}`: "expired already",
	} {
		r := newRig(t)
		r.cloud.Inject(fakecloud.Fault{Host: hub.LoginHost, Path: "/oauth/token", Status: http.StatusOK, Body: body})
		res, err := r.login(account(func(a *providers.Account) { a.Layer = providers.LayerSaved }))
		r.fails(err, providers.Unavailable, want, "regmint login docker.io")
		if !res.Secret.IsZero() || r.hub.Counts().Generated != 0 {
			t.Errorf("%s: kept", body)
		}
	}
}
