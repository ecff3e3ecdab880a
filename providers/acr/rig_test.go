// SPDX-License-Identifier: Apache-2.0

package acr

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/providers/internal/oidc"
	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/azure"
)

// rig is an Azure with one tenant, one registry and an application that may
// push to it, and the surroundings of an account.
type rig struct {
	t       *testing.T
	cloud   *fakecloud.Cloud
	az      *azure.Azure
	tenant  *azure.Tenant
	reg     *azure.Registry
	app     *azure.Principal
	secret  string
	host    providers.Host
	deps    providers.Deps
	log     *httpxtest.Log
	secrets map[string]string
	shared  Provider
}

func newRig(t *testing.T) *rig {
	t.Helper()
	c := fakecloud.Start(t)
	r := &rig{t: t, cloud: c, az: azure.New(c, azure.Options{}), secrets: map[string]string{}, shared: New()}
	r.tenant = r.az.Tenant(azure.Public, "contoso.onmicrosoft.com")
	r.reg = r.tenant.Registry("acmeregistry")
	r.app = r.tenant.App("ci")
	r.reg.Assign(r.app, azure.AcrPush)
	r.secret = r.app.AddSecret(0)
	r.host = httpxtest.Host(t, r.reg.Host)
	r.secrets["keyring:app"] = r.secret
	r.deps, r.log = httpxtest.Deps(t, r.secrets)
	r.deps.Now = c.Now
	r.deps.Network = providers.Network{HTTPSProxy: c.ProxyURL(), CAFile: c.CAFile(t), NoProxy: "none.invalid"}
	return r
}

// with is the rig in a test below.
func (r *rig) with(t *testing.T) *rig {
	sub := *r
	sub.t = t
	return &sub
}

func ref(t testing.TB, s string) providers.SecretRef {
	t.Helper()
	r, err := providers.ParseSecretRef(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func webIdentity(t testing.TB, s string) oidc.Ref {
	t.Helper()
	r, err := oidc.ParseRef(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func identityOf(t testing.TB, s string) Identity {
	t.Helper()
	var i Identity
	if err := i.UnmarshalText([]byte(s)); err != nil {
		t.Fatal(err)
	}
	return i
}

// bySecret is the options of the rig's application.
func (r *rig) bySecret() Options {
	return Options{TenantID: r.tenant.ID, ClientID: r.app.ClientID, ClientSecret: ref(r.t, "keyring:app")}
}

func (r *rig) account(o Options) providers.Account {
	p, err := providers.ParsePattern(r.host.String())
	if err != nil {
		r.t.Fatal(err)
	}
	return providers.Account{Name: "acme", Provider: "acr", Hosts: []providers.Pattern{p}, Options: &o, Layer: providers.LayerConfigured}
}

func (r *rig) open(o Options, edit ...func(*providers.Account)) *source {
	r.t.Helper()
	a := r.account(o)
	for _, e := range edit {
		e(&a)
	}
	s, err := r.shared.open(a, r.deps)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func ambientLayer(a *providers.Account) { a.Layer = providers.LayerAmbient }

func grants(t testing.TB, list ...string) []providers.Grant {
	t.Helper()
	var out []providers.Grant
	for _, s := range list {
		repo, access, _ := strings.Cut(s, "=")
		g := providers.Grant{Repository: repo}
		if access != "" {
			a, err := providers.ParseAccess(access)
			if err != nil {
				t.Fatal(err)
			}
			g.Access = a
		}
		out = append(out, g)
	}
	return out
}

func (r *rig) mint(s *source, targets ...string) (providers.Credential, error) {
	return s.Mint(r.t.Context(), providers.Request{Host: r.host, Grants: grants(r.t, targets...)})
}

// works fails the test unless a credential is minted that the registry takes.
func (r *rig) works(s *source, targets ...string) providers.Credential {
	r.t.Helper()
	c, err := r.mint(s, targets...)
	if err != nil {
		r.t.Fatal(err)
	}
	if c.Username != User || c.Secret.IsZero() || !c.ExpiresAt.After(c.IssuedAt) || c.Origin == "" {
		r.t.Fatalf("credential %+v", c)
	}
	if err := s.Verify(r.t.Context(), providers.Request{Host: r.host, Grants: grants(r.t, "team/app=pull")}, c); err != nil {
		r.t.Fatalf("the registry refuses what was minted: %v", err)
	}
	return c
}

// fails checks kind and text of an error, and that it holds no secret.
func (r *rig) fails(err error, kind providers.Kind, want ...string) {
	r.t.Helper()
	e, ok := errors.AsType[*providers.Error](err)
	if !ok || e.Err == nil || e.Kind != kind {
		r.t.Errorf("want %s, got %T: %v", kind, err, err)
		return
	}
	if e.Host != r.host {
		r.t.Errorf("no host in %v", err)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			r.t.Errorf("no %q in: %v", w, err)
		}
	}
	for _, s := range r.secrets {
		if len(s) >= 16 && !strings.HasPrefix(s, "https://") && len(httpxtest.Leaks(err.Error()+r.log.String(), s)) > 0 {
			r.t.Errorf("a secret in %v or in the log", err)
		}
	}
}

func (r *rig) file(name, text string) string {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// runs makes Deps.Run a program of this test.
func (r *rig) runs(f func(ctx context.Context, c providers.Command) ([]byte, error)) { r.deps.Run = f }

// calls counts requests to a host whose path begins so.
func (r *rig) calls(host, path string) int {
	return r.cloud.Count(func(q fakecloud.Request) bool { return q.Host == host && strings.HasPrefix(q.Path, path) })
}

func claim(t testing.TB, s providers.Secret, name string) any {
	t.Helper()
	m, ok := httpx.JWTClaims(s.Reveal())
	if !ok {
		t.Fatal("no JWT")
	}
	return m[name]
}

func near(t testing.TB, got time.Time, want time.Time) {
	t.Helper()
	if d := got.Sub(want).Abs(); d > time.Minute {
		t.Errorf("%s, want %s", got, want)
	}
}
