// SPDX-License-Identifier: Apache-2.0

package oidc_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/providers/internal/oidc"
)

const canary = "CNRYoidc0123456789abcdef012345678"

func jwt(aud string, exp time.Time) string {
	p := fmt.Sprintf(`{"iss":"https://issuer.example","aud":%s,"exp":%d}`, aud, exp.Unix())
	return "eyJhbGciOiJSUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(p)) + "." + canary
}

func mustRef(t *testing.T, s string) oidc.Ref {
	t.Helper()
	r, err := oidc.ParseRef(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func config(t *testing.T, ref, audience string, secrets map[string]string, ca *httpxtest.CA) (oidc.Config, *httpxtest.Log) {
	t.Helper()
	deps, log := httpxtest.Deps(t, secrets)
	a := providers.Account{}
	if ca != nil {
		a.CAFile = ca.File()
	}
	c, err := httpx.New(httpx.ConfigOf(a, deps))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdle)
	return oidc.Config{Ref: mustRef(t, ref), Audience: audience, Host: httpxtest.Host(t, "reg.example"), Deps: deps, HTTP: c}, log
}

// runner is the token service of a GitHub Actions runner.
type runner struct{ calls int }

func (g *runner) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.calls++
	if r.Header.Get("Authorization") != "bearer "+canary+"request" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	aud := r.URL.Query().Get("audience")
	if aud == "" {
		aud = "https://github.com/acme"
	}
	if r.URL.Query().Get("api-version") != "2.0" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	_, _ = fmt.Fprintf(w, `{"count":1,"value":%q}`, jwt(fmt.Sprintf("%q", aud), time.Now().Add(5*time.Minute)))
}

func TestGitHubTokenIsAskedForAnewWithItsAudience(t *testing.T) {
	t.Parallel()
	ca := httpxtest.NewCA(t)
	g := &runner{}
	s := ca.Server(t, g)
	secrets := map[string]string{"env:" + oidc.GitHubURL: s.URL + "/token?api-version=2.0", "env:" + oidc.GitHubToken: canary + "request"}
	c, _ := config(t, "github", "sts.example", secrets, ca)
	for range 2 {
		tok, err := oidc.Token(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if m, ok := httpx.JWTClaims(tok.Reveal()); !ok || m["aud"] != "sts.example" {
			t.Errorf("claims %v", m)
		}
	}
	if g.calls != 2 {
		t.Errorf("%d calls", g.calls)
	}
	// An ambient identity brings the values itself.
	c2, _ := config(t, "github", "", nil, ca)
	c2.Deps.Env = map[string]string{oidc.GitHubURL: s.URL + "/token?api-version=2.0", oidc.GitHubToken: canary + "request"}
	if _, err := oidc.Token(t.Context(), c2); err != nil {
		t.Error(err)
	}
}

func TestGitHubRequestTokenStaysOnItsOrigin(t *testing.T) {
	t.Parallel()
	ca := httpxtest.NewCA(t)
	other := ca.Server(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s arrived at the other origin", r.URL) }))
	s := ca.Server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	}))
	for url, want := range map[string]string{
		s.URL + "/?x=y":          "redirect to another origin",
		"http://runner.example/": "is no https URL",
		"https://u:p@r.example/": "is no valid URL",
		"file:///etc/passwd":     "is no valid URL",
		"https://%zz" + canary:   "is no valid URL",
	} {
		c, log := config(t, "github", "a", map[string]string{"env:" + oidc.GitHubURL: url, "env:" + oidc.GitHubToken: canary + "request"}, ca)
		_, err := oidc.Token(t.Context(), c)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "reg.example: identity token") {
			t.Errorf("%s: %v", url, err)
		}
		if l := httpxtest.Leaks(fmt.Sprint(err, log), canary); len(l) > 0 {
			t.Errorf("secret in %v", err)
		}
	}
}

// short wants a hint that leaves room for a long host and the reason in an
// answer of 160 characters.
func short(t *testing.T, err error) {
	t.Helper()
	if e, ok := errors.AsType[*providers.Error](err); !ok || len(e.Hint) > 75 {
		t.Errorf("a hint of %d characters: %v", len(e.Hint), err)
	}
}

func TestMissingTokensSayWhatTheJobLacks(t *testing.T) {
	t.Parallel()
	for ref, want := range map[string]string{
		"github":                       "env:ACTIONS_ID_TOKEN_REQUEST_URL: not found; add permissions: id-token: write to the job",
		"gitlab:MY_TOKEN":              "env:MY_TOKEN: not found; add id_tokens: to the job",
		"gitlab:/run/token":            "file:/run/token: not found; add id_tokens: to the job",
		"kubernetes":                   "/token: not found; mount a service account token in the pod",
		"bitbucket":                    "env:BITBUCKET_STEP_OIDC_TOKEN: not found; add oidc: true to the step",
		"circleci":                     "env:CIRCLE_OIDC_TOKEN_V2: not found; only CircleCI's jobs have it",
		"buildkite":                    "env:BUILDKITE_AGENT_ACCESS_TOKEN: not found; run it inside a Buildkite job",
		"env:SOME_TOKEN":               "env:SOME_TOKEN: not found",
		"exec:/usr/local/bin/identity": "exec:/usr/local/bin/identity: not found",
	} {
		c, _ := config(t, ref, "a", nil, nil)
		_, err := oidc.Token(t.Context(), c)
		if providers.KindOf(err) != providers.Misconfigured || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "reg.example: identity token: ") {
			t.Errorf("%s: %v", ref, err)
		}
		short(t, err)
	}
	c, _ := config(t, "github", "a", nil, nil)
	c.Ref = oidc.Ref{}
	if _, err := oidc.Token(t.Context(), c); providers.KindOf(err) != providers.Misconfigured {
		t.Errorf("no reference: %v", err)
	}
}

func TestTokensForOthersOrOfYesterdayAreNotSent(t *testing.T) {
	t.Parallel()
	later, before := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	for name, tc := range map[string]struct {
		ref, token string
		kind       providers.Kind
		want       string
	}{
		"good":              {"env:T", jwt(`"a"`, later), "", ""},
		"good, one of many": {"env:T", jwt(`["b","a"]`, later), "", ""},
		"no audience in it": {"env:T", jwt(`null`, later), "", ""},
		"opaque":            {"env:T", "opaque", "", ""},
		"another audience": {
			"kubernetes", jwt(`["https://kubernetes.default.svc"]`, later), providers.Misconfigured,
			"is not for a but for https://kubernetes.default.svc; project one with that audience, use kubernetes:/PATH",
		},
		"another audience in GitLab": {"gitlab", jwt(`"b"`, later), providers.Misconfigured, "is not for a but for b; set aud: in the job's id_tokens:"},
		"another audience in Bitbucket": {
			"bitbucket", jwt(`["ari:cloud:bitbucket::workspace/1"]`, later), providers.Misconfigured,
			"is not for a but for ari:cloud:bitbucket::workspace/1; add it to oidc: audiences: of the step",
		},
		"another audience of anybody": {"env:T", jwt(`"b"`, later), providers.Misconfigured, "identity token of env:T is not for a but for b"},
		"expired":                     {"gitlab:T", jwt(`"a"`, before), providers.LoginRequired, "identity token of gitlab:T expired at 2"},
		"expired in GitLab":           {"gitlab:T", jwt(`"a"`, before), providers.LoginRequired, "; GitLab gives it once a job: it lives as long as the job's timeout"},
		"expired in Bitbucket":        {"bitbucket", jwt(`"a"`, before), providers.LoginRequired, "; Bitbucket gives it once a step"},
		"expired in a pod":            {"kubernetes:/run/token", jwt(`"a"`, before), providers.LoginRequired, "; the kubelet renews a mounted token; a copy of it dies"},
		"a line break":                {"env:T", "a\nb", providers.Misconfigured, "a line break"},
	} {
		t.Run(name, func(t *testing.T) {
			r := mustRef(t, tc.ref)
			c, _ := config(t, tc.ref, "a", map[string]string{r.Refs[0].String(): tc.token}, nil)
			s, err := oidc.Token(t.Context(), c)
			if tc.kind == "" {
				if err != nil || s.Reveal() != tc.token {
					t.Errorf("got %v", err)
				}
				return
			}
			if providers.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), canary) {
				t.Errorf("got %v", err)
			}
			short(t, err)
		})
	}
}

// A projected token is rotated in place: the file is read for every use.
func TestFileTokenIsReadForEveryUse(t *testing.T) {
	t.Parallel()
	reads := 0
	c, _ := config(t, "kubernetes", "", nil, nil)
	c.Deps.Resolve = func(context.Context, providers.SecretRef) (providers.Secret, error) {
		reads++
		return providers.NewSecret(fmt.Sprint("token-", reads)), nil
	}
	for i := range 3 {
		s, err := oidc.Token(t.Context(), c)
		if err != nil || s.Reveal() != fmt.Sprint("token-", i+1) {
			t.Errorf("got %v", err)
		}
	}
}

// T1: the runner's service fails in every way; the request token never shows.
func TestEveryFaultOfTheRunnerIsBounded(t *testing.T) {
	t.Parallel()
	ca := httpxtest.NewCA(t)
	for _, f := range httpxtest.Faults() {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			addr := f.Start(t, ca)
			c, log := config(t, "github", "a", map[string]string{"env:" + oidc.GitHubURL: "https://" + addr + "/?api-version=2.0", "env:" + oidc.GitHubToken: canary + "request"}, ca)
			ctx, cancel := context.WithTimeout(t.Context(), httpxtest.Limit(f))
			defer cancel()
			_, err := oidc.Token(ctx, c)
			want := f.Kind
			if want == "" {
				want = providers.Unavailable
			}
			if err == nil || providers.KindOf(err) != want {
				t.Errorf("%s: got %v", providers.KindOf(err), err)
			}
			if l := httpxtest.Leaks(fmt.Sprint(err, log), canary); len(l) > 0 {
				t.Errorf("secret in %v", err)
			}
		})
	}
}
