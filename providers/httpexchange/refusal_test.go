// SPDX-License-Identifier: Apache-2.0

package httpexchange_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/httpexchange"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/providers/internal/oidc"
	"github.com/regmint/regmint/providers/internal/registryauth/registryauthtest"
)

// T1, H53: every fault of the endpoint has its kind, ends with the caller's
// deadline, and neither the secret nor the body shows.
func TestEveryFaultOfTheEndpointHasItsKind(t *testing.T) {
	t.Parallel()
	ca := httpxtest.NewCA(t)
	shape := map[string]providers.Kind{
		"garbage JSON": providers.Unavailable, "empty body": providers.Unavailable, "HTML page": providers.Unavailable, "UTF-16": providers.Unavailable,
		"empty object": providers.Misconfigured, "null": providers.Misconfigured, "redirect loop": providers.Unavailable,
	}
	for _, f := range httpxtest.Faults() {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			a, secrets := basicAccount("https://" + f.Start(t, ca) + "/exchange?q=" + canary)
			a.CAFile = ca.File()
			s, log := open(t, a, secrets)
			ctx, cancel := context.WithTimeout(t.Context(), httpxtest.Limit(f))
			defer cancel()
			want := f.Kind
			if k, ok := shape[f.Name]; ok {
				want = k
			}
			_, err := s.Mint(ctx, request(t))
			e, ok := errors.AsType[*providers.Error](err)
			if !ok || e.Kind != want || e.Host.String() != "reg.example" || !strings.Contains(err.Error(), f.Want) {
				t.Errorf("got %v (%s), want %s", err, providers.KindOf(err), want)
			}
			if l := httpxtest.Leaks(fmt.Sprint(err, log), canary); len(l) > 0 {
				t.Errorf("secret in %v", err)
			}
			if f.Name == "401" && !strings.Contains(err.Error(), "run: regmint login reg.example") {
				t.Errorf("no way out in %v", err)
			}
		})
	}
}

func TestAProxyThatAsksForALoginIsNamed(t *testing.T) {
	t.Parallel()
	p := httpxtest.Proxy(t, 407, "", nil)
	a, secrets := basicAccount("https://sts.example/exchange")
	a.HTTPSProxy = p.URL
	a.NoProxy = "none.invalid"
	s, _ := open(t, a, secrets)
	_, err := s.Mint(t.Context(), request(t))
	if providers.KindOf(err) != providers.Misconfigured || !strings.Contains(err.Error(), "asks for a login (HTTP 407)") {
		t.Errorf("got %v", err)
	}
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		body   string
		secret string
		id     bool
		kind   providers.Kind
		want   string
	}{
		"400 names the code":        {400, `{"error":"invalid_grant","error_description":"unknown issuer"}`, "keyring:sts", false, providers.Misconfigured, "exchange at 127.0.0.1"},
		"401, secret of the store":  {401, `{}`, "keyring:sts", false, providers.LoginRequired, "run: regmint login reg.example"},
		"401, secret apart":         {401, `{}`, "keyring:apart", false, providers.LoginRequired, "write password instead of secret, then run: regmint login reg.example"},
		"401, secret of a variable": {401, `{}`, "env:STS", false, providers.LoginRequired, "renew the secret in env:STS"},
		"401, identity token":       {401, `{}`, "", true, providers.LoginRequired, "check audience"},
		"403":                       {403, `{"errors":["permission denied"]}`, "keyring:sts", false, providers.Denied, "permission denied"},
		"200 with a reason":         {200, `{"error":"access_denied","message":"2FA required"}`, "keyring:sts", false, providers.Misconfigured, "nothing at password_path (token): 2FA required"},
		"200 with an echo":          {200, `{"message":"bad ` + canary + `"}`, "keyring:sts", false, providers.Misconfigured, "text withheld"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httpxtest.Plain(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			}))
			a, _ := basicAccount(srv.URL + "/x")
			o := a.Options.(*httpexchange.Options)
			if tc.id {
				o.IdentityToken = identity(t, "env:ID")
				o.Form, o.Headers = map[string]string{"t": "{{.IdentityToken}}"}, nil
			} else if tc.secret != "keyring:sts" {
				o.Secret = ref(t, tc.secret)
			}
			s, _ := open(t, a, map[string]string{"keyring:sts": canary, "keyring:apart": canary, "env:STS": canary, "env:ID": "opaque"})
			_, err := s.Mint(t.Context(), request(t))
			want := tc.want
			if name == "400 names the code" {
				want = "HTTP 400 at http://" + srv.Listener.Addr().String() + "/x: invalid_grant: unknown issuer"
			}
			if providers.KindOf(err) != tc.kind || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), canary) {
				t.Errorf("got %v (%s)", err, providers.KindOf(err))
			}
		})
	}
}

// An endpoint that repeats a field of the form does not get it into an error.
func TestSecretOfTheBodyIsKeptOutOfErrors(t *testing.T) {
	t.Parallel()
	srv := httpxtest.Plain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(400)
		_, _ = fmt.Fprintf(w, `{"error":"invalid_request","error_description":%q}`, "you sent "+r.PostFormValue("secret"))
	}))
	a, secrets := basicAccount(srv.URL + "/x")
	a.Options.(*httpexchange.Options).Headers = nil
	s, log := open(t, a, secrets)
	_, err := s.Mint(t.Context(), request(t))
	if providers.KindOf(err) != providers.Misconfigured || !strings.Contains(err.Error(), "invalid_request") || len(httpxtest.Leaks(fmt.Sprint(err, log), canary)) > 0 {
		t.Errorf("got %v", err)
	}
}

// H46: the exchange's secret stays on its origin.
func TestRedirectOfTheExchangeIsRefused(t *testing.T) {
	t.Parallel()
	other := httpxtest.Plain(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s arrived", r.URL) }))
	for _, code := range []int{301, 302, 303, 307, 308} {
		srv := httpxtest.Plain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, code) }))
		for _, method := range []string{"POST", "GET"} {
			a, secrets := basicAccount(srv.URL + "/x")
			if o := a.Options.(*httpexchange.Options); method == "GET" {
				o.Method, o.Form = method, nil
			}
			s, _ := open(t, a, secrets)
			if _, err := s.Mint(t.Context(), request(t)); providers.KindOf(err) != providers.Unavailable || !strings.Contains(err.Error(), "redirect to another origin") {
				t.Errorf("%s %d: %v", method, code, err)
			}
		}
	}
}

func TestAPostIsSentAgainOnlyWhereItMayBe(t *testing.T) {
	t.Parallel()
	for _, retry := range []bool{false, true} {
		calls := 0
		srv := httpxtest.Plain(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { calls++; w.WriteHeader(502) }))
		a, secrets := basicAccount(srv.URL + "/x")
		a.Options.(*httpexchange.Options).Retry = retry
		s, _ := open(t, a, secrets)
		if _, err := s.Mint(t.Context(), request(t)); err == nil {
			t.Error("502 passed")
		}
		if want := map[bool]int{false: 1, true: 3}[retry]; calls != want {
			t.Errorf("retry %v: %d calls", retry, calls)
		}
	}
}

// A value can steer neither the host nor another header.
func TestValuesCannotSteerTheRequest(t *testing.T) {
	t.Parallel()
	srv := httpxtest.Plain(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s arrived", r.URL) }))
	a, secrets := basicAccount(srv.URL + "/x")
	a.Username = "ci\x1b"
	a.Options.(*httpexchange.Options).Headers = map[string]string{"X-User": "{{.Username}}"}
	s, _ := open(t, a, secrets)
	if _, err := s.Mint(t.Context(), request(t)); providers.KindOf(err) != providers.Misconfigured || !strings.Contains(err.Error(), "X-User holds a control character") {
		t.Errorf("got %v", err)
	}
}

func TestMissingSecretSaysWhichAndHow(t *testing.T) {
	t.Parallel()
	a, _ := basicAccount("https://sts.example/x")
	s, _ := open(t, a, nil)
	_, err := s.Mint(t.Context(), request(t))
	if providers.KindOf(err) != providers.LoginRequired || err.Error() != "reg.example: keyring:sts: not found; run: regmint login reg.example" {
		t.Errorf("got %v", err)
	}
}

func TestVerifyAsksTheRegistry(t *testing.T) {
	t.Parallel()
	f := &registryauthtest.Fake{Service: "s", Users: map[string]string{"ci": "minted"}}
	reg := httpxtest.Plain(t, f)
	a, secrets := basicAccount("https://sts.example/x")
	s, _ := open(t, a, secrets)
	v, ok := s.(providers.Verifier)
	if !ok {
		t.Fatal("no Verifier")
	}
	r := providers.Request{Host: httpxtest.Host(t, reg.Listener.Addr().String())}
	for pass, kind := range map[string]providers.Kind{"minted": "", "stale": providers.LoginRequired} {
		err := v.Verify(t.Context(), r, providers.Credential{Username: "ci", Secret: providers.NewSecret(pass)})
		if (err == nil) != (kind == "") || err != nil && providers.KindOf(err) != kind {
			t.Errorf("%s: %v", pass, err)
		}
	}
}

func TestVariablesAndFilesOfTheOptionsAreNamed(t *testing.T) {
	t.Parallel()
	o := &httpexchange.Options{Secret: ref(t, "env:STS_SECRET"), IdentityToken: identity(t, "github")}
	got := map[string]bool{}
	for _, n := range o.EnvRefs() {
		got[n] = true
	}
	if want := map[string]bool{"STS_SECRET": true, oidc.GitHubURL: true, oidc.GitHubToken: true}; !maps.Equal(got, want) {
		t.Errorf("variables %v", got)
	}
	s, _ := open(t, providers.Account{Username: "ci", Password: ref(t, "file:/run/secret"), ExpiresIn: 1, Options: &httpexchange.Options{
		URL: "https://sts.example/", IdentityToken: identity(t, "kubernetes"), Headers: map[string]string{"A": "{{.Secret}}{{.IdentityToken}}"}, PasswordPath: "t",
	}}, nil)
	if w := fmt.Sprint(s.(providers.Watcher).Watches()); !strings.Contains(w, "/run/secret") || !strings.Contains(w, "kubernetes.io/serviceaccount/token") {
		t.Errorf("files %s", w)
	}
}
