// SPDX-License-Identifier: Apache-2.0

// Package github mints credentials for GitHub's container registries: ghcr.io,
// GHE.com and GitHub Enterprise Server.
//
// Identities: personal access tokens, the GITHUB_TOKEN of an Actions job, the
// login of gh, OAuth device logins (with pairs that rotate, where a GitHub App
// is logged in to), and installation tokens of GitHub Apps. Wire facts: GitHub's
// documentation on authorizing OAuth apps, refreshing user access tokens,
// authenticating as an App and installation tokens, and on the permissions of
// GitHub Packages; reports about ghcr.io where it says nothing.
package github

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// anyUser is the user name of tokens that belong to nobody: the registry goes
// by the password.
const anyUser = "x-access-token"

// The prefixes of tokens.
const (
	prefixClassic      = "ghp_"
	prefixFine         = "github_pat_"
	prefixInstallation = "ghs_"
	prefixRefresh      = "ghr_"
	prefixUser         = "ghu_"
	prefixOAuth        = "gho_"
)

// The caller's variables that say who an Actions job is.
const (
	envActions = "GITHUB_ACTIONS"
	envActor   = "GITHUB_ACTOR"
	envServer  = "GITHUB_SERVER_URL"
	envToken   = "GITHUB_TOKEN"
)

// Provider implements providers.Provider.
type Provider struct{}

// New returns the provider.
func New() Provider { return Provider{} }

// Name implements providers.Provider.
func (Provider) Name() string { return "github" }

// Match implements providers.Provider.
func (Provider) Match(h providers.Host) bool {
	_, ok := known(h)
	return ok
}

// Env implements providers.Provider. The server's URL is compared, never asked.
func (Provider) Env() []string { return []string{envActions, envActor, envServer, envToken} }

// Options implements providers.Provider.
func (Provider) Options() any { return &Options{} }

// The lives of tokens that other tools fetch: an App's, and a job's, which
// lives no longer than a day.
const (
	appLife = time.Hour
	jobLife = 24 * time.Hour
)

// MintedUser implements providers.MintedUser: installation tokens are known by
// their prefix, whatever the user name and the host. Jobs log in with their
// actor's name, Apps with x-access-token.
func (Provider) MintedUser(_ providers.Host, user string, secret providers.Secret, _ time.Time) (time.Duration, bool) {
	switch minted := strings.HasPrefix(secret.Reveal(), prefixInstallation); {
	case user == anyUser && (minted || secret.IsZero()):
		return appLife, true
	case minted:
		return jobLife, true
	}
	return 0, false
}

// CanNarrow implements providers.Narrower: tokens of people are as they are.
func (Provider) CanNarrow(a providers.Account, _ []providers.Grant) bool {
	o, ok := a.Options.(*Options)
	return ok && o != nil && !o.PrivateKey.IsZero()
}

// Open implements providers.Provider. Errors are *Error of kind Misconfigured.
func (Provider) Open(a providers.Account, d providers.Deps) (providers.Source, error) {
	s, err := open(a, d)
	if err != nil {
		return nil, err
	}
	if s.options.PrivateKey.IsZero() {
		return s, nil
	}
	return &appSource{source: s}, nil
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
		return nil, bad(a, fmt.Errorf("options of another provider (%T)", given))
	}
	if err := o.check(a); err != nil {
		return nil, bad(a, err)
	}
	c, err := httpx.New(httpx.ConfigOf(a, d))
	if err != nil {
		return nil, err
	}
	return &source{account: a, options: o, deps: d, http: c}, nil
}

func bad(a providers.Account, err error) *providers.Error {
	return &providers.Error{Kind: providers.Misconfigured, Err: fmt.Errorf("account %q: %w", a.Name, err)}
}

// source is an account that lives by a token of a person or of a job.
type source struct {
	account providers.Account
	options *Options
	deps    providers.Deps
	http    *httpx.Client
	facts   facts
	pause   func(ctx context.Context, d time.Duration) bool // of device logins in tests
}

func (s *source) fail(h providers.Host, k providers.Kind, hint string, err error) *providers.Error {
	return &providers.Error{Kind: k, Host: h, Hint: hint, Err: err}
}

// Key implements providers.Source: such a token is what it is.
func (*source) Key(providers.Request) string { return "github" }

// Watches implements providers.Watcher.
func (s *source) Watches() []string {
	var out []string
	for _, r := range []providers.SecretRef{s.account.Password, s.options.PrivateKey} {
		if r.Scheme == "file" {
			out = append(out, r.Value)
		}
	}
	if s.options.GH {
		out = append(out, s.ghFiles()...)
	}
	return out
}

// Mint implements providers.Source.
func (s *source) Mint(ctx context.Context, r providers.Request) (providers.Credential, error) {
	at, err := s.site(r.Host)
	if err != nil {
		return providers.Credential{}, err
	}
	l, err := s.found(ctx, r.Host, at)
	if err != nil {
		return providers.Credential{}, err
	}
	if known, ok := s.unseen(r, l); ok {
		l = known
	} else if l, err = s.ask(ctx, r.Host, at, l); err != nil {
		return providers.Credential{}, err
	}
	if err := s.mayUse(r, at, l); err != nil {
		return providers.Credential{}, err
	}
	return providers.Credential{
		Username: l.user, Secret: l.secret, IssuedAt: s.deps.Now(), ExpiresAt: l.expires,
		Wider: len(r.Grants) > 0, Origin: l.origin,
	}, nil
}

// mayUse names the scope that a token lacks, where it tells its scopes.
func (s *source) mayUse(r providers.Request, at site, l login) error {
	if !l.scoped {
		return nil
	}
	need := scopeRead
	for _, g := range r.Grants {
		if g.Access.Has(providers.Push) {
			need = scopeWrite
		}
	}
	if l.has(need) {
		return nil
	}
	return s.lacks(r.Host, at, l, need)
}

// lacks is the refusal of a token without a scope.
func (s *source) lacks(h providers.Host, at site, l login, scope string) error {
	hint := "make one: " + at.newToken(l.with(scope)...)
	switch l.by {
	case byGH:
		hint = "run: gh auth refresh -h " + at.web + " -s " + refreshScopes(scope)
	case byDevice:
		hint = "add it to scopes, then run: regmint login " + h.String()
	}
	return s.fail(h, providers.Denied, hint, fmt.Errorf("%s has no scope %s", l.origin, scope))
}
