// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/providers/internal/oidc"
	hub "github.com/regmint/regmint/test/fakecloud/dockerhub"
)

func TestDockerHubIsOneHostUnderAllItsNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com",
		"DOCKER.IO", "docker.io.", "docker.io:443", "Index.Docker.io.:443", "registry.hub.docker.com:443",
	} {
		if !(Provider{}).Match(httpxtest.Host(t, name)) {
			t.Error(name)
		}
	}
	for _, name := range []string{"hub.docker.com", "docker.io:5000", "docker.io:80", "xdocker.io", "docker.io.evil.example", "index.docker.io.evil", "registry.hub.docker.com.evil.example", "www.docker.io", "auth.docker.io", "dhi.io"} {
		if (Provider{}).Match(httpxtest.Host(t, name)) {
			t.Errorf("%s is matched", name)
		}
	}
}

func TestSavedSecretsAreHandedOutAsTheyAre(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for name, a := range map[string]providers.Account{
		"personal access token": r.as("acme-bot", r.bot.PAT(hub.RepoWrite).Secret),
	} {
		c := r.works(r.open(a), "acme/app=push")
		if !strings.HasPrefix(c.Origin, name) || !c.ExpiresAt.IsZero() {
			t.Errorf("%+v", c)
		}
	}
	c := r.works(r.open(r.as("acme", r.acme.OAT(hub.RepoWrite).Secret)), "acme/app=push")
	if !strings.HasPrefix(c.Origin, "organisation access token") {
		t.Errorf("%+v", c)
	}
	a := r.as("acme-bot", "correct-horse-battery")
	a.ExpiresIn = providers.Duration(time.Hour)
	s := r.open(a)
	c = r.works(s, "acme/app=push")
	if c.Life() != time.Hour {
		t.Errorf("expires_in: %s", c.Life())
	}
	c, err := s.Mint(t.Context(), request(t, "acme/app=pull"))
	if err != nil || !c.Wider {
		t.Errorf("what cannot be narrowed is not marked: %+v %v", c, err)
	}
}

func TestARefusedSecretIsNamedForWhatItIs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	pat, oat := r.bot.PAT(hub.RepoRead), r.acme.OAT(hub.RepoRead)
	pat.Revoke()
	oat.Revoke()
	for _, c := range []struct{ user, secret, want string }{
		{"acme-bot", pat.Secret, "personal access token of acme-bot"},
		{"acme", oat.Secret, "organisation access token of acme"},
		{"acme-bot", "wrong-horse-wrong-battery", "only access tokens work"},
	} {
		s := r.open(r.as(c.user, c.secret))
		cred, err := s.Mint(t.Context(), request(t))
		if err != nil {
			t.Fatal(err)
		}
		r.fails(s.Verify(t.Context(), request(t), cred), providers.LoginRequired, c.want, "regmint login docker.io")
	}
	// Two-factor authentication takes the password away from the registry.
	r.bot.TwoFactor("123456")
	s := r.open(r.as("acme-bot", "correct-horse-battery"))
	cred, _ := s.Mint(t.Context(), request(t))
	r.fails(s.Verify(t.Context(), request(t), cred), providers.LoginRequired, "2FA")
	// Less than asked for is denied, not a wrong login.
	s = r.open(r.as("acme-bot", r.bot.PAT(hub.RepoRead).Secret))
	cred, _ = s.Mint(t.Context(), request(t))
	r.fails(s.Verify(t.Context(), request(t, "acme/app=push"), cred), providers.Denied, "push")
}

// connected is an account of an OIDC connection.
func (r *rig) connected(con *hub.Connection, edit ...func(*Options)) providers.Account {
	o := &Options{OIDCConnection: con.ID, Organization: "acme", WebIdentity: github(r.t)}
	for _, e := range edit {
		e(o)
	}
	return account(func(a *providers.Account) { a.Options = o })
}

func TestAnOIDCConnectionGivesTokensOfFiveMinutes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	con := r.acme.Connect(hub.Connection{Subject: "repo:acme/app:*", Scope: hub.RepoWrite})
	r.runner(subject)
	s := r.open(r.connected(con))
	c := r.works(s, "acme/app=push")
	if c.Username != "acme" || c.Life().Round(time.Minute) != 5*time.Minute || !s.RefreshEarly() {
		t.Errorf("%+v", c)
	}
	// Each token dies, and the next mint makes another.
	r.cloud.Advance(5*time.Minute + time.Second)
	r.fails(s.Verify(t.Context(), request(t), c), providers.LoginRequired, "refused as acme", "Docker Home")
	r.works(s, "acme/app=push")
	c = r.works(r.open(r.connected(con, func(o *Options) { o.TokenLife = providers.Duration(time.Hour) })))
	if c.Life().Round(time.Minute) != time.Hour {
		t.Errorf("token_life: %s", c.Life())
	}
	// What the service says wins where it is less.
	r.hub.Set(func(o *hub.Options) { o.FederatedLife = 2 * time.Minute })
	if c = r.works(s); c.Life() > 2*time.Minute {
		t.Errorf("life %s", c.Life())
	}
	r.hub.Set(func(o *hub.Options) { o.FederatedLife = -time.Minute })
	_, err := s.Mint(t.Context(), request(t))
	r.fails(err, providers.Unavailable, "expired")
}

func TestAConnectionThatRefusesSaysWhereToLook(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	con := r.acme.Connect(hub.Connection{Subject: "repo:acme/app:ref:refs/tags/*", Scope: hub.RepoWrite})
	r.runner(subject)
	_, err := r.open(r.connected(con)).Mint(t.Context(), request(t))
	r.fails(err, providers.Denied, "rulesets", "no ruleset matches")
	con = r.acme.Connect(hub.Connection{Subject: "*", Scope: hub.RepoWrite})
	con.Deactivate()
	_, err = r.open(r.connected(con)).Mint(t.Context(), request(t))
	r.fails(err, providers.Denied, "not active")
	con.ID = "00000000-0000-4000-8000-000000000000"
	_, err = r.open(r.connected(con)).Mint(t.Context(), request(t))
	r.fails(err, providers.Misconfigured, "Docker Home")
	// A job without the permission.
	delete(r.secrets, "env:"+oidc.GitHubURL)
	r.deps.Env = map[string]string{}
	_, err = r.open(r.connected(con)).Mint(t.Context(), request(t))
	r.fails(err, providers.KindOf(err), "id-token: write")
	if providers.KindOf(err) == providers.NoAccount {
		t.Error("a configured account goes anonymous")
	}
}

func TestAJobIsRecognisedByVariablesThatSayEnough(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	con := r.acme.Connect(hub.Connection{Subject: "repo:acme/app:*", Scope: hub.RepoWrite})
	ambient := func() providers.Account {
		return account(func(a *providers.Account) { a.Layer, a.Options = providers.LayerAmbient, &Options{} })
	}
	nobody := func(want string) {
		t.Helper()
		_, err := r.open(ambient()).Mint(t.Context(), request(t))
		r.fails(err, providers.NoAccount, want)
	}
	nobody("no login to Docker Hub")
	r.deps.Env[envConnection] = con.ID
	nobody(envOrganization + " is not")
	r.deps.Env[envOrganization] = "acme"
	nobody("id-token: write")
	if n := len(r.cloud.Requests()); n != 0 {
		t.Errorf("%d requests for nobody", n)
	}
	r.runner(subject)
	r.deps.Env[envLife] = "600"
	if c := r.works(r.open(ambient()), "acme/app=push"); c.Username != "acme" || c.Life().Round(time.Minute) != 10*time.Minute {
		t.Errorf("%+v", c)
	}
	for name, bad := range map[string]string{envConnection: "mine", envLife: "60", envOrganization: "a b"} {
		was := r.deps.Env[name]
		r.deps.Env[name] = bad
		_, err := Provider{}.Open(ambient(), r.deps)
		r.fails(err, providers.Misconfigured, name)
		r.deps.Env[name] = was
	}
	// A configured account reads none of them.
	a := account(func(a *providers.Account) { a.Options = &Options{} })
	if _, err := (Provider{}).Open(a, r.deps); providers.KindOf(err) != providers.Misconfigured {
		t.Errorf("a configured account took the caller's variables: %v", err)
	}
}

func github(t testing.TB) oidc.Ref {
	t.Helper()
	ref, err := oidc.ParseRef("github")
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func TestOptionsThatCannotWorkAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	const id = "0b0c2e6a-9f1d-4a55-8c3b-6d9c1f0a7e21"
	env := providers.SecretRef{Scheme: "env", Value: "TOKEN"}
	for name, c := range map[string]struct {
		o    Options
		edit func(*providers.Account)
		want string
	}{
		"no user":                {want: "no username"},
		"no password":            {edit: func(a *providers.Account) { a.Username = "jane" }, want: "no password"},
		"connection is no UUID":  {o: Options{OIDCConnection: "acme", Organization: "acme"}, want: "no UUID"},
		"no web_identity":        {o: Options{OIDCConnection: id, Organization: "acme"}, want: "no web_identity"},
		"no organisation":        {o: Options{OIDCConnection: id, WebIdentity: github(t)}, want: "no organization"},
		"password beside it":     {o: Options{OIDCConnection: id, WebIdentity: github(t), Organization: "acme"}, edit: func(a *providers.Account) { a.Password = env }, want: "password has no meaning"},
		"another user":           {o: Options{OIDCConnection: id, WebIdentity: github(t), Organization: "acme"}, edit: func(a *providers.Account) { a.Username = "jane" }, want: "username is the organisation"},
		"too short":              {o: Options{OIDCConnection: id, WebIdentity: github(t), Organization: "acme", TokenLife: providers.Duration(time.Minute)}, want: "between 5m and 6h"},
		"too long":               {o: Options{OIDCConnection: id, WebIdentity: github(t), Organization: "acme", TokenLife: providers.Duration(7 * time.Hour)}, want: "between 5m and 6h"},
		"unknown identity":       {o: Options{Identity: "web"}, want: "write password, device or oidc"},
		"device from a variable": {o: Options{Identity: "device"}, edit: func(a *providers.Account) { a.Password = env }, want: "keyring"},
		"http endpoint":          {edit: func(a *providers.Account) { a.Endpoint = "http://hub.example" }, want: "endpoint is no https URL"},
		"login endpoint":         {o: Options{LoginEndpoint: "login.docker.com"}, want: "login_endpoint is no https URL"},
		"plain_http":             {edit: func(a *providers.Account) { a.Username, a.Password, a.PlainHTTP = "jane", env, true }, want: "https alone"},
		"rotate":                 {edit: func(a *providers.Account) { a.Username, a.Password, a.Rotate = "jane", env, 1 }, want: "rotate has no meaning"},
	} {
		a := account(func(a *providers.Account) { a.Options = &c.o })
		if c.edit != nil {
			c.edit(&a)
		}
		d, _ := httpxtest.Deps(t, nil)
		_, err := Provider{}.Open(a, d)
		if providers.KindOf(err) != providers.Misconfigured || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A wildcard carries a Docker login to no stranger.
func TestADockerLoginLeavesForNamedHostsOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := r.as("acme-bot", r.bot.PAT(hub.RepoRead).Secret)
	for _, p := range []string{"*.example", "dhi.io"} {
		pat, err := providers.ParsePattern(p)
		if err != nil {
			t.Fatal(err)
		}
		a.Hosts = append(a.Hosts, pat)
	}
	s := r.open(a)
	if _, err := s.Mint(t.Context(), providers.Request{Host: httpxtest.Host(t, "dhi.io")}); err != nil {
		t.Error(err)
	}
	if _, err := s.Mint(t.Context(), providers.Request{Host: httpxtest.Host(t, "reg.example")}); providers.KindOf(err) != providers.Misconfigured {
		t.Errorf("reg.example: %v", err)
	}
}
