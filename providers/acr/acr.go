// SPDX-License-Identifier: Apache-2.0

// Package acr mints for Azure Container Registry: an Entra access token is
// exchanged for a refresh token of the registry, and that for an access token
// of single repositories where less than everything is asked for.
//
// Wire facts: Azure/acr docs/AAD-OAuth.md and Token-BasicAuth.md for the
// registry, Microsoft's documents of the v2.0 token endpoint, of the device
// authorization grant and of the instance metadata service for Entra. The
// requests to Entra are our own, not azidentity's: see docs/adr.
package acr

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/oidc"
	"github.com/regmint/regmint/providers/internal/registryauth"
)

// User is the user name of every minted credential: the registry reads the
// token alone.
const User = "00000000-0000-0000-0000-000000000000"

// Provider implements providers.Provider, providers.Loginer and
// providers.MintedUser.
type Provider struct {
	absent *absence
}

// New returns the provider. Its sources share what was found out about the
// machine.
func New() Provider { return Provider{absent: &absence{}} }

// Name implements providers.Provider.
func (Provider) Name() string { return "acr" }

// Match implements providers.Provider: login servers of the registries of all
// clouds, global and regional. The public mcr.microsoft.com and data endpoints
// are none.
func (Provider) Match(h providers.Host) bool {
	_, ok := parseServer(h)
	return ok
}

// Env implements providers.Provider.
func (Provider) Env() []string {
	return append([]string{
		envTenant, envClient, envSecret, envCert, envCertPassword, envTokenFile, envAuthority, envConfigDir,
	}, oidc.EnvNames()...)
}

// Options implements providers.Provider.
func (Provider) Options() any { return &Options{} }

// MintedUser implements providers.MintedUser: a token of the registry says
// itself how long it lives.
func (Provider) MintedUser(h providers.Host, user string, secret providers.Secret, now time.Time) (time.Duration, bool) {
	if _, ok := parseServer(h); !ok || user != User {
		return 0, false
	}
	exp, ok := httpx.JWTExpiry(secret.Reveal())
	if !ok {
		return usualLife, true
	}
	return max(exp.Sub(now), 0), true
}

// usualLife is how long refresh tokens of registries live.
const usualLife = 3 * time.Hour

// Open implements providers.Provider. Errors are *Error of kind Misconfigured.
func (p Provider) Open(a providers.Account, d providers.Deps) (providers.Source, error) {
	return p.open(a, d)
}

func (p Provider) open(a providers.Account, d providers.Deps) (*source, error) {
	o, ok := a.Options.(*Options)
	if !ok {
		return nil, bad(a, errors.New("options of acr are missing"))
	}
	pl, err := compile(a, o)
	if err != nil {
		return nil, bad(a, err)
	}
	c, err := httpx.New(httpx.ConfigOf(a, d))
	if err != nil {
		return nil, err
	}
	s := &source{account: a, plan: pl, deps: d, http: c, absent: p.absent}
	s.cache.init(d.Now)
	return s, nil
}

func bad(a providers.Account, err error) *providers.Error {
	return &providers.Error{Kind: providers.Misconfigured, Err: fmt.Errorf("account %q: %w", a.Name, err)}
}

type source struct {
	account providers.Account
	plan    *plan
	deps    providers.Deps
	http    *httpx.Client
	absent  *absence
	cache   tokenCache
	as      identity // in place of the account's own: of a login that is tried
}

// Key implements providers.Source: one refresh token for everything, one
// access token for each set of repositories.
func (s *source) Key(r providers.Request) string {
	scopes, _ := scopesOf(r.Grants)
	if len(scopes) == 0 {
		return "registry"
	}
	return strings.Join(append([]string{"repositories"}, scopes...), " ")
}

// Watches implements providers.Watcher.
func (s *source) Watches() []string {
	out := s.plan.WebIdentity.Watches()
	if f := s.deps.Env[envTokenFile]; f != "" {
		out = append(out, f)
	}
	if f := s.deps.Env[envCert]; f != "" {
		out = append(out, f)
	}
	if s.plan.kind == byAz || s.plan.kind == byAmbient {
		out = append(out, s.azFiles()...)
	}
	return out
}

// Mint implements providers.Source.
func (s *source) Mint(ctx context.Context, r providers.Request) (providers.Credential, error) {
	g, err := s.refreshToken(ctx, r.Host)
	if err != nil {
		return providers.Credential{}, err
	}
	defer g.close()
	scopes, wider := scopesOf(r.Grants)
	if len(scopes) == 0 {
		return g.credential(g.refresh, wider), nil
	}
	t, err := g.accessToken(ctx, scopes)
	if err != nil {
		return providers.Credential{}, err
	}
	if err := g.covers(t, r.Grants); err != nil {
		return providers.Credential{}, err
	}
	return g.credential(t, false), nil
}

// MintNative implements providers.NativeMinter: an access token for the
// registry's API, with metadata_read and delete on the repositories named, or
// for the catalog where none is.
func (s *source) MintNative(ctx context.Context, r providers.Request) (providers.Native, error) {
	g, err := s.refreshToken(ctx, r.Host)
	if err != nil {
		return providers.Native{}, err
	}
	defer g.close()
	t, err := g.accessToken(ctx, nativeScopes(r.Grants))
	if err != nil {
		return providers.Native{}, err
	}
	if err := g.coversNative(t, r.Grants); err != nil {
		return providers.Native{}, err
	}
	return providers.Native{Credential: g.credential(t, false)}, nil
}

// Verify implements providers.Verifier.
func (s *source) Verify(ctx context.Context, r providers.Request, c providers.Credential) error {
	return registryauth.Verify(ctx, s.registry(r.Host), c, r.Grants)
}

func (s *source) registry(h providers.Host) registryauth.Config {
	return registryauth.Config{HTTP: s.http, Host: h, Account: s.account, Realms: siblings(h), Now: s.deps.Now}
}

// scopesOf are the scopes of an access token. A registry has no scope for
// every repository: a grant on all of them gets the identity's own rights,
// which is wider than what was asked for.
func scopesOf(gs []providers.Grant) (scopes []string, wider bool) {
	gs = providers.MergeGrants(gs)
	if slices.ContainsFunc(gs, func(g providers.Grant) bool { return g.Repository == "" }) {
		return nil, slices.ContainsFunc(gs, func(g providers.Grant) bool { return g.Repository != "" || g.Access != 0 })
	}
	for _, g := range gs {
		scopes = append(scopes, "repository:"+g.Repository+":"+strings.Join(actionsOf(g.Access), ","))
	}
	return scopes, false
}

// actionsOf spells an access. Listing tags is metadata_read and nothing else:
// who pulls, pushes or deletes wants that too, and an identity without it gets
// the rest.
func actionsOf(a providers.Access) []string {
	if a == 0 {
		a = providers.Push
	}
	var out []string
	for _, x := range []struct {
		access providers.Access
		action string
	}{{providers.Pull, "pull"}, {providers.Push, "push"}, {providers.Delete, "delete"}} {
		if a.Has(x.access) {
			out = append(out, x.action)
		}
	}
	return append(out, "metadata_read")
}

// nativeScopes are those of clean-up: a repository without an access is meant
// to be cleaned.
func nativeScopes(gs []providers.Grant) []string {
	var out []string
	for _, g := range providers.MergeGrants(gs) {
		if g.Repository != "" {
			out = append(out, "repository:"+g.Repository+":"+strings.Join(nativeActions(g.Access), ","))
		}
	}
	if len(out) == 0 {
		return []string{"registry:catalog:*"}
	}
	return out
}

func nativeActions(a providers.Access) []string {
	if a == 0 {
		a = providers.Pull | providers.Delete
	}
	return actionsOf(a)
}
