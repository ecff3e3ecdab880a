// SPDX-License-Identifier: Apache-2.0

package registryauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/providers/internal/registryauth"
	"github.com/regmint/regmint/providers/internal/registryauth/registryauthtest"
)

const canary = "CNRYregistry0123456789abcdef01234"

func fake() *registryauthtest.Fake {
	return &registryauthtest.Fake{
		Service: "fake", Users: map[string]string{"ci": canary, "reader": canary + "r"}, Refresh: map[string]string{canary + "refresh": "ci"},
		Rights: map[string]map[string][]string{
			"ci":     {"acme/app": {"pull", "push"}, "acme/new": {"pull", "push"}},
			"reader": {"acme/app": {"pull"}},
		},
		Exists: []string{"acme/app"},
	}
}

func login(user, pass string) providers.Credential {
	return providers.Credential{Username: user, Secret: providers.NewSecret(pass)}
}

type env struct {
	cfg registryauth.Config
	log *httpxtest.Log
}

func setup(t *testing.T, addr string, a providers.Account, ca *httpxtest.CA, edit func(*httpx.Config)) env {
	t.Helper()
	deps, log := httpxtest.Deps(t, nil)
	if ca != nil {
		a.CAFile = ca.File()
	}
	if a.HTTPSProxy == "" {
		a.NoProxy = "*" // whatever proxy this machine has
	}
	hc := httpx.ConfigOf(a, deps)
	if edit != nil {
		edit(&hc)
	}
	c, err := httpx.New(hc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdle)
	return env{registryauth.Config{HTTP: c, Host: httpxtest.Host(t, addr), Account: a}, log}
}

func addr(s *httptest.Server) string { return s.Listener.Addr().String() }

func TestVerifyAgreesWithTheRegistry(t *testing.T) {
	t.Parallel()
	pull, push := providers.Grant{Repository: "acme/app", Access: providers.Pull}, providers.Grant{Repository: "acme/app", Access: providers.Push}
	for _, tc := range []struct {
		name   string
		edit   func(*registryauthtest.Fake)
		cred   providers.Credential
		grants []providers.Grant
		kind   providers.Kind
		want   string
	}{
		{name: "bearer, good login", cred: login("ci", canary)},
		{name: "bearer, bad password", cred: login("ci", canary+"x"), kind: providers.LoginRequired, want: "incorrect username or password"},
		{name: "bearer, may push", cred: login("ci", canary), grants: []providers.Grant{push}},
		{name: "bearer, may not push", cred: login("reader", canary+"r"), grants: []providers.Grant{push}, kind: providers.Denied, want: "no right to push acme/app"},
		{name: "bearer, may pull", cred: login("reader", canary+"r"), grants: []providers.Grant{pull}},
		{name: "bearer, nothing at all", cred: login("reader", canary+"r"), grants: []providers.Grant{{Repository: "other/app"}}, kind: providers.Denied, want: "no right to pull other/app"},
		{name: "bearer, delete is not there", cred: login("ci", canary), grants: []providers.Grant{{Repository: "acme/app", Access: providers.Push | providers.Delete}}, kind: providers.Denied, want: "no right to delete acme/app"},
		{name: "opaque, may pull", edit: func(f *registryauthtest.Fake) { f.Opaque = true }, cred: login("reader", canary+"r"), grants: []providers.Grant{pull}},
		{name: "opaque, may not pull", edit: func(f *registryauthtest.Fake) { f.Opaque = true }, cred: login("reader", canary+"r"), grants: []providers.Grant{{Repository: "other/app", Access: providers.Pull}}, kind: providers.Denied, want: "no right to pull other/app"},
		{name: "opaque, pull of nothing", edit: func(f *registryauthtest.Fake) { f.Opaque = true }, cred: login("ci", canary), grants: []providers.Grant{{Repository: "acme/new", Access: providers.Pull}}, kind: providers.Denied, want: "no repository acme/new"},
		{name: "opaque, push makes it", edit: func(f *registryauthtest.Fake) { f.Opaque = true }, cred: login("ci", canary), grants: []providers.Grant{{Repository: "acme/new", Access: providers.Push}}},
		{name: "POST form only", edit: func(f *registryauthtest.Fake) { f.NoGET = true }, cred: login("ci", canary), grants: []providers.Grant{push}},
		{name: "POST form only, bad password", edit: func(f *registryauthtest.Fake) { f.NoGET = true }, cred: login("ci", "wrong"), kind: providers.LoginRequired, want: "invalid_grant"},
		{name: "identity token", cred: login("<token>", canary+"refresh"), grants: []providers.Grant{push}},
		{name: "identity token, revoked", cred: login("<token>", canary+"revoked"), kind: providers.LoginRequired, want: "invalid_grant"},
		{name: "identity token, GET form only", edit: func(f *registryauthtest.Fake) { f.NoPOST = true }, cred: login("<token>", canary+"refresh"), kind: providers.Misconfigured, want: "takes no identity tokens"},
		{name: "basic, good login", edit: func(f *registryauthtest.Fake) { f.Basic = true }, cred: login("ci", canary), grants: []providers.Grant{push}},
		{name: "basic, bad password", edit: func(f *registryauthtest.Fake) { f.Basic = true }, cred: login("ci", canary+"x"), kind: providers.LoginRequired, want: "authentication required"},
		{name: "basic, may not pull", edit: func(f *registryauthtest.Fake) { f.Basic = true }, cred: login("reader", canary+"r"), grants: []providers.Grant{{Repository: "other/app", Access: providers.Pull}}, kind: providers.Denied, want: "no right to pull other/app (HTTP 403)"},
		{name: "basic, identity token", edit: func(f *registryauthtest.Fake) { f.Basic = true }, cred: login("<token>", canary), kind: providers.Misconfigured, want: "takes no identity tokens"},
		{name: "open, good login", edit: func(f *registryauthtest.Fake) { f.Open = true }, cred: login("ci", canary), grants: []providers.Grant{push}},
		{name: "open, bad password", edit: func(f *registryauthtest.Fake) { f.Open = true }, cred: login("ci", canary+"x"), kind: providers.LoginRequired, want: "HTTP 401"},
		{name: "open, may not push", edit: func(f *registryauthtest.Fake) { f.Open = true }, cred: login("reader", canary+"r"), grants: []providers.Grant{push}, kind: providers.Denied, want: "no right to push"},
		{name: "odd repository", cred: login("ci", canary), grants: []providers.Grant{{Repository: "../_catalog"}}, kind: providers.Misconfigured, want: "no repository name"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := fake()
			if tc.edit != nil {
				tc.edit(f)
			}
			ca := httpxtest.NewCA(t)
			e := setup(t, addr(ca.Server(t, f)), providers.Account{}, ca, nil)
			err := registryauth.Verify(t.Context(), e.cfg, tc.cred, tc.grants)
			judge(t, err, tc.kind, tc.want)
			if err != nil && len(httpxtest.Leaks(err.Error()+e.log.String(), tc.cred.Secret.Reveal())) > 0 {
				t.Errorf("secret in %v", err)
			}
		})
	}
}

func judge(t *testing.T, err error, kind providers.Kind, want string) {
	t.Helper()
	if kind == "" {
		if err != nil {
			t.Error(err)
		}
		return
	}
	e, ok := errors.AsType[*providers.Error](err)
	if !ok || e.Kind != kind || !strings.Contains(err.Error(), want) || e.Host.IsZero() {
		t.Errorf("got %v (%s), want %s with %q", err, providers.KindOf(err), kind, want)
	}
}

func TestWhatIsNoRegistryIsSaid(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		h    http.HandlerFunc
		kind providers.Kind
		want string
	}{
		"404": {func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, providers.Misconfigured, "not a registry v2 API: HTTP 404 at https://"},
		"a web page": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
		}, providers.Misconfigured, "not a registry v2 API: HTTP 200 at"},
		"403":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, providers.Unavailable, "before any login"},
		"304":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) }, providers.Misconfigured, "not a registry v2 API: HTTP 304"},
		"500":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, providers.Unavailable, "HTTP 500"},
		"no challenge": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, providers.Misconfigured, "names no way"},
		"negotiate": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", "Negotiate")
			w.WriteHeader(401)
		}, providers.Misconfigured, "not known here: negotiate"},
		"a broken one": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://x`)
			w.WriteHeader(401)
		}, providers.Misconfigured, "an unterminated quote"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://other.example/v2/", http.StatusTemporaryRedirect)
		}, providers.Unavailable, "redirect to another origin (https://other.example) refused"},
		"refuses after": {func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				w.Header().Set("WWW-Authenticate", "Basic realm=x")
				w.WriteHeader(401)
				return
			}
			w.WriteHeader(403)
		}, providers.Denied, "HTTP 403"},
	} {
		t.Run(name, func(t *testing.T) {
			ca := httpxtest.NewCA(t)
			e := setup(t, addr(ca.Server(t, tc.h)), providers.Account{}, ca, nil)
			judge(t, registryauth.Verify(t.Context(), e.cfg, login("ci", canary), nil), tc.kind, tc.want)
		})
	}
}

func TestPlainHTTPIsTakenWhereItIsSaidAndOnLoopback(t *testing.T) {
	t.Parallel()
	f := fake()
	s := httpxtest.Plain(t, f)
	port := strings.TrimPrefix(addr(s), "127.0.0.1:")
	t.Run("loopback", func(t *testing.T) {
		e := setup(t, addr(s), providers.Account{}, nil, nil)
		judge(t, registryauth.Verify(t.Context(), e.cfg, login("ci", canary), nil), "", "")
	})
	t.Run("loopback with TLS, plain_http said", func(t *testing.T) {
		ca := httpxtest.NewCA(t)
		e := setup(t, addr(ca.Server(t, fake())), providers.Account{PlainHTTP: true}, ca, nil)
		judge(t, registryauth.Verify(t.Context(), e.cfg, login("ci", canary), nil), "", "")
	})
	dns := httpxtest.NewDNS(t, map[string][]string{"reg.example": {"127.0.0.1"}})
	resolve := func(c *httpx.Config) { c.Resolver = dns.Resolver() }
	t.Run("a name, unsaid", func(t *testing.T) {
		e := setup(t, "reg.example:"+port, providers.Account{}, nil, resolve)
		judge(t, registryauth.Verify(t.Context(), e.cfg, login("ci", canary), nil), providers.Unavailable, "server gave HTTP response to HTTPS client; set plain_http = true")
	})
	t.Run("a name with TLS, plain_http said", func(t *testing.T) {
		ca := httpxtest.NewCA(t)
		_, tlsPort, _ := strings.Cut(addr(ca.Server(t, fake(), "reg.example")), ":")
		e := setup(t, "reg.example:"+tlsPort, providers.Account{PlainHTTP: true}, ca, resolve)
		judge(t, registryauth.Verify(t.Context(), e.cfg, login("ci", canary), nil), providers.Misconfigured, "if the registry speaks https, remove plain_http")
	})
	t.Run("a name, said", func(t *testing.T) {
		e := setup(t, "reg.example:"+port, providers.Account{PlainHTTP: true}, nil, resolve)
		judge(t, registryauth.Verify(t.Context(), e.cfg, login("ci", canary), nil), "", "")
	})
}

// H43, H46: hostile realms and token servers see no credential.
func TestHostileTokenServersSeeNothing(t *testing.T) {
	t.Parallel()
	ca := httpxtest.NewCA(t)
	evil := ca.Server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s arrived with %q", r.Method, r.URL, r.Header.Get("Authorization"))
	}), "127.0.0.1", "localhost")
	plainEvil := httpxtest.Plain(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s %s arrived", r.Method, r.URL) }))
	evilPort := strings.TrimPrefix(addr(evil), "127.0.0.1:")
	redirect := func(code int, to string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, code) }
	}
	for name, tc := range map[string]struct {
		realm string
		token http.HandlerFunc
		kind  providers.Kind
		want  string
	}{
		"another host":          {"https://localhost:" + evilPort + "/token", nil, providers.Misconfigured, `add realm_hosts = ["localhost:` + evilPort + `"]`},
		"http":                  {plainEvil.URL + "/token", nil, providers.Misconfigured, "insecure realm"},
		"302 to another origin": {"", redirect(302, evil.URL), providers.Unavailable, "redirect to another origin"},
		"307 to another origin": {"", redirect(307, evil.URL), providers.Unavailable, "redirect to another origin"},
		"302 to http":           {"", redirect(302, plainEvil.URL), providers.Unavailable, "redirect from https to http"},
		"a loop":                {"", redirect(302, "/token"), providers.Unavailable, "redirect number 6"},
		"GET refused, 307 of POST": {"", func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				w.WriteHeader(405)
				return
			}
			http.Redirect(w, r, evil.URL, http.StatusTemporaryRedirect)
		}, providers.Unavailable, "redirect to another origin"},
		"an SSO page": {"", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>log in " + canary)) }, providers.Unavailable, "a web page"},
		"2FA":         {"", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"detail":"2FA required"}`)) }, providers.Unavailable, "holds no token: 2FA required"},
		"an echo of the POST body": {"", func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				w.WriteHeader(405)
				return
			}
			w.WriteHeader(400)
			_, _ = fmt.Fprintf(w, `{"error":"invalid_request","error_description":%q}`, "password "+r.PostFormValue("password"))
		}, providers.Misconfigured, "invalid_request: (text withheld"},
		"an echo": {"", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"message":"bad password ` + canary + `"}`))
		}, providers.Unavailable, "text withheld"},
	} {
		t.Run(name, func(t *testing.T) {
			f := fake()
			f.Realm = tc.realm
			s := ca.Server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/token" && tc.token != nil {
					tc.token(w, r)
					return
				}
				f.ServeHTTP(w, r)
			}))
			e := setup(t, addr(s), providers.Account{}, ca, nil)
			err := registryauth.Verify(t.Context(), e.cfg, login("ci", canary), nil)
			judge(t, err, tc.kind, tc.want)
			if err != nil && len(httpxtest.Leaks(err.Error()+e.log.String(), canary)) > 0 {
				t.Errorf("secret in %v", err)
			}
		})
	}
}

// H45: what is asked for is the grants', whatever the challenge and the realm
// ask for.
func TestScopesOfTheChallengeAreNotAskedFor(t *testing.T) {
	t.Parallel()
	ca := httpxtest.NewCA(t)
	f := fake()
	var asked [][]string
	s := ca.Server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			if r.URL.Query().Get("tenant") != "7" {
				t.Error("the realm's own query is lost")
			}
			asked = append(asked, r.URL.Query()["scope"])
			f.ServeHTTP(w, r)
		case r.Header.Get("Authorization") == "":
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="https://%s/token?tenant=7&scope=repository:other:push",service="fake",scope="repository:other:push,delete"`, r.Host))
			w.WriteHeader(401)
		default:
			f.ServeHTTP(w, r)
		}
	}))
	e := setup(t, addr(s), providers.Account{}, ca, nil)
	judge(t, registryauth.Verify(t.Context(), e.cfg, login("ci", canary), []providers.Grant{{Repository: "acme/app", Access: providers.Pull}}), "", "")
	if got := fmt.Sprint(asked); got != "[[] [repository:acme/app:pull]]" {
		t.Errorf("asked for %s", got)
	}
}

// H47: the registry's name turns to a metadata or private address between the
// probe and the token exchange; the dial is refused.
func TestRealmThatRebindsIsRefused(t *testing.T) {
	t.Parallel()
	ca := httpxtest.NewCA(t)
	for _, second := range []string{"169.254.169.254", "10.0.0.1"} {
		dns := httpxtest.NewDNS(t, map[string][]string{"reg.example": {"127.0.0.1", second}})
		f := fake()
		s := ca.Server(t, f, "reg.example")
		port := strings.TrimPrefix(addr(s), "127.0.0.1:")
		e := setup(t, "reg.example:"+port, providers.Account{}, ca, func(c *httpx.Config) { c.Resolver = dns.Resolver() })
		err := registryauth.Verify(t.Context(), e.cfg, login("ci", canary), nil)
		judge(t, err, providers.Unavailable, "refused: the name leads to "+second)
		if got := f.Requests(); len(got) != 1 || got[0] != "GET /v2/ -" {
			t.Errorf("requests %q", got)
		}
	}
}

// Rule 13: behind a proxy names decide; addresses are the proxy's affair.
func TestBehindAProxyVerifyWorksByNames(t *testing.T) {
	t.Parallel()
	ca := httpxtest.NewCA(t)
	s := ca.Server(t, fake(), "reg.example")
	proxy := httpxtest.Proxy(t, 200, addr(s), nil)
	e := setup(t, "reg.example", providers.Account{HTTPSProxy: proxy.URL, NoProxy: "none.invalid"}, ca, nil)
	judge(t, registryauth.Verify(t.Context(), e.cfg, login("ci", canary), []providers.Grant{{Repository: "acme/app", Access: providers.Push}}), "", "")
}

// T1: each fault below or at the registry ends in time, with its kind.
func TestEveryFaultOfTheRegistryIsBounded(t *testing.T) {
	t.Parallel()
	ca := httpxtest.NewCA(t)
	for _, flt := range httpxtest.Faults() {
		t.Run(flt.Name, func(t *testing.T) {
			t.Parallel()
			e := setup(t, flt.Start(t, ca), providers.Account{}, ca, nil)
			ctx, cancel := context.WithTimeout(t.Context(), httpxtest.Limit(flt))
			defer cancel()
			err := registryauth.Verify(ctx, e.cfg, login("ci", canary), nil)
			if err == nil {
				if flt.Kind != "" || flt.Name == "HTML page" {
					t.Fatal("passed")
				}
				return // 200 to everybody: an open registry, whatever the body
			}
			k := providers.KindOf(err)
			switch {
			case flt.Name == "401", flt.Name == "404", flt.Name == "HTML page":
				if k != providers.Misconfigured { // no challenge; no API
					t.Errorf("%s: %v", k, err)
				}
			case k != providers.Unavailable:
				t.Errorf("%s: %v", k, err)
			}
			if len(httpxtest.Leaks(err.Error()+e.log.String(), canary)) > 0 {
				t.Errorf("secret in %v", err)
			}
		})
	}
}
