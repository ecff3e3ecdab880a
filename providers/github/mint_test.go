// SPDX-License-Identifier: Apache-2.0

package github_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/github"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/test/fakecloud"
	fake "github.com/regmint/regmint/test/fakecloud/github"
)

func TestAClassicTokenTellsItsOwnerAndItsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	end := w.c.Now().Add(72 * time.Hour).UTC().Truncate(time.Second)
	pat := w.jane.Classic(fake.WritePackages).Expire(end)
	s := w.open(&github.Options{}, pat.Secret)
	c := w.mint(s)
	if c.Username != "jane" || c.Secret.Reveal() != pat.Secret || !c.ExpiresAt.Equal(end) || c.Wider || !strings.Contains(c.Origin, "jane") {
		t.Errorf("%+v", c)
	}
	if !w.mint(s, "acme/app=pull").Wider {
		t.Error("a token of a person is no narrower for a target")
	}
	if err := s.(providers.Verifier).Verify(t.Context(), w.request("acme/app=push"), c); err != nil {
		t.Error(err)
	}
	w.edit = func(a *providers.Account) { a.Username = "bot" }
	if c := w.mint(w.open(&github.Options{}, pat.Secret)); c.Username != "bot" {
		t.Errorf("%+v", c)
	}
	pat.Revoke()
	_, err := s.Mint(t.Context(), w.request())
	w.refused(err, providers.LoginRequired, "not valid any more", "regmint login ghcr.io")
}

func TestTokensThatCannotWorkAreRefusedEarly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, x := range map[string]struct {
		secret string
		grants []string
		kind   providers.Kind
		parts  []string
	}{
		"fine-grained":       {w.jane.FineGrained().Secret, nil, providers.Misconfigured, []string{"no fine-grained tokens", "https://github.com/settings/tokens/new?scopes=write:packages"}},
		"a refresh token":    {"ghr_" + strings.Repeat("x", 70), nil, providers.Misconfigured, []string{"refresh token"}},
		"without any scope":  {w.jane.Classic("repo").Secret, nil, providers.Denied, []string{"no scope read:packages"}},
		"push without scope": {w.jane.Classic(fake.ReadPackages).Secret, []string{"acme/app=push"}, providers.Denied, []string{"no scope write:packages"}},
		"unknown":            {"ghp_" + strings.Repeat("x", 36), nil, providers.LoginRequired, []string{"not valid any more"}},
		"with a line break":  {"ghp_x\nInjected: yes", nil, providers.Misconfigured, []string{"line break"}},
	} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			_, err := w.open(&github.Options{}, x.secret).Mint(t.Context(), w.request(x.grants...))
			w.refused(err, x.kind, x.parts...)
			if l := httpxtest.Leaks(err.Error()+w.log.String(), x.secret); strings.HasPrefix(x.secret, "gh") && len(x.secret) > 30 && len(l) > 0 {
				t.Errorf("the token leaks: %v", err)
			}
		})
	}
}

func TestGITHUB_TOKENIsBoundToItsServersRegistryAndToJobs(t *testing.T) { // rule 12
	t.Parallel()
	w := newWorld(t)
	job := w.g.Job("acme/app", w.jane, fake.Write)
	try := func(env ...string) (providers.Credential, error) {
		w.ambient(env...)
		return w.open(&github.Options{}, "").Mint(t.Context(), w.request())
	}
	c, err := try(job.Env()...)
	if err != nil || c.Username != "jane" || c.Secret.Reveal() != job.Token.Secret || !strings.Contains(c.Origin, "GITHUB_TOKEN") {
		t.Errorf("%+v %v", c, err)
	}
	if c, err := try("GITHUB_ACTIONS=true", "GITHUB_TOKEN="+job.Token.Secret); err != nil || c.Username != "x-access-token" {
		t.Errorf("without an actor: %+v %v", c, err)
	}
	for name, env := range map[string][]string{
		"no variable at all":  nil,
		"outside of a job":    {"GITHUB_TOKEN=" + job.Token.Secret},
		"a job without it":    {"GITHUB_ACTIONS=true", "GITHUB_ACTOR=jane"},
		"another server's":    append(job.Env(), "GITHUB_SERVER_URL=https://github.corp.example"),
		"a look-alike server": append(job.Env(), "GITHUB_SERVER_URL=https://github.com.evil.example"),
		"no URL":              append(job.Env(), "GITHUB_SERVER_URL=::"),
	} {
		_, err := try(env...)
		if providers.KindOf(err) != providers.NoAccount {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = try("GITHUB_ACTIONS=true", "GITHUB_TOKEN="+w.jane.FineGrained().Secret)
	w.refused(err, providers.Misconfigured, "fine-grained")

	// GHE.com's jobs are for its registry alone.
	w.host = "containers.octo.ghe.com"
	if _, err := try(job.Env()...); providers.KindOf(err) != providers.NoAccount {
		t.Errorf("%v", err)
	}
	if c, err := try(append(job.Env(), "GITHUB_SERVER_URL=https://octo.ghe.com")...); err != nil || c.Secret.Reveal() != job.Token.Secret {
		t.Errorf("%v", err)
	}
	if n := w.c.Count(func(r fakecloud.Request) bool { return r.Host != "ghcr.io" }); n != 0 {
		t.Errorf("a job's token needs no question, %d were asked", n)
	}
}

func TestConfiguredAccountsReadNothingOfACaller(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	job := w.g.Job("acme/app", w.jane, fake.Write)
	w.ambient(job.Env()...)
	w.edit = nil
	_, err := w.open(&github.Options{}, "").Mint(t.Context(), w.request())
	w.refused(err, providers.LoginRequired, "no token is saved")
}

func TestARefusalOfTheRegistryIsLookedInto(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pat := w.jane.Classic(fake.WritePackages)
	s := w.open(&github.Options{}, pat.Secret)
	c := w.mint(s)
	w.g.Org("acme").RequireSSO()
	err := s.(providers.Verifier).Verify(t.Context(), w.request("acme/app=pull"), c)
	w.refused(err, providers.Denied, "single sign-on", "token of jane is valid")
	for secret, hint := range map[string]string{
		w.jane.OAuth(fake.WritePackages).Secret: "regmint login ghcr.io",
		w.jane.Classic("repo").Secret:           "has no scope read:packages",
	} {
		c := providers.Credential{Username: "jane", Secret: providers.NewSecret(secret)}
		err = s.(providers.Verifier).Verify(t.Context(), w.request("acme/app=pull"), c)
		w.refused(err, providers.Denied, hint)
	}
	w.c.Inject(fakecloud.Fault{Host: "api.github.com", Status: http.StatusBadGateway})
	err = s.(providers.Verifier).Verify(t.Context(), w.request("acme/app=pull"), c)
	w.refused(err, providers.Denied, "lacks the right")
	if strings.Contains(err.Error(), "is valid") {
		t.Errorf("nobody has said so: %v", err)
	}
	w.c.ClearFaults()
	pat.Revoke() // "denied: denied" is said of a dead token too
	err = s.(providers.Verifier).Verify(t.Context(), w.request(), c)
	w.refused(err, providers.LoginRequired, "not valid any more")

	job := w.g.Job("acme/other", w.jane, fake.Write)
	w.ambient(job.Env()...)
	s = w.open(&github.Options{}, "")
	err = s.(providers.Verifier).Verify(t.Context(), w.request("acme/app=pull"), w.mint(s))
	w.refused(err, providers.Denied, "Manage Actions access")
}

func TestADeadTokenIsReplacedWhereItLies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for scheme, hint := range map[string]string{"file": "put a new token into file:/etc/token", "env": "put a new token into env:/etc/token", "keyring": "run: regmint login ghcr.io"} {
		w.secrets[scheme+":/etc/token"] = "ghp_" + strings.Repeat("x", 36)
		w.edit = func(a *providers.Account) { a.Password = providers.SecretRef{Scheme: scheme, Value: "/etc/token"} }
		_, err := w.open(&github.Options{}, "").Mint(t.Context(), w.request())
		w.refused(err, providers.LoginRequired, hint)
	}
}
