// SPDX-License-Identifier: Apache-2.0

package github_test

import (
	"strings"
	"testing"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/github"
	"github.com/regmint/regmint/test/fakecloud"
	fake "github.com/regmint/regmint/test/fakecloud/github"
)

func TestGhAbsentLoggedOutAndWithoutScopesIsALineEach(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open(&github.Options{GH: true}, "")
	_, err := s.Mint(t.Context(), w.request())
	w.refused(err, providers.Misconfigured, "gh is not installed")
	gh := w.gh()
	s = w.open(&github.Options{GH: true}, "")
	_, err = s.Mint(t.Context(), w.request())
	w.refused(err, providers.LoginRequired, "gh is not logged in to github.com", "run: gh auth login -h github.com -s read:packages,write:packages")
	token := gh.LogIn(w.jane)
	_, err = s.Mint(t.Context(), w.request())
	w.refused(err, providers.Denied, "no scope read:packages", "run: gh auth refresh -h github.com -s read:packages,write:packages")
	token.Revoke()
	_, err = s.Mint(t.Context(), w.request())
	w.refused(err, providers.LoginRequired, "run: gh auth login")
	gh.LogIn(w.jane, "repo", fake.WritePackages)
	if c := w.mint(s); c.Username != "jane" || !strings.HasPrefix(c.Secret.Reveal(), "gho_") || c.Origin != "gh login of jane" {
		t.Errorf("%+v", c)
	}
	_, err = s.(providers.NativeMinter).MintNative(t.Context(), w.request())
	w.refused(err, providers.Denied, "run: gh auth refresh -h github.com -s read:packages,delete:packages")
	_, err = w.open(&github.Options{GH: true, GHUser: "bob"}, "").Mint(t.Context(), w.request())
	w.refused(err, providers.LoginRequired, "as bob")
	for _, call := range gh.Calls() {
		if strings.Join(call[:4], " ") != "auth token --hostname github.com" {
			t.Errorf("%q", call)
		}
	}
}

func TestAGhThatDoesNotAnswerIsALineEach(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gh := w.gh()
	gh.LogIn(w.jane, fake.WritePackages)
	for name, x := range map[string]struct {
		broke fakecloud.Result
		kind  providers.Kind
		parts []string
	}{
		"before auth token":    {fake.GhWithoutToken, providers.Misconfigured, []string{"gh is too old", "update it"}},
		"before --user":        {fake.GhWithoutUser, providers.Misconfigured, []string{"gh is too old", "update it"}},
		"a broken file":        {fakecloud.Fail("failed to read configuration: invalid config file"), providers.Unavailable, []string{"see: gh auth status -h github.com"}},
		"a page":               {fakecloud.Result{Stdout: "<html>\n<p>gho_" + strings.Repeat("j", 36) + "</p>\n"}, providers.Unavailable, []string{"no token", "see: gh auth token -h github.com"}},
		"two tokens":           {fakecloud.Result{Stdout: "gho_" + strings.Repeat("j", 36) + "\ngho_" + strings.Repeat("k", 36) + "\n"}, providers.Unavailable, []string{"no token"}},
		"escapes":              {fakecloud.Result{Stdout: "\x1b[31mgho_x\x1b[0m\n"}, providers.Unavailable, []string{"no token"}},
		"nothing":              {fakecloud.Result{Stdout: "\n"}, providers.LoginRequired, []string{"gh is not logged in to github.com"}},
		"a word":               {fakecloud.Result{Stdout: "none\n"}, providers.LoginRequired, []string{"gh login is not valid any more"}},
		"a fine-grained token": {fakecloud.Result{Stdout: w.jane.FineGrained().Secret}, providers.Misconfigured, []string{"no fine-grained tokens", "run: gh auth login -h github.com"}},
	} {
		gh.Break(&x.broke)
		_, err := w.open(&github.Options{GH: true, GHUser: "jane"}, "").Mint(t.Context(), w.request())
		w.refused(err, x.kind, x.parts...)
		if err == nil || strings.Contains(err.Error(), strings.Repeat("j", 12)) || strings.Contains(err.Error(), "\x1b") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	gh.Break(nil)
	w.host = "containers.octo.ghe.com" // gh is logged in elsewhere
	_, err := w.open(&github.Options{GH: true}, "").Mint(t.Context(), w.request())
	w.refused(err, providers.LoginRequired, "gh is not logged in to octo.ghe.com", "run: gh auth login -h octo.ghe.com")
}
