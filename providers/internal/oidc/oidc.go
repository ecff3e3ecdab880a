// SPDX-License-Identifier: Apache-2.0

// Package oidc gets identity tokens of CI systems and clusters. A token is
// fetched anew for every use; nothing is cached.
package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// Config describes one identity.
type Config struct {
	Ref      Ref
	Audience string // "" = the issuer's default
	Host     providers.Host
	Deps     providers.Deps
	HTTP     *httpx.Client
}

// Token fetches an identity token. Errors are *Error. A token that reads as a
// JWT is refused where it is expired or made for another audience: the server
// it is meant for would say so less clearly.
func Token(ctx context.Context, c Config) (providers.Secret, error) {
	var s providers.Secret
	var err error
	switch {
	case c.Ref.Kind == kindGitHub && len(c.Ref.Refs) == 2:
		s, err = c.github(ctx)
	case c.Ref.Kind == kindBuildkite && len(c.Ref.Refs) == 2:
		s, err = c.buildkite(ctx)
	case c.Ref.Kind == kindCircleCI && len(c.Ref.Refs) == 1:
		s, err = c.circleci(ctx)
	case len(c.Ref.Refs) == 1:
		s, err = c.read(ctx, c.Ref.Refs[0])
	default:
		return s, c.fail(providers.Misconfigured, "", errors.New("no identity token is configured"))
	}
	if err != nil {
		return providers.Secret{}, err
	}
	if err := c.check(s); err != nil {
		return providers.Secret{}, err
	}
	return s, nil
}

func (c Config) fail(k providers.Kind, hint string, err error) *providers.Error {
	return &providers.Error{Kind: k, Host: c.Host, Hint: hint, Err: err}
}

// read prefers the ambient identity's own values over a lookup.
func (c Config) read(ctx context.Context, ref providers.SecretRef) (providers.Secret, error) {
	if v := c.Deps.Env[ref.Value]; ref.Scheme == "env" && v != "" && !httpx.HasBreak(v) {
		return providers.NewSecret(v), nil
	}
	s, err := httpx.Resolve(ctx, c.Deps, c.Host, ref)
	if e, ok := errors.AsType[*providers.Error](err); ok {
		out := *e
		out.Err = fmt.Errorf("identity token: %w", e.Err)
		if h := origins[c.Ref.Kind].missing; h != "" && out.Kind != providers.Unavailable {
			out.Hint = h
		}
		return s, &out
	}
	return s, err
}

// github asks the runner's token service: GET $URL&audience=A with the request
// token as bearer answers {"value":"<JWT>"}. The request token goes to the
// URL's own origin only.
func (c Config) github(ctx context.Context) (providers.Secret, error) {
	raw, err := c.read(ctx, c.Ref.Refs[0])
	if err != nil {
		return providers.Secret{}, err
	}
	bearer, err := c.read(ctx, c.Ref.Refs[1])
	if err != nil {
		return providers.Secret{}, err
	}
	u, err := requestURL(raw.Reveal())
	if err != nil {
		return providers.Secret{}, c.fail(providers.Misconfigured, "", err)
	}
	q := u.Query()
	if c.Audience != "" {
		q.Set("audience", c.Audience)
	}
	u.RawQuery = q.Encode()
	res, err := c.HTTP.Do(ctx, httpx.Request{
		Host: c.Host, What: "identity token", URL: u.String(), SameOrigin: true, Unauthorized: providers.LoginRequired,
		Header:  http.Header{"Authorization": {"bearer " + bearer.Reveal()}, "Accept": {"application/json; api-version=2.0"}},
		Secrets: []providers.Secret{bearer},
	})
	if e, ok := errors.AsType[*providers.Error](err); ok {
		out := *e
		if out.Kind == providers.LoginRequired { // no login mends this: the job's token is gone
			out.Hint = "the job that asked may be over; " + origins[kindGitHub].missing
		}
		return providers.Secret{}, &out
	}
	v, err := httpx.ParseJSON(res.Body)
	m, ok := v.(map[string]any)
	token, isText := m["value"].(string)
	if err == nil && (!ok || !isText || token == "" || httpx.HasBreak(token)) {
		err = errors.New("the answer holds no token")
	}
	if err != nil {
		return providers.Secret{}, c.fail(providers.Unavailable, "", fmt.Errorf("identity token at %s: %w", httpx.Printable(u.Host, 100), err))
	}
	return providers.NewSecret(token), nil
}

func requestURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, errors.New("identity token: " + GitHubURL + " is no valid URL")
	}
	if u.Scheme == "https" {
		return u, nil
	}
	if h, err := providers.ParseHost(u.Host); u.Scheme == "http" && err == nil && h.IsLoopback() {
		return u, nil
	}
	return nil, errors.New("identity token: " + GitHubURL + " is no https URL")
}

// check reads a JWT's exp and aud without verifying anything.
func (c Config) check(s providers.Secret) error {
	claims, ok := httpx.JWTClaims(s.Reveal())
	if !ok {
		return nil
	}
	now := time.Now
	if c.Deps.Now != nil {
		now = c.Deps.Now
	}
	// What GitHub has made just now is over by a wrong clock of ours alone.
	if exp, ok := httpx.JWTExpiry(s.Reveal()); ok && !exp.After(now()) && c.Ref.Kind != kindGitHub {
		return c.fail(providers.LoginRequired, origins[c.Ref.Kind].expired, fmt.Errorf("identity token of %s expired at %s", c.Ref, exp.UTC().Format(time.RFC3339)))
	}
	if aud := audiences(claims["aud"]); c.Audience != "" && len(aud) > 0 && !slices.Contains(aud, c.Audience) {
		return c.fail(providers.Misconfigured, origins[c.Ref.Kind].audience, fmt.Errorf("identity token of %s is not for %s but for %s", c.Ref,
			httpx.Printable(c.Audience, 100), httpx.Printable(strings.Join(aud, ", "), 100)))
	}
	return nil
}

func audiences(v any) []string {
	switch a := v.(type) {
	case string:
		return []string{a}
	case []any:
		var out []string
		for _, e := range a {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}
