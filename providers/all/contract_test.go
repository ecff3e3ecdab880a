// SPDX-License-Identifier: Apache-2.0

package all_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/acr"
	"github.com/regmint/regmint/providers/all"
	"github.com/regmint/regmint/providers/ecr"
	"github.com/regmint/regmint/providers/gar"
	"github.com/regmint/regmint/providers/github"
	"github.com/regmint/regmint/providers/gitlab"
	"github.com/regmint/regmint/providers/httpexchange"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/providers/internal/oidc"
)

const canary = "CNRYcontract0123456789abcdef01234"

// samples is one account of each provider that opens. A new provider adds its
// own here; without it the suite fails.
var samples = map[string]func(*providers.Account){
	"acr": func(a *providers.Account) {
		a.Username, a.Options = "", &acr.Options{TenantID: "11111111-2222-3333-4444-555555555555", ClientID: "66666666-7777-8888-9999-000000000000"}
	},
	"gar": func(a *providers.Account) {
		a.Username, a.Password = "", providers.SecretRef{}
		a.Options = &gar.Options{
			WorkloadIdentityProvider: "projects/123456789012/locations/global/workloadIdentityPools/ci/providers/github",
			WebIdentity:              oidc.Ref{Kind: "ref", Refs: []providers.SecretRef{{Scheme: "env", Value: "TOKEN"}}},
		}
	},
	"ecr": func(a *providers.Account) {
		a.Username, a.Password = "", providers.SecretRef{}
		a.Options = &ecr.Options{
			AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: providers.SecretRef{Scheme: "env", Value: "KEY"},
			RoleARN: providers.Strings{"arn:aws:iam::123456789012:role/ci"}, Registry: map[string]string{"reg.example": "123456789012.dkr.ecr.eu-west-1.amazonaws.com"},
		}
	},
	"dockerhub": func(*providers.Account) {},
	"gitlab":    func(a *providers.Account) { a.Options = &gitlab.Options{URL: "https://gitlab.example"} },
	"generic":   func(*providers.Account) {},
	"github":    func(a *providers.Account) { a.Options = &github.Options{ClientID: "Iv23liEXAMPLE"} },
	"http-exchange": func(a *providers.Account) {
		a.Options = &httpexchange.Options{
			URL: "https://sts.example/token", Headers: map[string]string{"Authorization": "Bearer {{.Secret}}"},
			Form: map[string]string{"secret": "{{.Secret}}", "scope": "{{.Scope}}"}, PasswordPath: "token", ExpiresInPath: "expires_in",
		}
	},
}

func sample(t *testing.T, p providers.Provider) providers.Account {
	t.Helper()
	edit, ok := samples[p.Name()]
	if !ok {
		t.Fatalf("provider %s has no sample account in this test", p.Name())
	}
	pat, err := providers.ParsePattern("reg.example")
	if err != nil {
		t.Fatal(err)
	}
	a := providers.Account{
		Name: "sample", Provider: p.Name(), Hosts: []providers.Pattern{pat}, Username: "ci",
		Password: providers.SecretRef{Scheme: "keyring", Value: "sample"}, NoProxy: "none.invalid", Options: p.Options(),
	}
	edit(&a)
	return a
}

func each(t *testing.T, f func(t *testing.T, p providers.Provider)) {
	t.Helper()
	for _, p := range all.List() {
		t.Run(p.Name(), func(t *testing.T) { f(t, p) })
	}
}

func TestNamesAreConfigurationKeysAndGenericIsLast(t *testing.T) {
	seen := map[string]bool{}
	list := all.List()
	for _, p := range list {
		n := p.Name()
		if n == "" || strings.Trim(n, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || seen[n] {
			t.Errorf("name %q", n)
		}
		seen[n] = true
	}
	if list[len(list)-1].Name() != "generic" {
		t.Error("generic must be asked last")
	}
}

func TestEnvNamesIdentitiesNeverEndpointsProxiesOrPaths(t *testing.T) {
	each(t, func(t *testing.T, p providers.Provider) {
		for i, n := range p.Env() {
			if n == "" || strings.ToUpper(n) != n || slices.Contains(p.Env()[:i], n) {
				t.Errorf("%q", n)
			}
			for _, bad := range []string{"PROXY", "ENDPOINT", "CA_BUNDLE", "SSL_CERT", "LD_", "HOME"} {
				if n == "CI_DEPENDENCY_PROXY_SERVER" { // a host of images that a job token is for, no network proxy
					continue
				}
				if strings.Contains(n, bad) || n == "PATH" {
					t.Errorf("%s does not select an identity", n)
				}
			}
		}
	})
}

// optionKeys lists the toml keys of a provider's options.
func optionKeys(t *testing.T, p providers.Provider) []reflect.StructField {
	t.Helper()
	v := reflect.TypeOf(p.Options())
	if v == nil || v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		t.Fatalf("options are %v, want a pointer to a struct", v)
	}
	var out []reflect.StructField
	for i := range v.Elem().NumField() {
		if f := v.Elem().Field(i); f.IsExported() && f.Tag.Get("toml") != "-" {
			out = append(out, f)
		}
	}
	return out
}

func TestEveryOptionHasAKeyOfItsOwnAndADescription(t *testing.T) {
	common := map[string]bool{}
	acc := reflect.TypeFor[providers.Account]()
	for i := range acc.NumField() {
		common[acc.Field(i).Tag.Get("toml")] = true
	}
	each(t, func(t *testing.T, p providers.Provider) {
		seen := map[string]bool{}
		for _, f := range optionKeys(t, p) {
			key, doc := f.Tag.Get("toml"), f.Tag.Get("doc")
			if key == "" || strings.Trim(key, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" || seen[key] || common[key] {
				t.Errorf("%s: key %q", f.Name, key)
			}
			if doc == "" || strings.HasSuffix(doc, ".") {
				t.Errorf("%s: description %q", f.Name, doc)
			}
			seen[key] = true
		}
		if reflect.ValueOf(p.Options()).Elem().NumField() > 0 && p.Options() == p.Options() {
			t.Error("two accounts would share their options")
		}
	})
}

// envRefs is what the agent asserts on options.
type envRefs interface{ EnvRefs() []string }

func TestOptionsThatNameVariablesSayWhich(t *testing.T) {
	each(t, func(t *testing.T, p providers.Provider) {
		for _, f := range optionKeys(t, p) {
			if f.Type != reflect.TypeFor[providers.SecretRef]() {
				continue
			}
			o := p.Options()
			reflect.ValueOf(o).Elem().FieldByIndex(f.Index).Set(reflect.ValueOf(providers.SecretRef{Scheme: "env", Value: "SOME_NAME"}))
			e, ok := o.(envRefs)
			if !ok || !slices.Contains(e.EnvRefs(), "SOME_NAME") {
				t.Errorf("%s = \"env:SOME_NAME\" is not in EnvRefs", f.Tag.Get("toml"))
			}
		}
	})
}

func TestEveryProviderHasAPageWithAllItsKeys(t *testing.T) {
	each(t, func(t *testing.T, p providers.Provider) {
		b, err := os.ReadFile(filepath.Join("..", "..", "docs", "registries", p.Name()+".md"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range optionKeys(t, p) {
			if !strings.Contains(string(b), "`"+f.Tag.Get("toml")+"`") {
				t.Errorf("the page does not explain `%s`", f.Tag.Get("toml"))
			}
		}
		for _, h := range []string{"provider = \"" + p.Name() + "\"", "## ", "regmint "} {
			if !strings.Contains(string(b), h) {
				t.Errorf("the page lacks %q", h)
			}
		}
	})
}

func TestMatchIsPureAndGenericClaimsNothing(t *testing.T) {
	var hosts []providers.Host
	for _, s := range []string{
		"docker.io", "ghcr.io", "reg.example", "localhost:5000", "123456789012.dkr.ecr.us-east-1.amazonaws.com", "x.azurecr.io", "europe-docker.pkg.dev", "quay.io",
		"registry.gitlab.com", "[::1]:5000",
	} {
		hosts = append(hosts, httpxtest.Host(t, s))
	}
	var hostile []providers.Host // H25, H28, H29: the right letters in the wrong place
	for _, s := range []string{
		"123456789012.dkr.ecr.us-east-1.amazonaws.com.evil.example", "ghcr.io.evil.example", "evil-ghcr.io", "xazurecr.io", "x.azurecr.io.attacker.example", "pkg.dev.evil.example",
		"quay.io.evil.example", "docker.io.evil.example",
	} {
		hostile = append(hostile, httpxtest.Host(t, s))
	}
	each(t, func(t *testing.T, p providers.Provider) {
		if p.Match(providers.Host{}) {
			t.Error("claims no host at all")
		}
		for _, h := range hosts {
			if got := p.Match(h); got != p.Match(h) || got && p.Name() == "generic" {
				t.Errorf("%s: %v", h, got)
			}
		}
		for _, h := range hostile {
			if p.Match(h) {
				t.Errorf("claims %s", h)
			}
		}
	})
}

// deps counts what a provider does behind its surroundings: network by way of
// the only proxy, secrets by way of Resolve.
type counted struct {
	providers.Deps
	log              *httpxtest.Log
	requests, secret atomic.Int32
}

func surround(t *testing.T, status int) *counted {
	t.Helper()
	c := &counted{}
	c.Deps, c.log = httpxtest.Deps(t, nil)
	c.Resolve = func(context.Context, providers.SecretRef) (providers.Secret, error) {
		c.secret.Add(1)
		return providers.NewSecret(canary), nil
	}
	c.Network.HTTPSProxy = httpxtest.Proxy(t, status, "", func(*http.Request) { c.requests.Add(1) }).URL
	return c
}

func TestOpenTouchesNeitherNetworkNorSecrets(t *testing.T) {
	each(t, func(t *testing.T, p providers.Provider) {
		c := surround(t, http.StatusBadGateway)
		if _, err := p.Open(sample(t, p), c.Deps); err != nil {
			t.Fatal(err)
		}
		if c.requests.Load() != 0 || c.secret.Load() != 0 {
			t.Errorf("%d requests, %d secrets read", c.requests.Load(), c.secret.Load())
		}
	})
}

func isError(t *testing.T, err error, kinds ...providers.Kind) {
	t.Helper()
	e, ok := errors.AsType[*providers.Error](err)
	if !ok || e.Err == nil || !slices.Contains(kinds, e.Kind) {
		t.Errorf("want an *Error of kind %v, got %T: %v", kinds, err, err)
		return
	}
	for _, r := range err.Error() {
		if r < 0x20 || r == 0x7f {
			t.Errorf("control character in %q", err.Error())
			break
		}
	}
	if len(httpxtest.Leaks(err.Error(), canary)) > 0 {
		t.Errorf("secret in %v", err)
	}
}

func TestAnAccountThatCannotWorkIsMisconfigured(t *testing.T) {
	each(t, func(t *testing.T, p providers.Provider) {
		c := surround(t, http.StatusBadGateway)
		for name, edit := range map[string]func(*providers.Account){
			"foreign options": func(a *providers.Account) { a.Options = &struct{ X int }{} },
			"absent CA file":  func(a *providers.Account) { a.CAFile = filepath.Join(t.TempDir(), "absent.pem") },
			"bad proxy":       func(a *providers.Account) { a.HTTPSProxy = "http://user:" + canary + "@" },
		} {
			a := sample(t, p)
			edit(&a)
			s, err := p.Open(a, c.Deps)
			if err == nil {
				t.Errorf("%s: opened as %v", name, s)
				continue
			}
			isError(t, err, providers.Misconfigured)
		}
	})
}

func requests(t *testing.T) []providers.Request {
	h := httpxtest.Host(t, "reg.example")
	return []providers.Request{
		{Host: h},
		{Host: h, Grants: []providers.Grant{{Repository: "a/b", Access: providers.Pull}}},
		{Host: h, Grants: []providers.Grant{{Repository: "a/b", Access: providers.Push}, {Repository: "c", Access: providers.Pull}}},
		{Host: h, Grants: []providers.Grant{{Access: providers.Delete}}},
	}
}

func TestKeysAreStableAndHoldNoSecret(t *testing.T) {
	each(t, func(t *testing.T, p providers.Provider) {
		c := surround(t, http.StatusBadGateway)
		one, err := p.Open(sample(t, p), c.Deps)
		if err != nil {
			t.Fatal(err)
		}
		two, err := p.Open(sample(t, p), c.Deps)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range requests(t) {
			k := one.Key(r)
			turned := r
			turned.Grants = slices.Clone(r.Grants)
			slices.Reverse(turned.Grants)
			if k != one.Key(r) || k != two.Key(r) || k != one.Key(turned) {
				t.Errorf("%v: the key changes", r.Grants)
			}
			if len(httpxtest.Leaks(k, canary)) > 0 {
				t.Errorf("secret in the key %q", k)
			}
			if _, makes := one.(providers.Revoker); !makes {
				r.Job = "7f3a"
				if one.Key(r) != k {
					t.Error("the job is part of the key, but nothing is made for it")
				}
			}
		}
		if c.requests.Load() != 0 || c.secret.Load() != 0 {
			t.Error("Key used network or secrets")
		}
	})
}

func TestFailuresAreErrorsWithAHostAndWithoutASecret(t *testing.T) {
	each(t, func(t *testing.T, p providers.Provider) {
		for _, status := range []int{http.StatusForbidden, http.StatusBadGateway, http.StatusProxyAuthRequired} {
			c := surround(t, status)
			s, err := p.Open(sample(t, p), c.Deps)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			for _, r := range requests(t) {
				cred, err := s.Mint(ctx, r)
				if err == nil {
					usable(t, r, cred)
					if v, ok := s.(providers.Verifier); ok {
						err = v.Verify(ctx, r, cred)
					}
				}
				if err == nil {
					t.Error("no upstream, and yet no failure")
					continue
				}
				isError(t, err, providers.Unavailable, providers.Misconfigured)
				if e, ok := errors.AsType[*providers.Error](err); ok && e.Host != r.Host {
					t.Errorf("no host in %v", err)
				}
			}
			if l := httpxtest.Leaks(c.log.String(), canary); len(l) > 0 {
				t.Errorf("secret in the log %s", c.log)
			}
		}
	})
}

func usable(t *testing.T, r providers.Request, c providers.Credential) {
	t.Helper()
	if c.Username == "" || c.Secret.IsZero() || c.IssuedAt.IsZero() || c.Origin == "" || !c.ExpiresAt.IsZero() && !c.ExpiresAt.After(c.IssuedAt) {
		t.Errorf("credential %+v", c)
	}
	if len(r.Grants) == 0 && c.Wider {
		t.Error("wider than no grants at all")
	}
	if strings.Contains(fmt.Sprintf("%v %+v %#v", c, c, c), canary) {
		t.Error("the credential prints its secret")
	}
}

func TestALostSecretAsksForALogin(t *testing.T) {
	each(t, func(t *testing.T, p providers.Provider) {
		c := surround(t, http.StatusBadGateway)
		a := sample(t, p)
		if a.Password.IsZero() { // its identity is not a saved secret
			return
		}
		c.Resolve = func(context.Context, providers.SecretRef) (providers.Secret, error) {
			return providers.Secret{}, errors.New("not found")
		}
		s, err := p.Open(a, c.Deps)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Mint(t.Context(), requests(t)[0])
		isError(t, err, providers.LoginRequired)
		if err == nil || !strings.Contains(err.Error(), "run: regmint login reg.example") {
			t.Errorf("no way out in %v", err)
		}
	})
}
