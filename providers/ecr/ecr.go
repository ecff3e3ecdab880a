// SPDX-License-Identifier: Apache-2.0

// Package ecr mints credentials for Amazon ECR and ECR Public: a session of
// AWS (profile, IAM Identity Center, web identity, roles, keys, a program, the
// machine's own role) asks for an authorization token, which docker takes as
// the password of the user AWS. Such a token lives 12 hours and can be neither
// narrowed nor revoked; what a target asks for narrows the session instead.
package ecr

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// userName is the user of every token (docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html).
const userName = "AWS"

// tokenLife is what ECR gives; nothing asks for less.
const tokenLife = 12 * time.Hour

// Provider implements providers.Provider, providers.Loginer.
type Provider struct{ metadata *absence }

// New returns the provider. Its copies share what is known about the machine's
// metadata service.
func New() Provider { return Provider{metadata: newAbsence()} }

// Name implements providers.Provider.
func (Provider) Name() string { return "ecr" }

// Match implements providers.Provider.
func (Provider) Match(h providers.Host) bool {
	_, ok := placeOf(h)
	return ok
}

// Env implements providers.Provider: what the AWS SDKs choose an identity by.
func (Provider) Env() []string {
	return []string{
		envProfile, envDefaultProfile, envKeyID, envSecret, envToken, envWebFile, envRole, envRoleName, envConfig, envCredentials,
		envContainerRelative, envContainerFull, envContainerToken, envContainerFile, envNoMetadata,
	}
}

// Options implements providers.Provider.
func (Provider) Options() any { return &Options{} }

// Open implements providers.Provider. Errors are *Error of kind Misconfigured.
func (p Provider) Open(a providers.Account, d providers.Deps) (providers.Source, error) {
	s, err := p.open(a, d)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (p Provider) open(a providers.Account, d providers.Deps) (*source, error) {
	o, ok := a.Options.(*Options)
	switch {
	case a.Options == nil:
		o = &Options{}
	case !ok:
		return nil, bad(a, fmt.Errorf("options of another provider (%T)", a.Options))
	}
	if err := o.check(a); err != nil {
		return nil, bad(a, err)
	}
	places, err := o.places()
	if err != nil {
		return nil, bad(a, err)
	}
	s := &source{account: a, options: o, deps: d, places: places, metadata: p.metadata}
	for _, pat := range a.Hosts {
		if h, ok := pat.Exact(); ok {
			if _, err := s.place(h); err != nil {
				return nil, bad(a, err)
			}
		}
	}
	if s.http, err = httpx.New(httpx.ConfigOf(a, d)); err != nil {
		return nil, err
	}
	return s, nil
}

func bad(a providers.Account, err error) *providers.Error {
	return &providers.Error{Kind: providers.Misconfigured, Err: fmt.Errorf("account %q: %w", a.Name, err)}
}

type source struct {
	account  providers.Account
	options  *Options
	deps     providers.Deps
	http     *httpx.Client
	places   map[providers.Host]place
	metadata *absence
}

func (s *source) place(h providers.Host) (place, error) {
	if p, ok := s.places[h]; ok {
		return p, nil
	}
	if p, ok := placeOf(h); ok {
		return p, nil
	}
	return place{}, fmt.Errorf("%s is no registry of ECR by its name: say which one it stands for in registry", h)
}

// Key implements providers.Source. An identity is what the account says it is,
// not the access keys it has at the moment: those rotate.
func (s *source) Key(r providers.Request) string {
	var b strings.Builder
	b.WriteString("ecr")
	for _, g := range providers.MergeGrants(r.Grants) {
		b.WriteString(" " + strconv.Quote(g.Repository) + "=" + g.Access.String())
	}
	return b.String()
}

// Mint implements providers.Source.
func (s *source) Mint(ctx context.Context, r providers.Request) (providers.Credential, error) {
	c, err := s.mint(ctx, r)
	if err != nil {
		return providers.Credential{}, s.orAnonymous(r, err)
	}
	return c, nil
}

func (s *source) mint(ctx context.Context, r providers.Request) (providers.Credential, error) {
	asked := s.deps.Now()
	c, p, err := s.begin(ctx, r)
	if err != nil {
		return providers.Credential{}, err
	}
	sess, err := c.session(ctx, p, r.Grants, false)
	if err != nil {
		return providers.Credential{}, err
	}
	tok, err := c.authorize(ctx, sess)
	if err != nil {
		return providers.Credential{}, err
	}
	if err := c.sameAccount(tok, p); err != nil {
		return providers.Credential{}, err
	}
	out := providers.Credential{
		Username: userName, Secret: tok.password, IssuedAt: asked, ExpiresAt: tok.expires,
		Wider: len(r.Grants) > 0 && !sess.narrowed, Origin: sess.who,
	}
	// Whether a token outlives the session it was made with is nowhere written.
	if !sess.creds.Expires.IsZero() && sess.creds.CanExpire && sess.creds.Expires.Before(out.ExpiresAt) {
		out.ExpiresAt = sess.creds.Expires
	}
	if !out.ExpiresAt.After(s.deps.Now()) {
		return providers.Credential{}, c.fail(providers.Unavailable, "", fmt.Errorf("ECR answered with a token that expired at %s", clock(out.ExpiresAt)))
	}
	return out, nil
}

// orAnonymous turns a failure at ECR Public into "no account" where nobody
// asked for a login there: everybody may pull, and a failed login would stop
// that.
func (s *source) orAnonymous(r providers.Request, err error) error {
	e, ok := errors.AsType[*providers.Error](err)
	if !ok || s.account.Layer != providers.LayerAmbient || e.Kind == providers.NoAccount {
		return err
	}
	if p, perr := s.place(r.Host); perr != nil || !p.public {
		return err
	}
	for _, g := range r.Grants {
		if g.Access != 0 && g.Access != providers.Pull {
			return err
		}
	}
	out := *e
	out.Kind = providers.NoAccount
	return &out
}

// call is one request of one host on its way.
type call struct {
	*source
	host  providers.Host
	place place
}

// begin settles where a request goes and who asks.
func (s *source) begin(ctx context.Context, r providers.Request) (*call, *plan, error) {
	c := &call{source: s, host: r.Host}
	var err error
	if c.place, err = s.place(r.Host); err != nil {
		return nil, nil, c.fail(providers.Misconfigured, "", err)
	}
	p, err := c.plan(ctx)
	return c, p, err
}

func (c *call) fail(k providers.Kind, hint string, err error) *providers.Error {
	return &providers.Error{Kind: k, Host: c.host, Hint: hint, Err: err}
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }
