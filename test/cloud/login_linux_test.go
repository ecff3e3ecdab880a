// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"strings"
	"testing"

	"github.com/regmint/regmint/test/fakecloud/github"
	"github.com/regmint/regmint/test/fakecloud/gitlab"
)

func TestATokenIsPastedOnATerminal(t *testing.T) {
	t.Parallel()
	r := newGitHub(t, github.Options{})
	pat := r.jane.Classic(github.WritePackages)
	x := r.terminal([]line{{"(it does not show): ", pat.Secret}}, "regmint", "login", "--no-wire", ghcr)
	if x.code != 0 || !strings.Contains(x.out, "https://github.com/settings/tokens/new?scopes=read:packages,write:packages") ||
		!strings.Contains(x.out, "logged in to ghcr.io as jane") || !strings.Contains(x.out, "valid until it is changed or revoked") {
		t.Fatalf("%s", x)
	}
	if strings.Contains(x.out, pat.Secret) {
		t.Errorf("the token shows: %s", x)
	}
	r.savedAs("github")
	r.pushPull(ghcrApp + ":1")

	l := newGitLab(t, gitlab.Options{})
	token := l.jane.Token(gitlab.TokenSpec{Name: "laptop", Scopes: registryScopes, Expires: l.cloud.Now().AddDate(0, 0, 30)})
	x = l.terminal([]line{{"(it does not show): ", token.Secret}}, "regmint", "login", "--no-wire", l.gl.Registry())
	if x.code != 0 || !strings.Contains(x.out, "https://gitlab.com/-/user_settings/personal_access_tokens?name=regmint&scopes=read_registry,write_registry") ||
		!strings.Contains(x.out, "logged in to registry.gitlab.com") || !strings.Contains(x.out, "valid until 20") || strings.Contains(x.out, token.Secret) {
		t.Fatalf("%s", x)
	}
	l.savedAs("gitlab")
	l.pushPull(l.image())
}

func TestAPastedTokenIsVerifiedBeforeItIsSaved(t *testing.T) {
	t.Parallel()
	r := newGitHub(t, github.Options{})
	fine := r.jane.FineGrained()
	x := r.terminal([]line{{"(it does not show): ", fine.Secret}}, "regmint", "login", "--no-wire", ghcr)
	if x.code != 2 || !strings.Contains(x.out, "no fine-grained tokens") || strings.Contains(x.out, fine.Secret) {
		t.Errorf("%s", x)
	}
	x = r.terminal([]line{{"(it does not show): ", "\x03"}}, "regmint", "login", "--no-wire", ghcr)
	if x.code != 130 {
		t.Errorf("Ctrl-C: %s", x)
	}
	if text := r.read(".config/regmint/config.d/regmint.toml"); text != "" {
		t.Errorf("saved: %s", text)
	}
	// gh's login is offered beside it.
	r.borrow().LogIn(r.jane, github.WritePackages)
	pat := r.jane.Classic(github.WritePackages)
	x = r.terminal([]line{{"Number [1-2]: ", "2"}, {"(it does not show): ", pat.Secret}}, "regmint", "login", "--no-wire", ghcr)
	if x.code != 0 || !strings.Contains(x.out, "jane, the login of gh") || !strings.Contains(x.out, "paste a token made at github.com") {
		t.Fatalf("%s", x)
	}
	if a := r.mustGet(ghcr); a.Secret != pat.Secret {
		t.Error("another token answers")
	}
}
