// SPDX-License-Identifier: Apache-2.0

package github_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

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
