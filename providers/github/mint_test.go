// SPDX-License-Identifier: Apache-2.0

package github_test

import (
	"errors"
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

func TestHostsAreRecognisedByTheirWholeName(t *testing.T) { // H25, H28, H29
	for host, want := range map[string]bool{
		"ghcr.io": true, "docker.pkg.github.com": true, "containers.octo.ghe.com": true,
		"ghcr.io.evil.example": false, "xghcr.io": false, "ghcr.io:8443": false, "containers.ghe.com": false, "a.containers.octo.ghe.com": false,
		"octo.ghe.com": false, "containers.octo.ghe.com.evil.example": false, "github.com": false, "containers.github.corp.example": false,
	} {
		if got := github.New().Match(httpxtest.Host(t, host)); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
}

func TestAClassicTokenTellsItsOwnerAndItsEnd(t *testing.T) {
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

func TestTheRetiredRegistrySaysWhereItsImagesWent(t *testing.T) {
	w := newWorld(t)
	w.host = "docker.pkg.github.com"
	w.ambient()
	_, err := w.open(&github.Options{}, "").Mint(t.Context(), w.request())
	w.refused(err, providers.Misconfigured, "retired", "ghcr.io/OWNER/IMAGE")
	if n := len(w.c.Requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestGITHUB_TOKENIsBoundToItsServersRegistryAndToJobs(t *testing.T) { // rule 12
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
	w := newWorld(t)
	job := w.g.Job("acme/app", w.jane, fake.Write)
	w.ambient(job.Env()...)
	w.edit = nil
	_, err := w.open(&github.Options{}, "").Mint(t.Context(), w.request())
	w.refused(err, providers.LoginRequired, "no token is saved")
}

func TestEnterpriseServersAreAskedUnderTheirOwnNames(t *testing.T) {
	for host, x := range map[string]struct{ web, api, server string }{
		"containers.github.corp.example": {"github.corp.example", "github.corp.example", ""},
		"containers.octo.ghe.com":        {"octo.ghe.com", "api.octo.ghe.com", ""},
		"registry.corp.example":          {"github.corp.example", "github.corp.example", "https://github.corp.example"},
	} {
		t.Run(host, func(t *testing.T) {
			w := worldOf(t, fake.Options{Host: x.web, Registry: host})
			pat := w.jane.Classic(fake.WritePackages)
			s := w.open(&github.Options{Server: x.server}, pat.Secret)
			if c := w.mint(s); c.Username != "jane" {
				t.Errorf("%+v", c)
			}
			if got := w.c.Reached(); len(got) != 1 || got[0] != x.api {
				t.Errorf("reached %q", got)
			}
			c := w.mint(s)
			if err := s.(providers.Verifier).Verify(t.Context(), w.request(), c); err != nil {
				t.Error(err)
			}
		})
	}
	w := newWorld(t) // actions/runner#1291: the token of one GitHub at another's registry
	_, err := w.open(&github.Options{Server: "github.corp.example"}, w.jane.Classic(fake.WritePackages).Secret).Mint(t.Context(), w.request())
	w.refused(err, providers.Misconfigured, "github.corp.example")
	w.host = "registry.evil.example"
	w.edit = func(a *providers.Account) {
		p, err := providers.ParsePattern("*.evil.example")
		if err != nil {
			t.Fatal(err)
		}
		a.Hosts = []providers.Pattern{p}
	}
	_, err = w.open(&github.Options{}, w.jane.Classic(fake.WritePackages).Secret).Mint(t.Context(), w.request())
	w.refused(err, providers.Misconfigured, "wildcard")
}

func TestARefusalOfTheRegistryIsLookedInto(t *testing.T) {
	w := newWorld(t)
	pat := w.jane.Classic(fake.WritePackages)
	s := w.open(&github.Options{}, pat.Secret)
	c := w.mint(s)
	w.g.Org("acme").RequireSSO()
	err := s.(providers.Verifier).Verify(t.Context(), w.request("acme/app=pull"), c)
	w.refused(err, providers.Denied, "SSO")
	pat.Revoke() // "denied: denied" is said of a dead token too
	err = s.(providers.Verifier).Verify(t.Context(), w.request(), c)
	w.refused(err, providers.LoginRequired, "not valid any more")

	job := w.g.Job("acme/other", w.jane, fake.Write)
	w.ambient(job.Env()...)
	s = w.open(&github.Options{}, "")
	err = s.(providers.Verifier).Verify(t.Context(), w.request("acme/app=pull"), w.mint(s))
	w.refused(err, providers.Denied, "Manage Actions access")
}

func TestATokenServesWhileTheAPIDoesNot(t *testing.T) {
	w := newWorld(t)
	for _, f := range []fakecloud.Fault{
		{Status: http.StatusForbidden, Body: `{"message":"API rate limit exceeded"}`},
		{Status: http.StatusOK, Body: "<html>single sign-on</html>"}, // H53
		{Status: http.StatusOK, Body: `{"login":"evil:name"}`},
		{Cut: true},
	} {
		w.c.ClearFaults()
		f.Host = "api.github.com"
		w.c.Inject(f)
		c := w.mint(w.open(&github.Options{}, w.jane.Classic(fake.WritePackages).Secret))
		if c.Username != "x-access-token" || !c.ExpiresAt.IsZero() {
			t.Errorf("%+v: %+v", f, c)
		}
	}
}

func TestNativeTokensAreRefusedByUsWithTheScopeNamed(t *testing.T) {
	w := newWorld(t)
	for _, x := range []struct {
		scopes []string
		grants []string
		lacks  string
	}{
		{[]string{fake.ReadPackages, fake.DeletePackages}, nil, ""},
		{[]string{fake.WritePackages}, nil, "delete:packages"},
		{[]string{fake.WritePackages}, []string{"acme/app=delete"}, "delete:packages"},
		{[]string{fake.DeletePackages}, nil, "read:packages"},
		{[]string{fake.ReadPackages}, []string{"acme/app=pull"}, ""},
	} {
		s := w.open(&github.Options{}, w.jane.Classic(x.scopes...).Secret)
		n, err := s.(providers.NativeMinter).MintNative(t.Context(), w.request(x.grants...))
		if checked := s.(providers.NativeChecker).CheckNative(t.Context(), w.request(x.grants...)); (checked == nil) != (err == nil) {
			t.Errorf("%v: check says %v", x, checked)
		}
		if x.lacks != "" {
			w.refused(err, providers.Denied, "no scope "+x.lacks)
			continue
		}
		if err != nil || n.Secret.IsZero() || n.Env[0].Name != "GH_TOKEN" || n.Env[1].Name != "WERF_REPO_GITHUB_TOKEN" {
			t.Errorf("%v: %v %v", x, n.Env, err)
		}
	}
}

func TestGhAbsentLoggedOutAndWithoutScopesIsALineEach(t *testing.T) {
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

func TestOptionsThatCannotWorkAreNamed(t *testing.T) {
	w := newWorld(t)
	key := providers.SecretRef{Scheme: "env", Value: "KEY"}
	for name, o := range map[string]github.Options{
		"gh and a key":         {GH: true, PrivateKey: key, AppID: "1"},
		"gh_user alone":        {GHUser: "jane"},
		"gh_path relative":     {GH: true, GHPath: "gh"},
		"gh_user as an option": {GH: true, GHUser: "--hostname"},
		"a key without an App": {PrivateKey: key},
		"an App without a key": {AppID: "1"},
		"app_id":               {AppID: "x", PrivateKey: key},
		"installation":         {AppID: "1", PrivateKey: key, Installation: "a/b/c"},
		"installation with ..": {AppID: "1", PrivateKey: key, Installation: "../x"},
		"both installations":   {AppID: "1", PrivateKey: key, Installation: "a", InstallationID: "1"},
		"server with a path":   {Server: "https://github.corp.example/api"},
		"server by http":       {Server: "http://github.corp.example"},
		"a scope with a blank": {Scopes: []string{"read:packages write:packages"}},
	} {
		if _, err := github.New().Open(w.account(&o, ""), w.deps); providers.KindOf(err) != providers.Misconfigured || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, o := range []github.Options{{AppID: "1", PrivateKey: key}, {GH: true}} {
		if _, err := github.New().Open(w.account(&o, "x"), w.deps); err == nil {
			t.Errorf("%+v beside a password", o)
		}
	}
}

func TestFetchedTokensAreKnownByTheirPrefix(t *testing.T) {
	now := time.Now()
	for _, x := range []struct {
		host, user, secret string
		life               time.Duration
	}{
		{"ghcr.io", "x-access-token", "ghs_x", time.Hour},
		{"ghcr.io", "x-access-token", "", time.Hour},
		{"ghcr.io", "jane", "ghs_x", 24 * time.Hour},
		{"ghcr.io", "jane", "ghp_x", 0},
		{"ghcr.io", "x-access-token", "ghp_x", 0},
		{"ghcr.io", "jane", "", 0},
		{"containers.github.corp.example", "jane", "ghs_x", 24 * time.Hour},
	} {
		life, ok := github.New().MintedUser(httpxtest.Host(t, x.host), x.user, providers.NewSecret(x.secret), now)
		if life != x.life || ok != (x.life > 0) {
			t.Errorf("%+v: %s %v", x, life, ok)
		}
	}
}

func TestFaultsOfTheAPIAreWordedAndLeakNothing(t *testing.T) { // the fault matrix
	w := newWorld(t)
	a := w.g.App("minter")
	a.Install("acme", fake.Write)
	ca := httpxtest.NewCA(t)
	for _, f := range httpxtest.Faults() {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			deps, log := httpxtest.Deps(t, map[string]string{"env:KEY": a.Key, "keyring:work": "ghp_" + strings.Repeat("c", 36)})
			deps.Network = providers.Network{CAFile: ca.File()}
			pat, err := providers.ParsePattern("reg.example")
			if err != nil {
				t.Fatal(err)
			}
			acc := providers.Account{Name: "work", Hosts: []providers.Pattern{pat}, Endpoint: "https://" + f.Start(t, ca), NoProxy: "*"}
			acc.Options = &github.Options{AppID: "1", PrivateKey: providers.SecretRef{Scheme: "env", Value: "KEY"}, Installation: "acme"}
			s, err := github.New().Open(acc, deps)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := contextOf(t, httpxtest.Limit(f))
			defer cancel()
			_, err = s.Mint(ctx, providers.Request{Host: httpxtest.Host(t, "reg.example")})
			e, ok := errors.AsType[*providers.Error](err)
			if !ok || e.Host.String() != "reg.example" {
				t.Fatalf("%T %v", err, err)
			}
			want := f.Kind
			if want == providers.LoginRequired { // an App has no login: its key is wrong
				want = providers.Misconfigured
			}
			if want != "" && e.Kind != want || !strings.Contains(err.Error(), f.Want) {
				t.Errorf("%s: %v, want %s %q", e.Kind, err, want, f.Want)
			}
			if l := httpxtest.Leaks(err.Error()+log.String(), a.Key[100:160]); len(l) > 0 {
				t.Error("the key leaks")
			}
		})
	}
}
