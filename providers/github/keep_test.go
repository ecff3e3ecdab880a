// SPDX-License-Identifier: Apache-2.0

package github_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/github"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/test/fakecloud"
	fake "github.com/regmint/regmint/test/fakecloud/github"
)

// A pull needs the registry, and no API.
func TestASavedLoginIsHandedOutWithoutAQuestion(t *testing.T) {
	w := newWorld(t)
	w.edit = func(a *providers.Account) { a.Username = "jane" }
	end := w.c.Now().Add(72 * time.Hour).UTC().Truncate(time.Second)
	pat := w.jane.Classic(fake.WritePackages).Expire(end)
	s := w.open(&github.Options{}, pat.Secret)
	c := w.mint(s)
	if c.Username != "jane" || c.Secret.Reveal() != pat.Secret || !c.ExpiresAt.IsZero() || len(w.c.Requests()) != 0 {
		t.Errorf("%+v after %d requests", c, len(w.c.Requests()))
	}
	l := s.(providers.Learner)
	if known, ok := l.Learned(c); !ok || known != (providers.Learned{}) {
		t.Errorf("%+v %v is known though nobody was asked", known, ok)
	}
	if err := s.(providers.Verifier).Verify(t.Context(), w.request(), c); err != nil {
		t.Fatal(err)
	}
	if known, ok := l.Learned(c); !ok || known.User != "jane" || !known.ExpiresAt.Equal(end) {
		t.Errorf("%+v %v", known, ok)
	}
	before := len(w.c.Requests())
	if c = w.mint(s); !c.ExpiresAt.Equal(end) || !strings.Contains(c.Origin, "jane") || len(w.c.Requests()) != before {
		t.Errorf("%+v", c)
	}
	// Another secret in its place is another matter.
	w.secrets["keyring:work"] = w.jane.Classic(fake.WritePackages).Secret
	if c = w.mint(s); !c.ExpiresAt.IsZero() {
		t.Errorf("the end of another token: %+v", c)
	}
	if _, ok := l.Learned(providers.Credential{Secret: providers.NewSecret(pat.Secret)}); ok {
		t.Error("a token that was replaced is the saved one")
	}
}

func TestASavedLoginThatDoesNotDoIsFoundOutWhenItIsVerified(t *testing.T) {
	w := newWorld(t)
	w.edit = func(a *providers.Account) { a.Username = "jane" }
	verify := func(secret string) error {
		s := w.open(&github.Options{}, secret)
		return s.(providers.Verifier).Verify(t.Context(), w.request(), w.mint(s))
	}
	pat := w.jane.Classic(fake.WritePackages)
	pat.Revoke()
	w.refused(verify(pat.Secret), providers.LoginRequired, "not valid any more")
	w.refused(verify(w.jane.Classic("repo").Secret), providers.Denied, "no scope read:packages")
	// Rights that somebody wants are asked about before.
	_, err := w.open(&github.Options{}, w.jane.Classic(fake.ReadPackages).Secret).Mint(t.Context(), w.request("acme/app=push"))
	w.refused(err, providers.Denied, "no scope write:packages")
}

// A mirror under GitHub's name has passwords that are not GitHub's.
func TestWhatLooksLikeNoTokenIsNotShownToGitHubsAPI(t *testing.T) {
	w := newWorld(t)
	w.edit = func(a *providers.Account) { a.Username = "jane" }
	w.c.Inject(fakecloud.Fault{Host: w.host, Path: "/v2/", Status: http.StatusOK})
	s := w.open(&github.Options{}, "password of the mirror")
	c := w.mint(s)
	if err := s.(providers.Verifier).Verify(t.Context(), w.request(), c); err != nil {
		t.Fatal(err)
	}
	if reached := w.c.Reached(); !slices.Equal(reached, []string{"ghcr.io"}) {
		t.Errorf("reached %q", reached)
	}
}

func TestLoginsThatGitHubKeeps(t *testing.T) {
	var p providers.LoginKeeper = github.New()
	for _, x := range []struct {
		host, user, secret string
		keeps              bool
		refused            string
	}{
		{"ghcr.io", "jane", "ghp_" + strings.Repeat("x", 36), true, ""},
		{"ghcr.io", "", "gho_" + strings.Repeat("x", 36), true, ""},
		{"containers.octo.ghe.com", "jane", "0123456789abcdef0123456789abcdef01234567", true, ""},
		{"ghcr.io", "<token>", "identity", false, ""},
		{"ghcr.io", "jane", "github_pat_" + strings.Repeat("x", 82), false, "https://github.com/settings/tokens/new?scopes=write:packages"},
		{"containers.octo.ghe.com", "jane", "github_pat_" + strings.Repeat("x", 82), false, "https://octo.ghe.com/settings/tokens/new"},
		{"ghcr.io", "jane", "ghr_" + strings.Repeat("x", 70), false, "refresh token"},
		{"docker.pkg.github.com", "jane", "ghp_" + strings.Repeat("x", 36), false, "retired"},
	} {
		keeps, err := p.KeepsLogin(httpxtest.Host(t, x.host), x.user, providers.NewSecret(x.secret))
		if keeps != x.keeps || (err != nil) != (x.refused != "") || err != nil && !strings.Contains(err.Error(), x.refused) {
			t.Errorf("%s at %s with %.11s: %v, %v", x.user, x.host, x.secret, keeps, err)
		}
	}
	like := providers.Account{Options: &github.Options{Server: "github.corp.example", ClientID: "app"}}
	if o, ok := p.LoginOptions(like).(*github.Options); !ok || o.Server != "github.corp.example" || o.ClientID != "" {
		t.Errorf("%+v", o)
	}
}

func TestASavedLoginThatHasEndedAsksForAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.edit = func(a *providers.Account) { a.Username = "jane" }
	s := w.open(&github.Options{}, w.jane.Classic(fake.WritePackages).Expire(w.c.Now().Add(time.Hour)).Secret)
	if err := s.(providers.Verifier).Verify(t.Context(), w.request(), w.mint(s)); err != nil {
		t.Fatal(err)
	}
	w.c.Advance(2 * time.Hour)
	_, err := s.Mint(t.Context(), w.request())
	w.refused(err, providers.LoginRequired, "not valid any more", "run: regmint login ghcr.io")
}
