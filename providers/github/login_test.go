// SPDX-License-Identifier: Apache-2.0

package github_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/github"
	"github.com/regmint/regmint/test/fakecloud"
	fake "github.com/regmint/regmint/test/fakecloud/github"
)

func TestADeviceLoginIsKeptAndUsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := w.g.OAuthApp("tool")
	p := &person{decide: func(code string) { w.g.Approve(code, w.jane) }}
	res, err := w.logIn(p, &github.Options{ClientID: app.ClientID}, providers.LayerSaved)
	if err != nil {
		t.Fatal(err)
	}
	if res.Who != "jane" || !res.Write || res.Secret.IsZero() || !strings.HasPrefix(p.said[len(p.said)-1], "https://github.com/login/device ") {
		t.Errorf("%+v %q", res, p.said)
	}
	o, ok := res.Account.Options.(*github.Options)
	if !ok || o.ClientID != app.ClientID || o.GH {
		t.Errorf("%+v", res.Account.Options)
	}
	c := w.mint(w.open(o, res.Secret.Reveal()))
	if c.Username != "jane" || !strings.HasPrefix(c.Secret.Reveal(), "gho_") || !c.ExpiresAt.IsZero() {
		t.Errorf("%+v", c)
	}
	if strings.Contains(c.Secret.Reveal(), "{") {
		t.Error("the stored form is handed out")
	}
	// A configured account keeps it where it says.
	w2, err := w.logIn(p, &github.Options{ClientID: app.ClientID}, providers.LayerConfigured)
	if err != nil || w2.Write || w2.Secret.IsZero() {
		t.Errorf("%+v %v", w2, err)
	}
}

func TestADeclinedCodeAndAnAppWithoutDeviceLogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := w.g.OAuthApp("tool")
	_, err := w.logIn(&person{decide: func(code string) { w.g.Deny(code) }}, &github.Options{ClientID: app.ClientID}, providers.LayerSaved)
	w.refused(err, providers.Denied, "declined")
	app.DisableDevice()
	_, err = w.logIn(&person{}, &github.Options{ClientID: app.ClientID}, providers.LayerSaved)
	w.refused(err, providers.Misconfigured, "device_flow_disabled")
	_, err = w.logIn(&person{nobody: true}, &github.Options{ClientID: w.g.OAuthApp("x").ClientID}, providers.LayerSaved)
	if err == nil {
		t.Error("nobody was there")
	}
}

func TestFiftyRefreshesOfAPairAreOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := w.g.App("minter")
	res, err := w.logIn(&person{decide: func(code string) { w.g.Approve(code, w.jane) }}, &github.Options{ClientID: app.ClientID}, providers.LayerSaved)
	if err != nil || res.Until.IsZero() {
		t.Fatalf("%+v %v", res, err)
	}
	s := w.open(&github.Options{ClientID: app.ClientID}, res.Secret.Reveal())
	first := w.mint(s)
	if l := first.ExpiresAt.Sub(w.c.Now()); l < 7*time.Hour || l > 8*time.Hour {
		t.Errorf("lives %s", l)
	}
	w.c.Advance(9 * time.Hour)
	got := make([]string, 50)
	var wg sync.WaitGroup
	pw := w.account(&github.Options{ClientID: app.ClientID}, "")
	pw.Password = providers.SecretRef{Scheme: "keyring", Value: "work"}
	for i := range got { // each is a source of its own, as each process has one
		wg.Go(func() {
			s, err := github.New().Open(pw, w.deps)
			if err != nil {
				t.Error(err)
				return
			}
			c, err := s.Mint(t.Context(), w.request())
			if err != nil {
				t.Error(err)
				return
			}
			got[i] = c.Secret.Reveal()
		})
	}
	wg.Wait()
	if n := w.g.Counts(); n.Refreshes != 1 || n.ReusedRefresh != 0 {
		t.Errorf("%+v", n)
	}
	for _, s := range got {
		if s != got[0] || s == first.Secret.Reveal() {
			t.Error("they do not have the one new token")
			break
		}
	}
	// A refresh whose answer was lost asks for a login, and is not tried again.
	w.c.Advance(9 * time.Hour)
	w.g.LoseRefreshes(1)
	for range 2 {
		if _, err := s.Mint(t.Context(), w.request()); err == nil {
			t.Error("a lost pair was served")
		}
	}
	_, err = s.Mint(t.Context(), w.request())
	w.refused(err, providers.LoginRequired, "regmint login ghcr.io")
}

func TestGhsLoginIsOfferedWhereItMayUsePackages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	link := "https://github.com/settings/tokens/new?scopes=read:packages,write:packages"
	_, err := w.logIn(&person{}, &github.Options{}, providers.LayerSaved)
	w.refused(err, providers.LoginRequired, "gh is not installed", link)
	gh := w.gh()
	_, err = w.logIn(&person{}, &github.Options{}, providers.LayerSaved)
	w.refused(err, providers.LoginRequired, "gh is not logged in", "gh auth login", link)
	gh.LogIn(w.jane)
	_, err = w.logIn(&person{}, &github.Options{}, providers.LayerSaved)
	w.refused(err, providers.LoginRequired, "gh auth refresh -h github.com -s read:packages,write:packages", link)
	gh.LogIn(w.jane, fake.WritePackages)
	p := &person{choices: []int{0}}
	res, err := w.logIn(p, &github.Options{}, providers.LayerSaved)
	if err != nil || res.Who != "jane" || !res.Write || !res.Secret.IsZero() || len(p.asked) != 2 {
		t.Fatalf("%+v %v %q", res, err, p.asked)
	}
	if o := res.Account.Options.(*github.Options); !o.GH || o.GHUser != "jane" {
		t.Errorf("%+v", o)
	}
	if g := github.New().LoginGroup(res.Account); g != "gh login at github.com as jane" {
		t.Errorf("%q", g)
	}
	_, err = w.logIn(&person{choices: []int{1}}, &github.Options{}, providers.LayerSaved)
	w.refused(err, providers.LoginRequired, link)
	// Nobody is asked: gh's login is not borrowed unasked.
	if _, err := w.logIn(&person{nobody: true}, &github.Options{}, providers.LayerSaved); err == nil {
		t.Error("borrowed without a person's word")
	}
}

func TestALoginOfAnAppTriesItsKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.g.App("minter")
	a.Install("acme", fake.Write)
	res, err := w.logIn(&person{}, w.app(github.Options{}, a), providers.LayerSaved)
	if err != nil || res.Write || !strings.Contains(res.Who, "app minter on acme") {
		t.Errorf("%+v %v", res, err)
	}
}

func TestApplicationsThatGitHubDoesNotKnowAreNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.logIn(&person{}, &github.Options{ClientID: "Ov23liNOBODY"}, providers.LayerSaved)
	w.refused(err, providers.Misconfigured, "no application with this client_id", "check client_id")
	app := w.g.OAuthApp("tool")
	app.DisableDevice()
	_, err = w.logIn(&person{}, &github.Options{ClientID: app.ClientID}, providers.LayerSaved)
	w.refused(err, providers.Misconfigured, "enable Device Flow in the application's settings")
	if err != nil && strings.Contains(err.Error(), "\n") {
		t.Errorf("%q", err)
	}
}

// A reader of a fleet has the pair in a file: a renewal there would end it for
// everybody, and could be kept nowhere.
func TestAPairThatCannotBeKeptIsUsedToItsEndAndNotRenewed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := w.g.App("tool")
	res, err := w.logIn(&person{decide: func(code string) { w.g.Approve(code, w.jane) }}, &github.Options{ClientID: app.ClientID}, providers.LayerSaved)
	if err != nil {
		t.Fatal(err)
	}
	w.secrets["file:/etc/pair"] = res.Secret.Reveal()
	w.edit = func(a *providers.Account) { a.Password = providers.SecretRef{Scheme: "file", Value: "/etc/pair"} }
	s := w.open(&github.Options{ClientID: app.ClientID}, "")
	w.c.Advance(7*time.Hour + 55*time.Minute)
	if c := w.mint(s); !c.ExpiresAt.After(w.c.Now()) {
		t.Errorf("until %s", c.ExpiresAt)
	}
	w.c.Advance(time.Hour)
	_, err = s.Mint(t.Context(), w.request())
	w.refused(err, providers.LoginRequired, "cannot be renewed there", "keyring:ghcr.io", "regmint login ghcr.io")
	if n := w.g.Counts(); n.Refreshes != 0 {
		t.Errorf("%+v", n)
	}
}

// The errors of docs.github.com/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps:
// in the body, with status 200.
func TestEveryErrorOfADeviceLoginSaysWhatToDo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := w.g.OAuthApp("tool")
	for code, x := range map[string]struct {
		kind  providers.Kind
		parts []string
	}{
		"authorization_pending":        {providers.LoginRequired, []string{"nobody entered the code in time", "run: regmint login ghcr.io"}}, // for ever
		"slow_down":                    {providers.LoginRequired, []string{"nobody entered the code in time"}},
		"expired_token":                {providers.LoginRequired, []string{"nobody entered the code in time", "run: regmint login ghcr.io"}},
		"token_expired":                {providers.LoginRequired, []string{"nobody entered the code in time"}},
		"unsupported_grant_type":       {providers.LoginRequired, []string{"unsupported_grant_type", "run: regmint login ghcr.io"}},
		"incorrect_client_credentials": {providers.Misconfigured, []string{"check client_id"}},
		"incorrect_device_code":        {providers.LoginRequired, []string{"incorrect_device_code", "run: regmint login ghcr.io"}},
		"access_denied":                {providers.Denied, []string{"declined in the browser"}},
		"device_flow_disabled":         {providers.Misconfigured, []string{"enable Device Flow"}},
		"something_new":                {providers.Denied, []string{"something_new", "run: regmint login ghcr.io"}},
	} {
		w.c.ClearFaults()
		w.c.Inject(fakecloud.Fault{
			Host: "github.com", Path: "/login/oauth/access_token", Status: 200, Header: http.Header{"Content-Type": {"application/json"}},
			Body: `{"error":"` + code + `","error_description":"\u001b[31mwords\u0007","error_uri":"https://docs.github.com/"}`,
		})
		_, err := w.logIn(&person{decide: func(string) {}}, &github.Options{ClientID: app.ClientID}, providers.LayerSaved)
		w.refused(err, x.kind, x.parts...)
		if err == nil || strings.ContainsAny(err.Error(), "\x1b\x07\n") {
			t.Errorf("%s: %q", code, err)
		}
	}
}
