// SPDX-License-Identifier: Apache-2.0

package gitlab_test

import (
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/gitlab"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	fake "github.com/regmint/regmint/test/fakecloud/gitlab"
)

func TestATokenIsPastedWhereThereIsNoOtherLogin(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	pat := r.jane.Token(fake.TokenSpec{Name: "laptop", Scopes: registryScopes, Expires: r.cloud.Now().AddDate(0, 0, 30)})
	p := &person{token: pat.Secret}
	res, err := r.login(p, gitlab.Options{}, saved)
	if err != nil || !res.Write || res.Secret.Reveal() != pat.Secret || !res.Until.Equal(pat.Expires()) || res.Who != "jane" {
		t.Fatalf("%+v, %v", res, err)
	}
	if q := strings.Join(p.asked, ""); !strings.Contains(q, "https://gitlab.com/-/user_settings/personal_access_tokens?name=regmint&scopes=read_registry,write_registry") {
		t.Errorf("asked %q", q)
	}
	// What is saved is answered without a question to GitLab's API.
	s := r.open(*res.Account.Options.(*gitlab.Options), r.withSecret(pat.Secret), func(a *providers.Account) { a.Username = res.Account.Username })
	before := len(r.cloud.Requests())
	if c := r.mint(s, r.request("")); c.Username == "" || len(r.cloud.Requests()) != before {
		t.Errorf("%+v", c)
	}
}

func TestADeployTokenIsPastedWithItsName(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	dep := r.app.DeployToken(fake.DeploySpec{Username: "puller", Scopes: registryScopes})
	p := &person{token: dep.Secret, user: "puller"}
	res, err := r.login(p, gitlab.Options{}, saved)
	if err != nil || res.Account.Username != "puller" || res.Who != "deploy token puller" {
		t.Fatalf("%+v, %v", res, err)
	}
}

func TestATokenIsPastedInPlaceOfTheLoginOfGlab(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	dir := t.TempDir()
	r.glab(dir).LogIn(t, dir, r.jane)
	pat := r.jane.Token(fake.TokenSpec{Scopes: registryScopes})
	p := &person{token: pat.Secret, choice: 1}
	res, err := r.login(p, gitlab.Options{}, saved)
	if err != nil || res.Secret.Reveal() != pat.Secret || res.Account.Options.(*gitlab.Options).Glab {
		t.Fatalf("%+v, %v", res, err)
	}
}

func TestAPastedTokenThatDoesNotDoIsRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	revoked := r.jane.Token(fake.TokenSpec{Scopes: registryScopes})
	revoked.Revoke()
	for secret, x := range map[string]struct {
		kind providers.Kind
		part string
	}{
		revoked.Secret: {providers.LoginRequired, "does not accept the token: it is wrong, expired, revoked"},
		r.jane.Token(fake.TokenSpec{Scopes: []string{fake.ReadUser}}).Secret: {providers.Denied, "pull needs read_registry, and the token has read_user"},
		"glrt-0123456789abcdefghij": {providers.Misconfigured, "the token of a runner"},
	} {
		p := &person{token: secret}
		_, err := r.login(p, gitlab.Options{}, saved)
		r.wantError(err, x.kind, x.part)
		if l := httpxtest.Leaks(err.Error()+strings.Join(p.asked, ""), secret); len(l) > 0 {
			t.Errorf("the token leaks: %v", err)
		}
	}
}

func TestAPastedTokenDoesAllThatTheAccountIsFor(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	rotates := func(a *providers.Account) { a.Rotate = providers.Duration(14 * 24 * time.Hour) }
	for _, x := range []struct {
		scopes []string
		o      gitlab.Options
		edit   func(*providers.Account)
		part   string // "" = it does
	}{
		{registryScopes, gitlab.Options{Project: "acme/app"}, kept, "making tokens for jobs needs the scope api, and the token has read_registry, write_registry"},
		{[]string{fake.API}, gitlab.Options{Project: "acme/app"}, kept, ""},
		{registryScopes, gitlab.Options{}, rotates, "rotation needs the scope self_rotate or api"},
		{rotatingScopes, gitlab.Options{}, rotates, ""},
	} {
		p := &person{token: r.jane.Token(fake.TokenSpec{Scopes: x.scopes}).Secret}
		_, err := r.login(p, x.o, kept, x.edit)
		if x.part == "" && err != nil {
			t.Errorf("%v for %+v: %v", x.scopes, x.o, err)
		} else if x.part != "" {
			r.wantError(err, providers.Denied, x.part)
		}
	}
}
