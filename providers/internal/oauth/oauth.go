// SPDX-License-Identifier: Apache-2.0

// Package oauth is OAuth 2.0 for people: the device authorization grant (RFC
// 8628) and tokens whose refresh kills the pair before (RFC 6749 section 6 with
// rotation), as Docker Hub, GitHub and GitLab have them.
package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// Client is one application at one authorization server.
type Client struct {
	HTTP    *httpx.Client
	Host    providers.Host // the registry, for error texts
	Product string         // "GitHub", for error texts
	// DeviceURL and TokenURL are the two endpoints.
	DeviceURL, TokenURL string
	ClientID            string
	Scope               string     // of the device authorization; "" = none is sent
	Extra               url.Values // further parameters of the device authorization: audience
	Now                 func() time.Time
	// Pause waits between two polls and reports false where ctx ended; nil = by
	// the clock.
	Pause func(ctx context.Context, d time.Duration) bool
}

// Token is what the token endpoint gave.
type Token struct {
	Access, Refresh  providers.Secret
	IssuedAt         time.Time // when it was asked for
	ExpiresAt        time.Time // of Access; zero: none was said
	RefreshExpiresAt time.Time // zero: none was said
	Scopes           []string  // granted; nil: not said
}

// Error is the cause inside an *Error where the server answered with an OAuth
// error code.
type Error struct {
	Product, Code, Description string
}

// Error implements error.
func (e *Error) Error() string {
	if e.Description == "" {
		return e.Product + ": " + e.Code
	}
	return e.Product + ": " + e.Code + ": " + e.Description
}

// post sends a form and reads the answer's members. GitHub answers errors with
// status 200 (shelf: registries-hosted §1.4), GitLab with 400: the code in the
// body decides, whatever the status.
func (c Client) post(ctx context.Context, what, at string, form url.Values, secrets ...providers.Secret) (map[string]any, error) {
	res, err := c.HTTP.Do(ctx, httpx.Request{
		Host: c.Host, What: what, Method: http.MethodPost, URL: at, SameOrigin: true,
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}},
		Body:   []byte(form.Encode()), Secrets: secrets,
	})
	if err != nil && (res == nil || len(res.Body) == 0) {
		return nil, err
	}
	v, jsonErr := httpx.ParseJSON(res.Body)
	m, ok := v.(map[string]any)
	if code, _ := m["error"].(string); code != "" {
		text, _ := m["error_description"].(string)
		oe := &Error{Product: c.Product, Code: httpx.Clean(code, 60, secrets...), Description: httpx.Clean(text, 160, secrets...)}
		if passing(res.Status, code) {
			return m, c.later(oe, err)
		}
		return m, oe
	}
	switch {
	case err != nil:
		return nil, err
	case jsonErr != nil || !ok:
		return nil, c.fail(providers.Unavailable, "", fmt.Errorf("%s: the answer of %s is no JSON object", c.Product, what))
	}
	return m, nil
}

// passing reports an error of the server, which says nothing about what was
// asked for. The two codes are of RFC 6749 section 4.1.2.1; some servers send
// them from the token endpoint too, and the third where they count requests.
func passing(status int, code string) bool {
	switch code {
	case "slow_down", "authorization_pending": // words of the protocol, whatever the status
		return false
	case "server_error", "temporarily_unavailable", "too_many_requests":
		return true
	}
	return status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status >= 500
}

// later is a passing error, with what the transport said about when to come
// back.
func (c Client) later(oe *Error, transport error) *providers.Error {
	e := c.fail(providers.Unavailable, "", oe)
	if t, ok := errors.AsType[*providers.Error](transport); ok {
		e.RetryAfter = t.RetryAfter
	}
	return e
}

func (c Client) fail(k providers.Kind, hint string, err error) *providers.Error {
	return &providers.Error{Kind: k, Host: c.Host, Hint: hint, Err: err}
}

// token reads a token answer. asked is when it was asked for: an expiry counts
// from there, never later.
func (c Client) token(m map[string]any, asked time.Time) (Token, error) {
	text := func(key string) providers.Secret {
		s, _ := m[key].(string)
		if httpx.HasBreak(s) {
			s = ""
		}
		return providers.NewSecret(s)
	}
	t := Token{Access: text("access_token"), Refresh: text("refresh_token"), IssuedAt: asked}
	if t.Access.IsZero() {
		return t, c.fail(providers.Unavailable, "", errors.New(c.Product+": the answer holds no access token"))
	}
	if n, ok := Seconds(m["expires_in"]); ok {
		t.ExpiresAt = asked.Add(n)
	}
	if n, ok := Seconds(m["refresh_token_expires_in"]); ok && n > 0 {
		t.RefreshExpiresAt = asked.Add(n)
	}
	if !t.ExpiresAt.IsZero() && !t.ExpiresAt.After(asked) {
		return t, c.fail(providers.Unavailable, "", errors.New(c.Product+": the answer holds a token that is expired already"))
	}
	if s, ok := m["scope"].(string); ok { // GitHub separates by commas, the standard by blanks
		t.Scopes = strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
	}
	return t, nil
}

// Seconds reads a count of seconds up to 10 years, as number or text. Zero and
// less are said too: what lives no longer than that is over.
func Seconds(v any) (time.Duration, bool) {
	var text string
	switch n := v.(type) {
	case json.Number:
		text = n.String()
	case string:
		text = n
	default:
		return 0, false
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || f > 10*365*24*3600 {
		return 0, false
	}
	return time.Duration(max(f, -1) * float64(time.Second)), true
}
