// SPDX-License-Identifier: Apache-2.0

package github_test

import (
	"strings"
	"testing"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/github"
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
