// SPDX-License-Identifier: Apache-2.0

// Package gar mints credentials for Google's Artifact Registry and Container
// Registry: an OAuth access token under the user name oauth2accesstoken.
//
// Nothing is read from the process's environment or Google's default files by a
// library: the search for an identity is this package's own, with the caller's
// values. Wire facts: Google's IAM and Artifact Registry documentation, RFC 7523
// (service account keys), RFC 8693 (workload identity federation), and
// golang.org/x/oauth2/google, which makes the token requests.
package gar

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/registryauth"
)

// user is the user name of every access token.
const user = "oauth2accesstoken"

// minLife is how much of a token must be left to hand it out. Metadata servers
// answer from a cache and may give tokens with little life left.
const minLife = 10 * time.Second

// Provider implements providers.Provider.
type Provider struct{ machine *presence }

// New returns the provider. It remembers whether this machine has a metadata
// server.
func New() Provider { return Provider{machine: &presence{product: productFile}} }

// Name implements providers.Provider.
func (Provider) Name() string { return "gar" }

// Match implements providers.Provider.
func (Provider) Match(h providers.Host) bool { return isRegistry(h) }

// Env implements providers.Provider.
func (Provider) Env() []string { return envNames() }

// Options implements providers.Provider.
func (Provider) Options() any { return &Options{} }

// MintedUser implements providers.MintedUser: an access token lives an hour. A
// docker-credential-gcr writes its version into the name, gcloud's own helper
// takes _dcgcloud_token. _json_key is none: a key lives long.
func (Provider) MintedUser(h providers.Host, name string, _ providers.Secret, _ time.Time) (time.Duration, bool) {
	gcr := strings.HasPrefix(name, "_dcgcr_") && strings.HasSuffix(name, "_token")
	if !isRegistry(h) || name != user && name != "_dcgcloud_token" && !gcr {
		return 0, false
	}
	return time.Hour, true
}

// Open implements providers.Provider. Errors are *Error of kind Misconfigured.
func (p Provider) Open(a providers.Account, d providers.Deps) (providers.Source, error) {
	s, err := p.open(a, d)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (p Provider) open(a providers.Account, d providers.Deps) (*source, error) {
	o := &Options{}
	switch given := a.Options.(type) {
	case nil:
	case *Options:
		if given != nil {
			o = given
		}
	default:
		return nil, bad(a, fmt.Errorf("options of another provider (%T)", given))
	}
	plan, err := compile(a, o)
	if err != nil {
		return nil, bad(a, err)
	}
	c, err := httpx.New(httpx.ConfigOf(a, d))
	if err != nil {
		return nil, err
	}
	machine := p.machine
	if machine == nil || o.MetadataEndpoint != "" {
		machine = &presence{product: productFile}
	}
	return &source{account: a, plan: plan, deps: d, http: c, machine: machine}, nil
}

func bad(a providers.Account, err error) *providers.Error {
	return &providers.Error{Kind: providers.Misconfigured, Err: fmt.Errorf("account %q: %w", a.Name, err)}
}

type source struct {
	account providers.Account
	plan    *plan
	deps    providers.Deps
	http    *httpx.Client
	machine *presence
}

// Key implements providers.Source: who is impersonated and whether the token is
// for reading alone. Grants do not reach further into a Google token.
func (s *source) Key(r providers.Request) string {
	c := s.plan.choose(providers.MergeGrants(r.Grants))
	key := "gar"
	if c.account != "" {
		key += " as " + c.account
	}
	if c.readOnly && (c.account != "" || s.plan.ServiceAccount != "" || s.plan.scopable()) {
		key += " reading"
	}
	return key
}

// scopable reports identities that may have a choice of scopes.
func (p *plan) scopable() bool {
	return p.identity != "gcloud_configuration"
}

// RefreshEarly implements providers.EarlyRefresher: tokens of GKE workloads may
// live five minutes.
func (*source) RefreshEarly() bool { return true }

// Watches implements providers.Watcher.
func (s *source) Watches() []string {
	out := s.plan.WebIdentity.Watches()
	for _, r := range s.plan.refs() {
		if r.Scheme == "file" {
			out = append(out, r.Value)
		}
	}
	if s.plan.identity == "" || s.plan.identity == "gcloud_configuration" {
		out = append(out, s.ambientFiles()...)
	}
	for _, name := range slices.Clone(out) { // credentials that name the file of their identity token
		if filepath.Ext(name) != ".json" {
			continue
		}
		if b, err := readFile(name); err == nil {
			if f, err := parseFile(b); err == nil && isAbs(f.Source.File) {
				out = append(out, f.Source.File)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Mint implements providers.Source.
func (s *source) Mint(ctx context.Context, r providers.Request) (providers.Credential, error) {
	if err := s.owns(r.Host); err != nil {
		return providers.Credential{}, err
	}
	asked := s.deps.Now()
	c := s.plan.choose(providers.MergeGrants(r.Grants))
	id, err := s.find(ctx, r.Host)
	if err != nil {
		return providers.Credential{}, err
	}
	if c.account != "" || s.plan.ServiceAccount != "" {
		id = s.impersonated(id, c)
	}
	t, err := id.token(ctx, call{host: r.Host, scopes: c.scopes})
	if err != nil {
		return providers.Credential{}, err
	}
	expires, err := s.expiry(r.Host, t, asked)
	if err != nil {
		return providers.Credential{}, err
	}
	return providers.Credential{
		Username: user, Secret: t.value, IssuedAt: asked, ExpiresAt: expires,
		Wider: wider(r.Grants, c, t.scoped), Origin: t.origin,
	}, nil
}

// expiry counts a token's life from before it was asked for.
func (s *source) expiry(h providers.Host, t access, asked time.Time) (time.Time, error) {
	expires := asked.Add(t.life)
	switch {
	case !t.expires.IsZero():
		expires = t.expires
	case t.life == 0 && s.account.ExpiresIn > 0:
		expires = asked.Add(time.Duration(s.account.ExpiresIn))
	case t.life == 0:
		return expires, &providers.Error{
			Kind: providers.Misconfigured, Host: h, Err: fmt.Errorf("%s: the answer does not say how long the token lives", t.origin), Hint: "set expires_in",
		}
	}
	if last := asked.Add(t.most); t.most > 0 && expires.After(last) {
		expires = last
	}
	left := expires.Sub(s.deps.Now())
	if left <= minLife {
		e := &providers.Error{Kind: providers.Unavailable, Host: h, Err: fmt.Errorf("%s: the token is expired already", t.origin), Hint: "check the time of this machine"}
		if left > 0 {
			e.Err, e.Hint, e.RetryAfter = fmt.Errorf("%s: the token ends in %s", t.origin, left.Round(time.Second)), "", left
		}
		return expires, e
	}
	return expires, nil
}

// MintNative implements providers.NativeMinter: the token as a bearer for
// Artifact Registry's own API, and as gcloud and Terraform take it.
func (s *source) MintNative(ctx context.Context, r providers.Request) (providers.Native, error) {
	c, err := s.Mint(ctx, r)
	if err != nil {
		return providers.Native{}, err
	}
	return providers.Native{Credential: c, Env: []providers.Variable{
		{Name: "CLOUDSDK_AUTH_ACCESS_TOKEN", Value: c.Secret},
		{Name: "GOOGLE_OAUTH_ACCESS_TOKEN", Value: c.Secret},
	}}, nil
}

// Verify implements providers.Verifier.
func (s *source) Verify(ctx context.Context, r providers.Request, c providers.Credential) error {
	if err := s.owns(r.Host); err != nil {
		return err
	}
	return registryauth.Verify(ctx, registryauth.Config{HTTP: s.http, Host: r.Host, Account: s.account, Now: s.deps.Now}, c, r.Grants)
}

// owns keeps Google tokens, which open far more than a registry, at Google's
// registries and at hosts that a person wrote down in full.
func (s *source) owns(h providers.Host) error {
	if isRegistry(h) {
		return nil
	}
	if s.account.Layer == providers.LayerAmbient {
		return &providers.Error{Kind: providers.NoAccount, Host: h, Err: errors.New("not a registry of Google's")}
	}
	for _, p := range s.account.Hosts {
		if exact, ok := p.Exact(); ok && exact == h {
			return nil
		}
	}
	return &providers.Error{
		Kind: providers.Misconfigured, Host: h, Err: fmt.Errorf("account %q: not a registry of Google's", s.account.Name),
		Hint: "a wildcard gives Google tokens to Google's names alone; write other hosts in full",
	}
}
