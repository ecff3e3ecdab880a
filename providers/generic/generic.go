// SPDX-License-Identifier: Apache-2.0

// Package generic hands out a saved user name and secret for any registry
// that speaks the Docker Registry v2 API. Nothing is minted: the registry's
// own token server turns the pair into bearers.
package generic

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/registryauth"
)

// Options is empty: a generic account needs none but the common keys.
type Options struct{}

// Provider implements providers.Provider.
type Provider struct{}

// New returns the provider.
func New() Provider { return Provider{} }

// Name implements providers.Provider.
func (Provider) Name() string { return "generic" }

// Match implements providers.Provider: nothing by name alone.
func (Provider) Match(providers.Host) bool { return false }

// Env implements providers.Provider: no ambient identity.
func (Provider) Env() []string { return nil }

// Options implements providers.Provider.
func (Provider) Options() any { return &Options{} }

// FixedRights implements providers.Fixed: the saved secret is handed out.
func (Provider) FixedRights() bool { return true }

// Open implements providers.Provider. Errors are *Error of kind Misconfigured:
// no user name, no reference to a secret, an unusable ca_file or proxy.
func (Provider) Open(a providers.Account, d providers.Deps) (providers.Source, error) {
	switch o := a.Options.(type) {
	case nil:
	case *Options:
	default:
		return nil, bad(a, fmt.Errorf("options of another provider (%T)", o), "")
	}
	switch {
	case a.Username == "":
		return nil, bad(a, errors.New("no username"), "set username, or run: regmint login "+hostOf(a))
	case httpx.HasBreak(a.Username):
		return nil, bad(a, errors.New("username holds a line break or a NUL byte"), "")
	case a.Endpoint != "":
		return nil, bad(a, errors.New("endpoint has no meaning here: the registry is its own endpoint"), "")
	case a.Rotate > 0 || !a.RotateTo.IsZero():
		return nil, bad(a, errors.New("rotate has no meaning here: a saved secret is changed at the registry"), "take rotate out and use expires_in")
	case a.Password.IsZero():
		return nil, bad(a, errors.New("no password"), "set password to a reference, or run: regmint login "+hostOf(a))
	}
	c, err := httpx.New(httpx.ConfigOf(a, d))
	if err != nil {
		return nil, err
	}
	return &source{account: a, deps: d, http: c}, nil
}

func bad(a providers.Account, err error, hint string) *providers.Error {
	return &providers.Error{Kind: providers.Misconfigured, Err: fmt.Errorf("account %q: %w", a.Name, err), Hint: hint}
}

// hostOf is a host to log in to, for a hint.
func hostOf(a providers.Account) string {
	for _, p := range a.Hosts {
		if h, ok := p.Exact(); ok {
			return h.String()
		}
	}
	return "HOST"
}

type source struct {
	account providers.Account
	deps    providers.Deps
	http    *httpx.Client
}

// Key implements providers.Source: one secret for everything.
func (s *source) Key(providers.Request) string { return "saved" }

// Mint implements providers.Source. The secret is read anew each time. An
// identity token (user name "<token>") is handed out as it was stored.
func (s *source) Mint(ctx context.Context, r providers.Request) (providers.Credential, error) {
	secret, err := httpx.Resolve(ctx, s.deps, r.Host, s.account.Password)
	if err != nil {
		return providers.Credential{}, err
	}
	c := providers.Credential{
		Username: s.account.Username, Secret: secret, IssuedAt: s.deps.Now(),
		Wider:  len(r.Grants) > 0, // the product knows no narrower form of a saved secret
		Origin: "saved login as " + httpx.Printable(s.account.Username, 100),
	}
	if c.Username == registryauth.TokenUser {
		c.Origin = "saved identity token"
	}
	if life := time.Duration(s.account.ExpiresIn); life > 0 {
		c.ExpiresAt = c.IssuedAt.Add(life)
	}
	return c, nil
}

// Verify implements providers.Verifier.
func (s *source) Verify(ctx context.Context, r providers.Request, c providers.Credential) error {
	return registryauth.Verify(ctx, registryauth.Config{HTTP: s.http, Host: r.Host, Account: s.account, Now: s.deps.Now}, c, r.Grants)
}

// Watches implements providers.Watcher.
func (s *source) Watches() []string {
	if s.account.Password.Scheme == "file" {
		return []string{s.account.Password.Value}
	}
	return nil
}
