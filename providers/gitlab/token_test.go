// SPDX-License-Identifier: Apache-2.0

package gitlab_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/gitlab"
	"github.com/regmint/regmint/test/fakecloud"
	fake "github.com/regmint/regmint/test/fakecloud/gitlab"
)

var registryScopes = []string{fake.ReadRegistry, fake.WriteRegistry}

func TestAccessTokenIsHandedOutWithItsEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	pat := r.jane.Token(fake.TokenSpec{Name: "laptop", Scopes: registryScopes, Expires: r.cloud.Now().AddDate(0, 0, 30)})
	s := r.open(gitlab.Options{}, r.withSecret(pat.Secret))
	c := r.mint(s, r.request(""))
	if c.Username == "" || c.Secret.Reveal() != pat.Secret || c.Wider || !strings.Contains(c.Origin, `"laptop"`) {
		t.Errorf("%+v", c)
	}
	if !c.ExpiresAt.Equal(pat.Expires()) || c.ExpiresAt.UTC().Format(time.TimeOnly) != "00:00:00" {
		t.Errorf("ends %v, want midnight UTC of %v", c.ExpiresAt, pat.Expires())
	}
	if err := r.verify(s, r.request("", push("acme/app")), c); err != nil {
		t.Error(err)
	}
	if c = r.mint(s, r.request("", pull("acme/app"))); !c.Wider {
		t.Error("a token that is there cannot be narrowed")
	}
	r.wantError(r.verify(s, r.request("", pull("acme/other")), c), providers.Denied)
}

func TestTokenWithoutAScopeIsRefusedWithTheScopeNamed(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	for _, tt := range []struct {
		scopes []string
		grant  providers.Grant
		want   string // "" = is handed out
	}{
		{[]string{fake.ReadUser}, providers.Grant{}, "pull needs read_registry, and the token has read_user"},
		{[]string{fake.ReadRegistry}, push("acme/app"), "push needs read_registry and write_registry, and the token has read_registry"},
		{[]string{fake.WriteRegistry}, push("acme/app"), "push needs read_registry and write_registry, and the token has write_registry"},
		{[]string{fake.WriteRegistry}, providers.Grant{}, "pull needs read_registry, and the token has write_registry"},
		{[]string{fake.ReadVirtualRegistry, fake.WriteVirtualRegistry}, pull("acme/app"), "pull needs read_registry"},
		{[]string{fake.ReadAPI, fake.WriteRegistry}, push("acme/app"), ""},
		{registryScopes, providers.Grant{Repository: "acme/app", Access: providers.Delete}, "delete needs api"},
		{[]string{fake.ReadRegistry}, pull("acme/app"), ""},
		{[]string{fake.API}, providers.Grant{Repository: "acme/app", Access: providers.Push | providers.Delete}, ""},
	} {
		pat := r.jane.Token(fake.TokenSpec{Scopes: tt.scopes})
		s := r.open(gitlab.Options{}, r.withSecret(pat.Secret))
		q := r.request("")
		if tt.grant.Access != 0 {
			q.Grants = []providers.Grant{tt.grant}
		}
		_, err := s.Mint(t.Context(), q)
		if tt.want != "" {
			r.wantError(err, providers.Denied, tt.want)
		} else if err != nil {
			t.Errorf("%v for %v: %v", tt.scopes, tt.grant, err)
		}
	}
}

func TestDeployTokenGoesWithItsOwnUserName(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	dep := r.app.DeployToken(fake.DeploySpec{Username: "puller", Scopes: registryScopes})
	named := func(a *providers.Account) { a.Username = "puller" }
	s := r.open(gitlab.Options{}, r.withSecret(dep.Secret), named)
	c := r.mint(s, r.request(""))
	if c.Username != "puller" || !strings.Contains(c.Origin, "deploy token") {
		t.Errorf("%+v", c)
	}
	if err := r.verify(s, r.request("", push("acme/app")), c); err != nil {
		t.Error(err)
	}
	_, err := r.open(gitlab.Options{}, r.withSecret(dep.Secret)).Mint(t.Context(), r.request(""))
	r.wantError(err, providers.Misconfigured, "user name", "set username")
	_, err = s.(providers.NativeMinter).MintNative(t.Context(), r.request(""))
	r.wantError(err, providers.Denied, "cannot call", "scope api")
	_, err = s.(providers.Rotator).RotationPlan(t.Context(), providers.NewSecret(dep.Secret))
	r.wantError(err, providers.Misconfigured, "cannot rotate itself")
}

func TestPasswordThatIsNoTokenIsJudgedByTheRegistry(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	r.jane.SetPassword("correct horse")
	jane := func(a *providers.Account) { a.Username = "jane" }
	if c := r.mint(r.open(gitlab.Options{}, r.withSecret("correct horse"), jane), r.request("")); c.Username != "jane" {
		t.Errorf("%+v", c)
	}
	s := r.open(gitlab.Options{}, r.withSecret("battery staple"), jane)
	_, err := s.Mint(t.Context(), r.request("", pull("acme/app")))
	r.wantError(err, providers.LoginRequired, "does not accept the token", "run: regmint login registry.gitlab.com")
}

// A pull needs the registry and its token server, and no API.
func TestSavedLoginIsHandedOutWithoutAQuestion(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	pat := r.jane.Token(fake.TokenSpec{Name: "laptop", Scopes: registryScopes, Expires: r.cloud.Now().AddDate(0, 0, 30)})
	s := r.open(gitlab.Options{}, r.withSecret(pat.Secret), func(a *providers.Account) { a.Username = "jane" })
	c := r.mint(s, r.request(""))
	if c.Username != "jane" || c.Secret.Reveal() != pat.Secret || !c.ExpiresAt.IsZero() || len(r.cloud.Requests()) != 0 {
		t.Errorf("%+v after %d requests", c, len(r.cloud.Requests()))
	}
	l := s.(providers.Learner)
	if known, ok := l.Learned(c); !ok || !known.ExpiresAt.IsZero() {
		t.Errorf("%+v %v is known though nobody was asked", known, ok)
	}
	if err := r.verify(s, r.request(""), c); err != nil {
		t.Fatal(err)
	}
	if known, ok := l.Learned(c); !ok || !known.ExpiresAt.Equal(pat.Expires()) {
		t.Errorf("%+v %v, want %v", known, ok, pat.Expires())
	}
	before := len(r.cloud.Requests())
	if c = r.mint(s, r.request("")); !c.ExpiresAt.Equal(pat.Expires()) || c.Username != "jane" || !strings.Contains(c.Origin, `"laptop"`) || len(r.cloud.Requests()) != before {
		t.Errorf("%+v", c)
	}
	if known, ok := l.Learned(providers.Credential{Secret: providers.NewSecret("another")}); ok {
		t.Errorf("%+v is known of another secret", known)
	}
}

func TestSavedLoginThatTheRegistryRefusesIsNotHandedOutAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{BanAfter: 30})
	pat := r.jane.Token(fake.TokenSpec{Scopes: registryScopes})
	s := r.open(gitlab.Options{}, r.withSecret(pat.Secret), func(a *providers.Account) { a.Username = "jane" })
	c := r.mint(s, r.request(""))
	pat.Revoke()
	r.wantError(r.verify(s, r.request(""), c), providers.LoginRequired, "wrong, expired, revoked")
	before := len(r.cloud.Requests())
	for range 50 {
		_, err := s.Mint(t.Context(), r.request(""))
		r.wantError(err, providers.LoginRequired, "wrong, expired, revoked")
		r.wantError(r.verify(s, r.request(""), c), providers.LoginRequired)
	}
	if n := len(r.cloud.Requests()) - before; n != 0 {
		t.Errorf("a refused token was shown %d times more", n)
	}
	r.secrets["keyring:pat"] = r.jane.Token(fake.TokenSpec{Scopes: registryScopes}).Secret
	r.mint(s, r.request("")) // another secret is another matter
}

func TestLoginsThatGitLabKeeps(t *testing.T) {
	t.Parallel()
	var p providers.LoginKeeper = gitlab.New()
	for _, tt := range []struct {
		user, secret string
		want         bool
	}{
		{"jane", "glpat-0123456789abcdefghij", true},
		{"", "glpat-0123456789abcdefghij", true},
		{"jane", "correct horse", true},
		{"deployer", "gldt-0123456789abcdefghij", true},
		{"", "gldt-0123456789abcdefghij", false},
		{"<token>", "refresh", false},
	} {
		ok, err := p.KeepsLogin(providers.Host{}, tt.user, providers.NewSecret(tt.secret))
		if ok != tt.want || err != nil {
			t.Errorf("%s with %.5s: %v, %v", tt.user, tt.secret, ok, err)
		}
	}
	like := providers.Account{Options: &gitlab.Options{URL: "https://git.example.com", ClientID: "app"}}
	if o, ok := p.LoginOptions(like).(*gitlab.Options); !ok || o.URL != "https://git.example.com" || o.ClientID != "" {
		t.Errorf("%+v", o)
	}
}

func TestTokenOfAFileThatIsOverIsRenewedThere(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	r.secrets["file:/run/secrets/token"] = "glpat-wrong-0123456789"
	_, err := r.open(gitlab.Options{}, func(a *providers.Account) {
		a.Password = providers.SecretRef{Scheme: "file", Value: "/run/secrets/token"}
	}).Mint(t.Context(), r.request(""))
	r.wantError(err, providers.LoginRequired, "put a new token into file:/run/secrets/token")
}

// Failures from one address can lock out all of it.
func TestRefusedTokenIsNotShownAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{BanAfter: 30})
	pat := r.jane.Token(fake.TokenSpec{Scopes: registryScopes})
	s := r.open(gitlab.Options{}, r.withSecret(pat.Secret))
	pat.Revoke()
	for range 50 {
		_, err := s.Mint(t.Context(), r.request(""))
		r.wantError(err, providers.LoginRequired, "wrong, expired, revoked")
	}
	if n := len(r.cloud.Requests()); n > 2 {
		t.Errorf("%d requests", n)
	}
	r.secrets["keyring:pat"] = r.jane.Token(fake.TokenSpec{Scopes: registryScopes}).Secret
	r.mint(s, r.request("")) // another secret is another matter
	r.cloud.Advance(10 * time.Minute)
	r.secrets["keyring:pat"] = pat.Secret
	before := len(r.cloud.Requests())
	if _, err := s.Mint(t.Context(), r.request("")); err == nil || len(r.cloud.Requests()) == before {
		t.Error("never asked again")
	}
}

func TestTokenEndsAtMidnightUTC(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	pat := r.jane.Token(fake.TokenSpec{Scopes: registryScopes, Expires: r.cloud.Now().AddDate(0, 0, 2)})
	s := r.open(gitlab.Options{}, r.withSecret(pat.Secret))
	c := r.mint(s, r.request(""))
	r.cloud.Advance(c.ExpiresAt.Sub(r.cloud.Now()) + time.Second)
	_, err := s.Mint(t.Context(), r.request(""))
	r.wantError(err, providers.LoginRequired, "expired")
	r.wantError(r.verify(s, r.request(""), c), providers.LoginRequired, "does not accept")
}

func TestAPIThatIsOutDoesNotKeepATokenBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	pat := r.jane.Token(fake.TokenSpec{Scopes: registryScopes})
	s := r.open(gitlab.Options{}, r.withSecret(pat.Secret))
	r.cloud.Inject(fakecloud.Fault{Host: "gitlab.com", Path: "/api/v4", Status: 502, Times: -1})
	if c := r.mint(s, r.request("")); !c.ExpiresAt.IsZero() || c.Secret.Reveal() != pat.Secret {
		t.Errorf("%+v", c)
	}
}

func TestTokenWithoutAnEndGetsTheAccounts(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	dep := r.app.DeployToken(fake.DeploySpec{Scopes: registryScopes})
	s := r.open(gitlab.Options{}, r.withSecret(dep.Secret), func(a *providers.Account) {
		a.Username, a.ExpiresIn = dep.Username, providers.Duration(time.Hour)
	})
	if c := r.mint(s, r.request("")); c.Life() != time.Hour {
		t.Errorf("lives %v", c.Life())
	}
}

// A login that only the registry can judge is no dead one where it does not answer.
func TestRegistryThatIsOutDoesNotCondemnAPassword(t *testing.T) {
	t.Parallel()
	r := newRig(t, fake.Options{})
	r.jane.SetPassword("correct horse")
	s := r.open(gitlab.Options{}, r.withSecret("correct horse"), func(a *providers.Account) { a.Username = "jane" })
	r.cloud.Inject(fakecloud.Fault{Host: "gitlab.com", Path: "/jwt/auth", Status: 503, Header: http.Header{"Retry-After": {"60"}}})
	for range 2 {
		if c := r.mint(s, r.request("", pull("acme/app"))); c.Username != "jane" {
			t.Errorf("%+v", c)
		}
	}
}
