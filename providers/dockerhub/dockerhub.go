// SPDX-License-Identifier: Apache-2.0

// Package dockerhub mints credentials for Docker Hub: it hands out an access
// token or a password, makes one for a person who logged in with a device code,
// and exchanges the identity token of a CI job for a token of minutes. It also
// makes tokens for Docker Hub's own API and reads what is left of the pull
// limit.
//
// Wire facts: docker/cli internal/oauth (device login, desktop-generate),
// docker/login-action src/dockerhub.ts (OIDC connections), docker/docs
// reference/api/hub (API tokens) and docker-hub/usage/pulls (limits).
package dockerhub

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/oidc"
	"github.com/regmint/regmint/providers/internal/registryauth"
)

// The variables with which docker/login-action and its users name an OIDC
// connection. The organisation's is the action's example of a name.
const (
	envConnection   = "DOCKERHUB_OIDC_CONNECTIONID"
	envLife         = "DOCKERHUB_OIDC_EXPIREIN"
	envOrganization = "DOCKERHUB_ORGANIZATION"
)

// Provider implements providers.Provider.
type Provider struct{}

// New returns the provider.
func New() Provider { return Provider{} }

// Name implements providers.Provider.
func (Provider) Name() string { return "dockerhub" }

// Match implements providers.Provider: Docker Hub under all its names, which
// are one host.
func (Provider) Match(h providers.Host) bool { return h == providers.DockerHub }

// Env implements providers.Provider: an OIDC connection, and the token service
// of GitHub Actions, whose identities alone Docker Hub trusts.
func (Provider) Env() []string {
	return []string{envConnection, envOrganization, envLife, oidc.GitHubURL, oidc.GitHubToken}
}

// Options implements providers.Provider.
func (Provider) Options() any { return &Options{} }

// CanNarrow implements providers.Narrower: no credential of Docker Hub can be
// narrowed after it was made.
func (Provider) CanNarrow(providers.Account, []providers.Grant) bool { return false }

// Open implements providers.Provider. Errors are *Error of kind Misconfigured.
func (p Provider) Open(a providers.Account, d providers.Deps) (providers.Source, error) {
	s, err := open(a, d)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func open(a providers.Account, d providers.Deps) (*source, error) {
	o := &Options{}
	switch given := a.Options.(type) {
	case nil:
	case *Options:
		if given != nil {
			o = given
		}
	default:
		return nil, bad(a, fmt.Errorf("options of another provider (%T)", given), "")
	}
	plan, err := compile(a, o, d.Env)
	if err != nil {
		return nil, err
	}
	c, err := httpx.New(httpx.ConfigOf(a, d))
	if err != nil {
		return nil, err
	}
	return &source{account: a, plan: plan, deps: d, http: c}, nil
}

func bad(a providers.Account, err error, hint string) *providers.Error {
	return &providers.Error{Kind: providers.Misconfigured, Err: fmt.Errorf("account %q: %w", a.Name, err), Hint: hint}
}

type source struct {
	account providers.Account
	plan    *plan
	deps    providers.Deps
	http    *httpx.Client
	// pause waits between two polls of a device login; nil: by the clock.
	pause func(context.Context, time.Duration) bool
}

func (s *source) fail(h providers.Host, k providers.Kind, hint string, err error) *providers.Error {
	return &providers.Error{Kind: k, Host: h, Hint: hint, Err: err}
}

// Key implements providers.Source: one credential for everything.
func (s *source) Key(providers.Request) string { return "dockerhub " + string(s.plan.kind) }

// RefreshEarly implements providers.EarlyRefresher: federated tokens live five
// minutes unless asked otherwise.
func (s *source) RefreshEarly() bool { return s.plan.kind == byOIDC }

// Watches implements providers.Watcher.
func (s *source) Watches() []string {
	out := s.plan.WebIdentity.Watches()
	for _, r := range []providers.SecretRef{s.account.Password, s.plan.TwoFactorCode} {
		if r.Scheme == "file" {
			out = append(out, r.Value)
		}
	}
	return out
}

// Mint implements providers.Source.
func (s *source) Mint(ctx context.Context, r providers.Request) (providers.Credential, error) {
	if err := s.owns(r.Host); err != nil {
		return providers.Credential{}, err
	}
	p, k, err := s.who(ctx, r.Host)
	if err != nil {
		return providers.Credential{}, err
	}
	var c providers.Credential
	switch k {
	case byOIDC:
		c, err = s.federate(ctx, r.Host)
	case byDevice:
		c, err = s.device(ctx, r.Host, p)
	case byPassword:
		c, err = s.saved(ctx, r.Host)
	default:
		err = s.nobody(r.Host)
	}
	c.Wider = err == nil && len(r.Grants) > 0
	return c, err
}

// nobody says why a caller without an identity has none: public pulls go on,
// and so do the logins of others.
func (s *source) nobody(h providers.Host) error {
	e := s.fail(h, providers.NoAccount, "", errors.New("no login to Docker Hub"))
	if s.plan.why != "" {
		e.Err = errors.New(s.plan.why)
	}
	return e
}

// saved hands out the account's own secret, read anew each time.
func (s *source) saved(ctx context.Context, h providers.Host) (providers.Credential, error) {
	secret, err := httpx.Resolve(ctx, s.deps, h, s.account.Password)
	if err != nil {
		return providers.Credential{}, err
	}
	c := providers.Credential{
		Username: s.account.Username, Secret: secret, IssuedAt: s.deps.Now(),
		Origin: sortOf(secret).String() + " of " + httpx.Printable(s.account.Username, 100),
	}
	if c.Username == registryauth.TokenUser {
		c.Origin = "saved identity token"
	}
	if life := time.Duration(s.account.ExpiresIn); life > 0 {
		c.ExpiresAt = c.IssuedAt.Add(life)
	}
	return c, nil
}

// Verify implements providers.Verifier: the token server is asked, and for
// grants which rights it gives.
func (s *source) Verify(ctx context.Context, r providers.Request, c providers.Credential) error {
	if err := s.owns(r.Host); err != nil {
		return err
	}
	err := registryauth.Verify(ctx, s.registry(r.Host), c, r.Grants)
	return s.explain(err, c)
}

func (s *source) registry(h providers.Host) registryauth.Config {
	return registryauth.Config{HTTP: s.http, Host: h, Account: s.account, Now: s.deps.Now}
}

// owns keeps a Docker Hub login at Docker Hub and at hosts that a person wrote
// down in full (dhi.io takes it too).
func (s *source) owns(h providers.Host) error {
	if h == providers.DockerHub {
		return nil
	}
	for _, p := range s.account.Hosts {
		if exact, ok := p.Exact(); ok && exact == h {
			return nil
		}
	}
	return s.fail(h, providers.Misconfigured, "write other hosts that take a Docker login in full", fmt.Errorf("account %q: not Docker Hub", s.account.Name))
}
