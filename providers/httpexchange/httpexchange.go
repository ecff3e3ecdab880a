// SPDX-License-Identifier: Apache-2.0

// Package httpexchange mints with one HTTP request to an exchange endpoint
// that the configuration describes: a secret or an identity token in, a
// registry credential out. It covers token services that have no provider of
// their own: RFC 8693 endpoints, robot federation, secret managers.
package httpexchange

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/oidc"
	"github.com/regmint/regmint/providers/internal/registryauth"
)

// Provider implements providers.Provider.
type Provider struct{}

// New returns the provider.
func New() Provider { return Provider{} }

// Name implements providers.Provider.
func (Provider) Name() string { return "http-exchange" }

// Match implements providers.Provider: nothing by name alone.
func (Provider) Match(providers.Host) bool { return false }

// Env implements providers.Provider: no ambient identity.
func (Provider) Env() []string { return nil }

// Options implements providers.Provider.
func (Provider) Options() any { return &Options{} }

// Open implements providers.Provider. Errors are *Error of kind Misconfigured.
func (Provider) Open(a providers.Account, d providers.Deps) (providers.Source, error) {
	o, ok := a.Options.(*Options)
	if !ok {
		return nil, bad(a, errors.New("options of http-exchange are missing"))
	}
	p, err := compile(a, o)
	if err != nil {
		return nil, bad(a, err)
	}
	c, err := httpx.New(httpx.ConfigOf(a, d))
	if err != nil {
		return nil, err
	}
	return &source{account: a, options: o, deps: d, http: c, plan: p}, nil
}

func bad(a providers.Account, err error) *providers.Error {
	return &providers.Error{Kind: providers.Misconfigured, Err: fmt.Errorf("account %q: %w", a.Name, err)}
}

type source struct {
	account providers.Account
	options *Options
	deps    providers.Deps
	http    *httpx.Client
	plan    *plan
}

// Key implements providers.Source: the grants where the endpoint is told of
// them, else one credential for everything.
func (s *source) Key(r providers.Request) string {
	if !s.plan.uses.narrows() {
		return "exchange"
	}
	var b strings.Builder
	b.WriteString("exchange")
	for _, g := range providers.MergeGrants(r.Grants) {
		b.WriteString(" " + strconv.Quote(g.Repository) + "=" + g.Access.String())
	}
	return b.String()
}

// RefreshEarly implements providers.EarlyRefresher.
func (s *source) RefreshEarly() bool { return true }

// Watches implements providers.Watcher.
func (s *source) Watches() []string {
	out := s.options.IdentityToken.Watches()
	if s.plan.uses.Secret && s.plan.secret.Scheme == "file" {
		out = append(out, s.plan.secret.Value)
	}
	return out
}

// Mint implements providers.Source.
func (s *source) Mint(ctx context.Context, r providers.Request) (providers.Credential, error) {
	asked := s.deps.Now()
	in, secrets, err := s.inputs(ctx, r)
	if err != nil {
		return providers.Credential{}, err
	}
	req, err := s.request(in)
	if err != nil {
		return providers.Credential{}, s.fail(r.Host, providers.Misconfigured, err)
	}
	req.Host, req.Secrets = r.Host, secrets
	res, err := s.http.Do(ctx, req)
	if err != nil {
		return providers.Credential{}, s.explain(err)
	}
	got, err := s.plan.read(res.Body, s.account, asked, s.deps.Now())
	if err != nil {
		return providers.Credential{}, s.unusable(r.Host, res, err, secrets)
	}
	return providers.Credential{
		Username: got.username, Secret: providers.NewSecret(got.password), IssuedAt: asked, ExpiresAt: got.expires,
		Wider: wider(s.plan.uses, r.Grants), Origin: "exchanged at " + httpx.Printable(strings.TrimPrefix(s.plan.origin, "https://"), 100),
	}, nil
}

// Verify implements providers.Verifier.
func (s *source) Verify(ctx context.Context, r providers.Request, c providers.Credential) error {
	return registryauth.Verify(ctx, registryauth.Config{HTTP: s.http, Host: r.Host, Account: s.account, Now: s.deps.Now}, c, r.Grants)
}

func (s *source) fail(h providers.Host, k providers.Kind, err error) *providers.Error {
	return &providers.Error{Kind: k, Host: h, Err: fmt.Errorf("exchange: %w", err)}
}

// inputs reads the secret and the identity token anew for every request.
func (s *source) inputs(ctx context.Context, r providers.Request) (inputs, []providers.Secret, error) {
	in := inputs{
		Host: r.Host.String(), Username: s.account.Username,
		Scope: words{scopes(r.Grants), " "}, Repository: words{repositories(r.Grants), ","}, Access: words{names(union(r.Grants)), ","},
	}
	var secrets []providers.Secret
	if s.plan.uses.Secret {
		v, err := httpx.Resolve(ctx, s.deps, r.Host, s.plan.secret)
		if err != nil {
			return in, nil, s.explain(err)
		}
		in.Secret, secrets = v.Reveal(), append(secrets, v)
	}
	if s.plan.uses.IdentityToken {
		v, err := oidc.Token(ctx, oidc.Config{Ref: s.options.IdentityToken, Audience: s.options.Audience, Host: r.Host, Deps: s.deps, HTTP: s.http})
		if err != nil {
			return in, nil, err
		}
		in.IdentityToken, secrets = v.Reveal(), append(secrets, v)
	}
	return in, secrets, nil
}

// request renders the templates. Form and JSON are encoded here; everything
// else is the author's to escape. What renders empty is left out: a request
// without grants has no scope, which is not the same as an empty one.
func (s *source) request(in inputs) (httpx.Request, error) {
	req := httpx.Request{
		What: "exchange", Method: s.plan.method, SameOrigin: true, Replay: s.options.Retry,
		Unauthorized: providers.LoginRequired, Header: http.Header{"Accept": {"application/json"}},
	}
	var err error
	if req.URL, err = s.plan.url.run(in); err != nil {
		return req, fmt.Errorf("url: %w", err)
	}
	u, err := url.Parse(req.URL)
	if err != nil || u.Scheme+"://"+u.Host != s.plan.origin || u.User != nil || httpx.HasBreak(req.URL) {
		return req, errors.New("url: the template makes no URL of the configured host")
	}
	for k, t := range s.plan.headers {
		v, err := t.run(in)
		if err != nil {
			return req, fmt.Errorf("headers: %w", err)
		}
		if strings.ContainsFunc(v, func(c rune) bool { return c < 0x20 && c != '\t' || c == 0x7f }) {
			return req, fmt.Errorf("headers: %s holds a control character", http.CanonicalHeaderKey(k))
		}
		if v != "" {
			req.Header.Set(k, v)
		}
	}
	return req, s.body(&req, in)
}

func (s *source) body(req *httpx.Request, in inputs) error {
	switch {
	case s.plan.body != nil:
		text, err := s.plan.body.run(in)
		if err != nil {
			return fmt.Errorf("body: %w", err)
		}
		req.Body = []byte(text)
		req.Header.Set("Content-Type", s.plan.contentType)
	case len(s.plan.form) > 0:
		v := url.Values{}
		for k, t := range s.plan.form {
			text, err := t.run(in)
			if err != nil {
				return fmt.Errorf("form: %w", err)
			}
			if text != "" {
				v.Set(k, text)
			}
		}
		req.Body = []byte(v.Encode())
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	case len(s.plan.json) > 0:
		m := map[string]string{}
		for k, t := range s.plan.json {
			text, err := t.run(in)
			if err != nil {
				return fmt.Errorf("json: %w", err)
			}
			if text != "" {
				m[k] = text
			}
		}
		b, err := json.Marshal(m)
		if err != nil {
			return errors.New("json: the fields cannot be encoded")
		}
		req.Body = b
		req.Header.Set("Content-Type", "application/json")
	}
	return nil
}

// explain adds what to do to a refusal. A 401 of the endpoint means its own
// secret; `regmint login` saves that only where it is the account's password.
func (s *source) explain(err error) error {
	e, ok := errors.AsType[*providers.Error](err)
	if !ok || e.Kind != providers.LoginRequired {
		return err
	}
	out := *e
	_, answered := errors.AsType[*httpx.StatusError](err)
	switch {
	case s.plan.uses.IdentityToken && answered:
		out.Hint = "the endpoint does not accept the identity token: check audience and its trust settings"
	case s.plan.secret.Scheme == "keyring" && !s.options.Secret.IsZero():
		out.Hint = "write password instead of secret, then run: regmint login " + e.Host.String()
	case s.plan.uses.Secret && s.plan.secret.Scheme != "keyring":
		out.Hint = "renew the secret in " + s.plan.secret.String()
	}
	return &out
}

// unusable is a success that holds no credential.
func (s *source) unusable(h providers.Host, res *httpx.Response, err error, secrets []providers.Secret) error {
	kind := providers.Unavailable
	if _, ok := errors.AsType[errShape](err); ok {
		kind = providers.Misconfigured
	}
	text := fmt.Sprintf("%s: %s", httpx.ShowURL(res.URL, secrets...), err)
	if said := httpx.ErrorText(res.Body, secrets...); said != "" && kind == providers.Misconfigured {
		text += ": " + said
	}
	return s.fail(h, kind, errors.New(text))
}
