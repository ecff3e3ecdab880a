// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/oauth"
	"github.com/regmint/regmint/providers/internal/registryauth"
)

// oauthClient is the account's application (docs.gitlab.com/api/oauth2, device
// authorization grant: GitLab 17.3 and later).
func (s *source) oauthClient(v *server, h providers.Host) oauth.Client {
	scopes := []string(s.plan.Scopes)
	switch {
	case s.plan.perJob():
		scopes = []string{scopeAPI}
	case len(scopes) == 0:
		scopes = []string{scopeRead, scopeWrite}
	}
	return oauth.Client{
		HTTP: v.http, Host: h, Product: "GitLab", DeviceURL: v.base + "/oauth/authorize_device", TokenURL: v.base + "/oauth/token",
		ClientID: s.plan.ClientID, Scope: strings.Join(scopes, " "), Now: s.deps.Now,
	}
}

// fromLogin is the live access token of a login in the browser.
func (s *source) fromLogin(ctx context.Context, h providers.Host) (token, error) {
	if s.account.Password.IsZero() {
		return token{}, s.fail(h, providers.LoginRequired, "run: regmint login "+h.String(), errors.New("nobody has logged in yet"))
	}
	v, err := s.gitlab(ctx, h)
	if err != nil {
		return token{}, err
	}
	p, err := s.oauthClient(v, h).Fresh(ctx, s.deps, s.account.Password, 0)
	if err != nil {
		return token{}, err
	}
	t := token{user: oauthUser, secret: providers.NewSecret(p.Access), oauth: true, issued: p.IssuedAt, expires: p.ExpiresAt, origin: "login in the browser", scopes: p.Scopes}
	if p.User != "" {
		t.origin += " as " + httpx.Printable(p.User, 100)
	}
	return t, nil
}

// LoginGroup implements providers.LoginGrouper: accounts that name one stored
// login share it.
func (Provider) LoginGroup(a providers.Account) string {
	if o, ok := a.Options.(*Options); ok && o.ClientID != "" && !a.Password.IsZero() {
		return "GitLab login " + a.Password.String()
	}
	return ""
}

// Login implements providers.Loginer: by device code where the account names
// an application; else the login of glab is offered; else it says where a
// token is made.
func (p Provider) Login(ctx context.Context, q providers.LoginRequest) (providers.LoginResult, error) {
	a := q.Account
	if a.Options == nil {
		a.Options = &Options{}
	}
	deps := q.Deps
	s, err := open(a, deps)
	if errors.Is(err, errNoIdentity) { // that is what this login is for
		probe := a
		probe.Layer = providers.LayerAmbient
		s, err = open(probe, deps)
	}
	if err != nil {
		return providers.LoginResult{}, err
	}
	switch s.plan.kind {
	case byDevice:
		return s.device(ctx, q)
	case byJob, byDeploy:
		return s.asIs(ctx, q)
	case byAmbient:
		if t, err := s.fromCaller(q.Host); err == nil {
			return providers.LoginResult{Account: q.Account, Who: t.origin}, nil
		}
		return s.offer(ctx, q)
	case byGlab:
		return s.asIs(ctx, q)
	}
	return s.paste(ctx, q)
}

// asIs tries what the account says.
func (s *source) asIs(ctx context.Context, q providers.LoginRequest) (providers.LoginResult, error) {
	t, err := s.own(ctx, q.Host)
	if err != nil {
		return providers.LoginResult{}, err
	}
	return providers.LoginResult{Account: q.Account, Who: s.who(ctx, q.Host, t), Until: t.expires}, nil
}

// offer takes the login of glab where there is one.
func (s *source) offer(ctx context.Context, q providers.LoginRequest) (providers.LoginResult, error) {
	t, err := s.fromGlab(ctx, q.Host)
	if err != nil {
		if ctx.Err() != nil {
			return providers.LoginResult{}, err
		}
		return s.paste(ctx, q)
	}
	s.plan.kind = byGlab
	who := s.who(ctx, q.Host, t)
	i, err := q.UI.Choose(ctx, "which login for "+q.Host.String()+"?", []string{"the one of glab: " + who, "paste a token of your own"})
	if err != nil {
		return providers.LoginResult{}, err
	}
	if i != 0 {
		return s.paste(ctx, q)
	}
	o := s.plan.Options
	o.Glab = true
	a := q.Account
	a.Options, a.Username, a.Password = &o, "", providers.SecretRef{}
	return providers.LoginResult{Account: a, Write: true, Who: who}, nil
}

// who is the user behind a token, or what is known of it: the API tells those
// that may read it, the registry's own tokens tell everybody.
func (s *source) who(ctx context.Context, h providers.Host, t token) string {
	var u struct {
		Username string `json:"username"`
	}
	if !t.oauth && !t.checked {
		return t.origin
	}
	if s.call(ctx, call{host: h, what: "ask whose the login is", path: "/user", as: t, into: &u}) != nil || u.Username == "" {
		u.Username = s.subject(ctx, h, t)
	}
	if u.Username == "" {
		return t.origin
	}
	return httpx.Printable(u.Username, 100)
}

// subject is the user name in a token that GitLab makes for its registry, which
// takes no scope.
func (s *source) subject(ctx context.Context, h providers.Host, t token) string {
	r, err := registryauth.Probe(ctx, s.registry(h))
	if err != nil {
		return ""
	}
	got, err := r.Exchange(ctx, providers.Credential{Username: cmp.Or(t.user, anyUser), Secret: t.secret}, nil, providers.LoginRequired)
	if err != nil {
		return ""
	}
	m, _ := httpx.JWTClaims(got.Value.Reveal())
	sub, _ := m["sub"].(string)
	return sub
}

// wanted are the scopes of a token that does what the account is for.
func (s *source) wanted() []string {
	switch {
	case s.plan.perJob():
		return []string{scopeAPI}
	case s.account.Rotate > 0:
		return []string{scopeRead, scopeWrite, scopeSelf}
	}
	return []string{scopeRead, scopeWrite}
}

// wants says where a token is made and how it is saved.
func (s *source) wants(ctx context.Context, h providers.Host) error {
	v, err := s.gitlab(ctx, h)
	if err != nil {
		return err
	}
	run := "regmint login " + h.String()
	if !(Provider{}).Match(h) {
		run += " --provider gitlab"
	}
	return s.fail(h, providers.LoginRequired, "then: "+run+" -u USER (it asks for the token), or with --password-stdin",
		errors.New("make a token at "+v.page(s.wanted()...)))
}

// device lets a person log in in the browser.
func (s *source) device(ctx context.Context, q providers.LoginRequest) (providers.LoginResult, error) {
	if s.account.Layer == providers.LayerConfigured && s.account.Password.IsZero() {
		return providers.LoginResult{}, s.fail(q.Host, providers.Misconfigured, `write password = "keyring:NAME"`, fmt.Errorf("account %q has no place for the login", s.account.Name))
	}
	v, err := s.gitlab(ctx, q.Host)
	if err != nil {
		return providers.LoginResult{}, err
	}
	c := s.oauthClient(v, q.Host)
	t, err := c.Device(ctx, q.UI, "GitLab at "+v.base)
	if err != nil {
		if errors.Is(err, oauth.ErrUnsupported) {
			return providers.LoginResult{}, s.fail(q.Host, providers.Misconfigured, "check client_id; or make a token at "+v.page(s.wanted()...), errors.New("GitLab offers no login by device code to this application (it takes 17.3 or later)"))
		}
		return providers.LoginResult{}, err
	}
	who := s.who(ctx, q.Host, token{user: oauthUser, secret: t.Access, oauth: true})
	return providers.LoginResult{Account: q.Account, Write: s.account.Layer != providers.LayerConfigured, Secret: c.Keep(t, who).Secret(), Who: who}, nil
}
