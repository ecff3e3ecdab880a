// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/oidc"
)

// federate exchanges the job's identity token, as docker/login-action 4.5 and
// docker/oidc-action do: RFC 8693 with two parameters of Docker's own,
// connection_id and expires_in. A lost answer is harmless: the request may be
// sent again.
func (s *source) federate(ctx context.Context, h providers.Host) (providers.Credential, error) {
	p := s.plan
	subject, err := oidc.Token(ctx, oidc.Config{Ref: p.WebIdentity, Audience: p.Audience, Host: h, Deps: s.deps, HTTP: s.http})
	if err != nil {
		return providers.Credential{}, err
	}
	asked := s.deps.Now()
	res, err := s.http.Do(ctx, httpx.Request{
		Host: h, What: "OIDC connection", Method: http.MethodPost, URL: p.identity + "/oauth/token", SameOrigin: true, Replay: true,
		Unauthorized: providers.Denied, Secrets: []providers.Secret{subject},
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}},
		Body: []byte(url.Values{
			"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
			"subject_token_type": {"urn:ietf:params:oauth:token-type:id_token"},
			"subject_token":      {subject.Reveal()},
			"connection_id":      {p.OIDCConnection},
			"expires_in":         {fmt.Sprint(int(p.life / time.Second))},
		}.Encode()),
	})
	if err != nil {
		return providers.Credential{}, s.refusedConnection(res, err)
	}
	token, life, err := tokenOf(res.Body)
	if err != nil {
		return providers.Credential{}, s.fail(h, providers.Unavailable, "", fmt.Errorf("OIDC connection: %w", err))
	}
	if life == 0 || life > p.life {
		life = p.life
	}
	c := providers.Credential{
		Username: p.Organization, Secret: token, IssuedAt: asked, ExpiresAt: asked.Add(life),
		Origin: "OIDC connection " + p.OIDCConnection + " of " + p.Organization,
	}
	if exp, ok := httpx.JWTExpiry(token.Reveal()); ok && exp.Before(c.ExpiresAt) {
		c.ExpiresAt = exp
	}
	if !c.ExpiresAt.After(s.deps.Now()) {
		return providers.Credential{}, s.fail(h, providers.Unavailable, "check the time of this machine", errors.New("OIDC connection: the token is expired already"))
	}
	return c, nil
}

// tokenOf reads access_token and expires_in; 0 = not said.
func tokenOf(body []byte) (providers.Secret, time.Duration, error) {
	v, err := httpx.ParseJSON(body)
	if err != nil {
		return providers.Secret{}, 0, err
	}
	m, _ := v.(map[string]any)
	token, _ := m["access_token"].(string)
	if !sendable(token) {
		return providers.Secret{}, 0, errors.New("the answer holds no token")
	}
	var life time.Duration
	if n, ok := m["expires_in"].(json.Number); ok {
		if f, err := n.Float64(); err == nil && f > 0 && f < maxLife.Seconds()*2 {
			life = time.Duration(f) * time.Second
		}
	}
	return providers.NewSecret(token), life, nil
}

// sendable reports a token that fits into a header.
func sendable(s string) bool {
	for i := range len(s) {
		if s[i] <= 0x20 || s[i] >= 0x7f {
			return false
		}
	}
	return s != "" && len(s) <= 64<<10
}

// refusedConnection says what to look at where Docker refuses the exchange.
func (s *source) refusedConnection(res *httpx.Response, err error) error {
	e, ok := errors.AsType[*providers.Error](err)
	if !ok || res == nil {
		return err
	}
	out := *e
	switch res.Status {
	case http.StatusTooManyRequests:
		return s.limited(res, &out)
	case http.StatusBadRequest, http.StatusNotFound:
		out.Kind, out.Hint = providers.Misconfigured, "check the connection's id in Docker Home"
	case http.StatusUnauthorized, http.StatusForbidden:
		out.Kind, out.Hint = providers.Denied, "compare the connection's rulesets with the job's subject, in Docker Home"
	default:
		return err
	}
	out.Err = s.said("OIDC connection", err)
	return &out
}
