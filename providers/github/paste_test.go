// SPDX-License-Identifier: Apache-2.0

package github_test

import (
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/github"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	fake "github.com/regmint/regmint/test/fakecloud/github"
)

func TestATokenIsPastedWhereThereIsNoOtherLogin(t *testing.T) {
	w := newWorld(t)
	end := w.c.Now().Add(72 * time.Hour).UTC().Truncate(time.Second)
	p := &person{token: w.jane.Classic(fake.WritePackages).Expire(end).Secret}
	res, err := w.logIn(p, &github.Options{}, providers.LayerSaved)
	if err != nil || !res.Write || res.Who != "jane" || res.Account.Username != "jane" || !res.Until.Equal(end) || res.Secret.Reveal() != p.token {
		t.Fatalf("%+v, %v", res, err)
	}
	page := "https://github.com/settings/tokens/new?scopes=read:packages,write:packages"
	if q := strings.Join(p.asked, "\n"); !strings.Contains(q, page) || !strings.Contains(q, "gh is not installed") {
		t.Errorf("asked %q", q)
	}
	// What is saved is answered without a question to GitHub's API.
	w.edit = func(a *providers.Account) { a.Username, a.Layer = res.Account.Username, providers.LayerSaved }
	s := w.open(res.Account.Options.(*github.Options), res.Secret.Reveal())
	before := len(w.c.Requests())
	if c := w.mint(s); c.Username != "jane" || len(w.c.Requests()) != before {
		t.Errorf("%+v", c)
	}
}

func TestATokenIsPastedIntoTheKeyringOfAConfiguredAccount(t *testing.T) {
	w := newWorld(t)
	p := &person{token: w.jane.Classic(fake.WritePackages).Secret}
	res, err := w.logIn(p, &github.Options{}, providers.LayerConfigured)
	if err != nil || res.Write || res.Secret.Reveal() != p.token || res.Who != "jane" {
		t.Fatalf("%+v, %v", res, err)
	}
}

func TestAPastedTokenThatDoesNotDoIsRefusedWithTheReason(t *testing.T) {
	w := newWorld(t)
	for what, x := range map[string]struct {
		token string
		kind  providers.Kind
		part  string
	}{
		"fine-grained":  {w.jane.FineGrained().Secret, providers.Misconfigured, "no fine-grained tokens"},
		"without scope": {w.jane.Classic("repo").Secret, providers.Denied, "no scope read:packages"},
		"unknown":       {"ghp_" + strings.Repeat("x", 36), providers.LoginRequired, "not valid"},
	} {
		p := &person{token: x.token}
		_, err := w.logIn(p, &github.Options{}, providers.LayerSaved)
		w.refused(err, x.kind, x.part)
		if l := httpxtest.Leaks(err.Error()+strings.Join(append(p.said, p.asked...), ""), x.token); len(l) > 0 {
			t.Errorf("%s: the token leaks: %v", what, err)
		}
	}
	_, err := w.logIn(&person{nobody: true}, &github.Options{}, providers.LayerSaved)
	w.refused(err, providers.LoginRequired, "run: regmint login ghcr.io -u USER")
}
