// SPDX-License-Identifier: Apache-2.0

// Package gitlab logs in to GitLab's container registry and Dependency Proxy:
// with the token of the CI job that asks, with access tokens that are watched
// and rotated, with tokens made for one job, by a device login, and with the
// login of glab.
//
// Wire facts: docs.gitlab.com (api/personal_access_tokens,
// api/project_access_tokens, api/oauth2, packages/container_registry) and
// gitlab-org/gitlab app/services/auth/container_registry_authentication_service.rb.
package gitlab

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/registryauth"
)

// anyUser goes with tokens whose user name GitLab does not look at; oauthUser
// with OAuth tokens, of which older versions want just this.
const (
	anyUser   = "regmint"
	oauthUser = "oauth2"
)

// Provider implements providers.Provider, providers.Claimer, providers.Loginer,
// providers.MintedUser and providers.Narrower.
type Provider struct{}

// New returns the provider.
func New() Provider { return Provider{} }

// Name implements providers.Provider.
func (Provider) Name() string { return "gitlab" }

// Options implements providers.Provider.
func (Provider) Options() any { return &Options{} }

// CanNarrow implements providers.Narrower: a token that is there does what it
// does; one made for a job does less, but not less than its project.
func (Provider) CanNarrow(a providers.Account, gs []providers.Grant) bool {
	o, ok := a.Options.(*Options)
	return ok && o.perJob() && !wider(gs)
}

// Open implements providers.Provider. Errors are *Error of kind Misconfigured.
func (Provider) Open(a providers.Account, d providers.Deps) (providers.Source, error) {
	s, err := open(a, d)
	if err != nil {
		return nil, err
	}
	if s.plan.perJob() {
		return &jobSource{source: s}, nil
	}
	return s, nil
}

func open(a providers.Account, d providers.Deps) (*source, error) {
	o, ok := a.Options.(*Options)
	if !ok {
		return nil, bad(a, errors.New("options of gitlab are missing"))
	}
	p, err := compile(a, o)
	if err != nil {
		return nil, bad(a, err)
	}
	c, err := httpx.New(httpx.ConfigOf(a, d))
	if err != nil {
		return nil, err
	}
	return &source{account: a, plan: p, deps: d, http: c}, nil
}

func bad(a providers.Account, err error) *providers.Error {
	return &providers.Error{Kind: providers.Misconfigured, Err: fmt.Errorf("account %q: %w", a.Name, err)}
}

// source is an account whose own token is handed out.
type source struct {
	account providers.Account
	plan    *plan
	deps    providers.Deps
	http    *httpx.Client

	facts facts

	mu      sync.Mutex
	servers map[providers.Host]*server // found by challenges
	refused refusal
}

// refusal is a secret that GitLab did not take: it is not shown again for a
// while, since failures from one address can lock all of that address out.
type refusal struct {
	secret providers.Secret
	until  time.Time
	err    error
}

const refusedFor = 5 * time.Minute

// Key implements providers.Source: one token for everything.
func (s *source) Key(providers.Request) string { return "token" }

// Watches implements providers.Watcher.
func (s *source) Watches() []string {
	switch {
	case s.plan.kind == byGlab:
		return s.glabFiles()
	case s.account.Password.Scheme == "file":
		return []string{s.account.Password.Value}
	}
	return nil
}

// Mint implements providers.Source.
func (s *source) Mint(ctx context.Context, r providers.Request) (providers.Credential, error) {
	t, err := s.own(ctx, r.Host)
	if err != nil {
		return providers.Credential{}, err
	}
	if t.checked { // the API may be asked about it
		unseen, err := s.unseen(r, &t)
		if !unseen {
			err = s.look(ctx, r.Host, &t)
		}
		if err != nil {
			return providers.Credential{}, err
		}
	}
	if err := s.allows(ctx, r, t); err != nil {
		return providers.Credential{}, err
	}
	now := s.deps.Now()
	if life := time.Duration(s.account.ExpiresIn); life > 0 && t.expires.IsZero() {
		t.expires = now.Add(life)
	}
	if t.issued.IsZero() || t.issued.After(now) {
		t.issued = now
	}
	return providers.Credential{
		Username: t.user, Secret: t.secret, IssuedAt: t.issued, ExpiresAt: t.expires, Wider: len(r.Grants) > 0, Origin: t.origin,
	}, nil
}

// Verify implements providers.Verifier.
func (s *source) Verify(ctx context.Context, r providers.Request, c providers.Credential) error {
	_, _, saved := s.facts.about(c.Secret)
	if err := s.refusedLately(c.Secret); saved && err != nil {
		return err
	}
	err := s.askRegistry(ctx, r, c)
	switch {
	case err == nil:
		return s.learn(ctx, r, c)
	case saved && providers.KindOf(err) == providers.LoginRequired:
		s.refuse(c.Secret, err)
	case saved && providers.KindOf(err) == providers.Denied: // its scopes may say why
		if why := s.learn(ctx, r, c); why != nil {
			return why
		}
	}
	return err
}

// askRegistry is what the registry says of c. The Dependency Proxy has manifests
// and blobs and nothing that lists: of it the login alone is tried.
func (s *source) askRegistry(ctx context.Context, r providers.Request, c providers.Credential) error {
	grants := r.Grants
	proxy := len(grants) > 0 && s.isProxy(ctx, r.Host)
	if proxy {
		grants = nil
	}
	err := registryauth.Verify(ctx, s.registry(r.Host), c, grants)
	if isForbidden(err) && (proxy || s.isProxy(ctx, r.Host)) {
		return s.fail(r.Host, providers.Denied, "it takes tokens of a person or a group with read_registry and write_registry, and those of jobs", &said{text: "the Dependency Proxy does not take this token", err: err})
	}
	return s.explain(r.Host, err)
}

func (s *source) registry(h providers.Host) registryauth.Config {
	return registryauth.Config{HTTP: s.http, Host: h, Account: s.account, Realms: s.realms(h), Now: s.deps.Now}
}

func (s *source) fail(h providers.Host, k providers.Kind, hint string, err error) *providers.Error {
	return &providers.Error{Kind: k, Host: h, Hint: hint, Err: err}
}

// token is what an account hands out, or calls the API with.
type token struct {
	user    string
	secret  providers.Secret
	oauth   bool // goes as a bearer
	checked bool // an access token, so far as is known: it can be asked about
	origin  string
	name    string
	scopes  []string  // nil: not known
	issued  time.Time // zero: not known
	expires time.Time // zero: not known
}

// own is the account's own token.
func (s *source) own(ctx context.Context, h providers.Host) (token, error) {
	switch s.plan.kind {
	case byAmbient:
		return s.fromCaller(h)
	case byJob, byDeploy:
		return s.fromVariables(ctx, h)
	case byDevice:
		return s.fromLogin(ctx, h)
	case byGlab:
		return s.fromGlab(ctx, h)
	}
	secret, err := httpx.Resolve(ctx, s.deps, h, s.account.Password)
	if err != nil {
		return token{}, err
	}
	t := token{user: s.account.Username, secret: secret, checked: true, origin: "saved token"}
	if isDeploy(t.user, secret) {
		if t.user == "" {
			return t, s.fail(h, providers.Misconfigured, "set username to it", errors.New("a deploy token goes with the user name that was made with it"))
		}
		t.checked, t.origin = false, "deploy token "+httpx.Printable(t.user, 100)
	}
	if t.user == "" {
		t.user = anyUser
	}
	return t, nil
}
