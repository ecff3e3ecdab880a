// SPDX-License-Identifier: Apache-2.0

package github_test

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/github"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/test/fakecloud"
	fake "github.com/regmint/regmint/test/fakecloud/github"
)

func TestATokenServesWhileTheAPIDoesNot(t *testing.T) {
	t.Parallel()
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

func TestFaultsOfTheAPIAreWordedAndLeakNothing(t *testing.T) { // the fault matrix
	t.Parallel()
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

// GitHub refuses too many requests with the 403 of missing rights (docs: rate
// limits for the REST API).
func TestLimitsOfGitHubAreNoLackOfRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, _ := w.minter()
	reset := strconv.FormatInt(w.c.Now().Add(20*time.Minute).Unix(), 10)
	for name, x := range map[string]struct {
		fault    fakecloud.Fault
		from, to time.Duration
	}{
		"secondary, with Retry-After": {fakecloud.Fault{Status: 403, Header: http.Header{"Retry-After": {"90"}}, Body: `{"message":"You have exceeded a secondary rate limit"}`}, 90 * time.Second, 90 * time.Second},
		"secondary, without a word":   {fakecloud.Fault{Status: 403, Body: `{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}`}, time.Minute, time.Minute},
		"primary":                     {fakecloud.Fault{Status: 403, Header: http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {reset}}, Body: `{"message":"API rate limit exceeded for user ID 1."}`}, 19 * time.Minute, 20 * time.Minute},
		"429":                         {fakecloud.Fault{Status: 429, Header: http.Header{"Retry-After": {"120"}}}, time.Minute, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			x.fault.Host = "api.github.com"
			w.c.ClearFaults()
			w.c.Inject(x.fault)
			before := len(w.c.Requests())
			_, err := s.Mint(t.Context(), w.request())
			e, ok := errors.AsType[*providers.Error](err)
			if !ok || e.Kind != providers.Unavailable || e.RetryAfter < x.from || e.RetryAfter > x.to || !strings.Contains(err.Error(), "limits how often") || !strings.Contains(e.Hint, "by itself at") {
				t.Errorf("%v, again after %s", err, e.RetryAfter)
			}
			if n := len(w.c.Requests()) - before; n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
	w.c.ClearFaults()
	w.c.Inject(fakecloud.Fault{Host: "api.github.com", Status: 403, Header: http.Header{"X-Ratelimit-Remaining": {"4999"}, "X-Ratelimit-Reset": {reset}}, Body: `{"message":"Resource not accessible by integration"}`})
	_, err := s.Mint(t.Context(), w.request())
	w.refused(err, providers.Denied, "Resource not accessible by integration")
}
