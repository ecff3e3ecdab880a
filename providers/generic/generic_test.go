// SPDX-License-Identifier: Apache-2.0

package generic_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/generic"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/providers/internal/registryauth/registryauthtest"
)

const canary = "CNRYgeneric0123456789abcdef012345"

func account() providers.Account {
	return providers.Account{Name: "work", Username: "ci", Password: providers.SecretRef{Scheme: "keyring", Value: "work"}, Options: generic.New().Options()}
}

func open(t *testing.T, a providers.Account, secret string) (providers.Source, *httpxtest.Log) {
	t.Helper()
	secrets := map[string]string{}
	if secret != "" {
		secrets["keyring:work"] = secret
	}
	d, log := httpxtest.Deps(t, secrets)
	s, err := generic.New().Open(a, d)
	if err != nil {
		t.Fatal(err)
	}
	return s, log
}

func TestSavedLoginIsHandedOutAsItIs(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		user, secret, origin string
		expires              time.Duration
		grants               []providers.Grant
		wider                bool
	}{
		"user and password":          {"ci", `p:w$ö "x"`, "saved login as ci", 0, nil, false},
		"identity token":             {"<token>", canary, "saved identity token", 0, nil, false},
		"an expiry the account says": {"AWS", canary, "saved login as AWS", 12 * time.Hour, nil, false},
		"grants cannot be narrowed":  {"ci", canary, "saved login as ci", 0, []providers.Grant{{Repository: "a", Access: providers.Pull}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			a := account()
			a.Username, a.ExpiresIn = tc.user, providers.Duration(tc.expires)
			s, log := open(t, a, tc.secret)
			c, err := s.Mint(t.Context(), providers.Request{Host: httpxtest.Host(t, "reg.example"), Grants: tc.grants})
			if err != nil {
				t.Fatal(err)
			}
			if c.Username != tc.user || c.Secret.Reveal() != tc.secret || c.Life() != tc.expires || c.Wider != tc.wider || c.Origin != tc.origin || c.IssuedAt.IsZero() {
				t.Errorf("got %+v", c)
			}
			if log.String() != "" {
				t.Errorf("logged %q", log)
			}
		})
	}
}

func TestOneSecretServesEveryRequest(t *testing.T) {
	t.Parallel()
	s, _ := open(t, account(), canary)
	r := providers.Request{Grants: []providers.Grant{{Repository: "a", Access: providers.Pull}}}
	if s.Key(r) != s.Key(providers.Request{}) {
		t.Error("keys differ")
	}
}

func TestIncompleteAccountsSayWhatToRun(t *testing.T) {
	t.Parallel()
	p, err := providers.ParsePattern("reg.example:5000")
	if err != nil {
		t.Fatal(err)
	}
	for want, edit := range map[string]func(*providers.Account){
		`account "work": no username; set username, or run: regmint login reg.example:5000`: func(a *providers.Account) { a.Username = "" },
		"run: regmint login reg.example:5000":                                               func(a *providers.Account) { a.Password = providers.SecretRef{} },
		"username holds a line break":                                                       func(a *providers.Account) { a.Username = "a\rb" },
		"rotate has no meaning":                                                             func(a *providers.Account) { a.Rotate = providers.Duration(time.Hour) },
		"endpoint has no meaning":                                                           func(a *providers.Account) { a.Endpoint = "https://x.example" },
		"options of another provider":                                                       func(a *providers.Account) { a.Options = &struct{}{} },
		"ca_file":                                                                           func(a *providers.Account) { a.CAFile = "/does/not/exist" },
	} {
		a := account()
		a.Hosts = []providers.Pattern{p}
		edit(&a)
		d, _ := httpxtest.Deps(t, nil)
		if _, err := generic.New().Open(a, d); providers.KindOf(err) != providers.Misconfigured || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	s, _ := open(t, account(), "")
	_, err = s.Mint(t.Context(), providers.Request{Host: httpxtest.Host(t, "reg.example")})
	if providers.KindOf(err) != providers.LoginRequired || !strings.HasSuffix(err.Error(), "; run: regmint login reg.example") {
		t.Errorf("got %v", err)
	}
	s, _ = open(t, account(), "a\nb")
	if _, err := s.Mint(t.Context(), providers.Request{}); providers.KindOf(err) != providers.Misconfigured || strings.Contains(err.Error(), "a\nb") {
		t.Errorf("got %v", err)
	}
}

func TestVerifyAsksTheRegistryOfTheRequest(t *testing.T) {
	t.Parallel()
	ca := httpxtest.NewCA(t)
	f := &registryauthtest.Fake{
		Service: "s", Users: map[string]string{"ci": canary}, Refresh: map[string]string{canary + "r": "ci"},
		Rights: map[string]map[string][]string{"ci": {"a": {"pull"}}}, Exists: []string{"a"},
	}
	host := httpxtest.Host(t, ca.Server(t, f).Listener.Addr().String())
	for name, tc := range map[string]struct {
		user, secret string
		access       providers.Access
		kind         providers.Kind
	}{
		"good":                {"ci", canary, providers.Pull, ""},
		"may not push":        {"ci", canary, providers.Push, providers.Denied},
		"revoked":             {"ci", canary + "old", providers.Pull, providers.LoginRequired},
		"identity token":      {"<token>", canary + "r", providers.Pull, ""},
		"dead identity token": {"<token>", canary + "x", providers.Pull, providers.LoginRequired},
	} {
		t.Run(name, func(t *testing.T) {
			a := account()
			a.Username, a.CAFile = tc.user, ca.File()
			s, log := open(t, a, tc.secret)
			r := providers.Request{Host: host, Grants: []providers.Grant{{Repository: "a", Access: tc.access}}}
			c, err := s.Mint(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			err = s.(providers.Verifier).Verify(t.Context(), r, c)
			if (err == nil) != (tc.kind == "") || err != nil && providers.KindOf(err) != tc.kind {
				t.Errorf("got %v", err)
			}
			if l := httpxtest.Leaks(fmt.Sprint(err, log), canary); len(l) > 0 {
				t.Errorf("secret in %v", err)
			}
		})
	}
}

// T1: whatever happens to the registry, verifying ends and names it; only a
// refusal of the credential itself asks for a login.
func TestEveryFaultOfTheRegistryHasItsKind(t *testing.T) {
	t.Parallel()
	ca := httpxtest.NewCA(t)
	for _, f := range httpxtest.Faults() {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			a := account()
			a.CAFile = ca.File()
			s, log := open(t, a, canary)
			r := providers.Request{Host: httpxtest.Host(t, f.Start(t, ca))}
			ctx, cancel := context.WithTimeout(t.Context(), httpxtest.Limit(f))
			defer cancel()
			c, err := s.Mint(ctx, r)
			if err != nil {
				t.Fatalf("minting needs no network: %v", err)
			}
			err = s.(providers.Verifier).Verify(ctx, r, c)
			want := map[string]providers.Kind{
				"401": providers.Misconfigured, "404": providers.Misconfigured, "HTML page": providers.Misconfigured,
				"garbage JSON": "", "empty body": "", "empty object": "", "null": "", "UTF-16": "",
			}
			kind, ok := want[f.Name]
			if !ok {
				kind = providers.Unavailable
			}
			if (err == nil) != (kind == "") || err != nil && providers.KindOf(err) != kind {
				t.Errorf("got %v (%s), want %q", err, providers.KindOf(err), kind)
			}
			if l := httpxtest.Leaks(fmt.Sprint(err, log), canary); len(l) > 0 {
				t.Errorf("secret in %v", err)
			}
		})
	}
}

func TestFileOfTheSecretIsWatched(t *testing.T) {
	t.Parallel()
	a := account()
	a.Password = providers.SecretRef{Scheme: "file", Value: "/run/secret"}
	s, _ := open(t, a, "")
	if w := s.(providers.Watcher).Watches(); len(w) != 1 || w[0] != "/run/secret" {
		t.Errorf("got %q", w)
	}
}
