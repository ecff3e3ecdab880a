// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/oauth"
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
	token, life, err := s.exchanged(h, res, subject)
	if err != nil {
		return providers.Credential{}, err
	}
	c := providers.Credential{
		Username: p.Organization, Secret: token.secret, IssuedAt: asked, ExpiresAt: token.ends(asked, min(life, p.life)),
		Origin: "OIDC connection " + p.OIDCConnection + " of " + p.Organization,
	}
	if !c.ExpiresAt.After(s.deps.Now()) {
		return providers.Credential{}, s.fail(h, providers.Unavailable, "", errors.New("OIDC connection: the token is expired already"))
	}
	return c, nil
}

// exchanged reads access_token and expires_in. What is not said is as long as
// was asked for.
func (s *source) exchanged(h providers.Host, res *httpx.Response, subject providers.Secret) (answer, time.Duration, error) {
	v, err := httpx.ParseJSON(res.Body)
	m, _ := v.(map[string]any)
	token, _ := m["access_token"].(string)
	if err != nil || !sendable(token) {
		return answer{}, 0, s.noToken(h, "OIDC connection", res.Body, err, subject)
	}
	life, ok := oauth.Seconds(m["expires_in"])
	if !ok {
		life = s.plan.life
	}
	return answer{providers.NewSecret(token), res.Header}, life, nil
}

// answer is a token that somebody gave, and what came with it.
type answer struct {
	secret providers.Secret
	header http.Header
}

// maxSkew is how far a server's clock may be from ours before its times are
// read as distances.
const maxSkew = time.Minute

// ends is when the token ends: life after it was asked for, or at the end it
// names itself where that is sooner.
func (a answer) ends(asked time.Time, life time.Duration) time.Time {
	end := asked.Add(life)
	exp, ok := httpx.JWTExpiry(a.secret.Reveal())
	if !ok {
		return end
	}
	if off := asked.Sub(serverTime(a.header, asked)); off.Abs() > maxSkew {
		exp = exp.Add(off)
	}
	if exp.Before(end) {
		return exp
	}
	return end
}

// serverTime is the time of an answer by its server's clock; now where it does
// not say.
func serverTime(h http.Header, now time.Time) time.Time {
	if d, err := http.ParseTime(h.Get("Date")); err == nil {
		return d
	}
	return now
}

// noToken is an answer without what was asked for; where it says why, so does
// the error ({"detail":"2FA required"} with status 200, H53).
func (s *source) noToken(h providers.Host, what string, body []byte, err error, secrets ...providers.Secret) error {
	text := what + ": the answer holds no token"
	if err != nil {
		text = what + ": " + err.Error()
	} else if said := httpx.ErrorText(body, secrets...); said != "" {
		text += ": " + said
	}
	return s.fail(h, providers.Unavailable, "", errors.New(text))
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
		return s.limited("the OIDC service of Docker", res, &out)
	case http.StatusBadRequest, http.StatusNotFound:
		out.Kind, out.Hint = providers.Misconfigured, "check the connection's id in Docker Home, and token_life"
	case http.StatusUnauthorized:
		out.Kind, out.Hint = providers.Denied, "it takes tokens of GitHub Actions for "+httpx.Printable(s.plan.Audience, 60)
	case http.StatusForbidden:
		out.Kind, out.Hint = providers.Denied, "compare the connection's rulesets with the job's subject, in Docker Home"
	default:
		return err
	}
	out.Err = s.said("OIDC connection", err)
	return &out
}
