// SPDX-License-Identifier: Apache-2.0

package registryauth

import (
	"context"
	"encoding/base64"
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

// The bounds of a bearer's life: docker's token specification says that
// clients may count on 60 s, and nobody hands out bearers for days.
const (
	minLife = 60 * time.Second
	maxLife = 12 * time.Hour
)

// Token is an answer of a token server.
type Token struct {
	Value     providers.Secret
	Refresh   providers.Secret // zero unless the server gave one
	IssuedAt  time.Time
	ExpiresAt time.Time // at least 60 s, at most 12 h after IssuedAt, unless the JWT says earlier
}

// Exchange asks the challenge's token server for a bearer with the given
// scopes (none: the login alone). A user name and password go by GET, then by
// POST where the server has no GET form; an identity token (user "<token>")
// goes by POST. unauthorized is the kind a 401 gets. Errors are *Error; a
// realm that must not see the credential is Misconfigured with a *RealmError.
func (r *Registry) Exchange(ctx context.Context, c providers.Credential, scopes []string, unauthorized providers.Kind) (Token, error) {
	if r.Challenge.Scheme != "bearer" {
		return Token{}, r.fail(providers.Misconfigured, errors.New("the registry has no token server"))
	}
	to, err := r.trusted(r.Challenge.Params["realm"])
	if err != nil {
		return Token{}, err
	}
	guarded := r.cfg.HTTP.Guarded(to.policy)
	defer guarded.CloseIdle()
	x := exchange{r: r, http: guarded, realm: to.url, cred: c, scopes: scopes, service: r.Challenge.Params["service"], unauthorized: unauthorized}
	if c.Username == TokenUser {
		t, res, err := x.post(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {c.Secret.Reveal()}})
		if noSuchForm(res) {
			return Token{}, r.fail(providers.Misconfigured, fmt.Errorf("the token server %s takes no identity tokens: log in with a user name and password", httpx.Printable(to.url.Host, 100)))
		}
		return t, err
	}
	t, res, err := x.get(ctx)
	if !noSuchForm(res) {
		return t, err
	}
	t, res, perr := x.post(ctx, url.Values{"grant_type": {"password"}, "username": {c.Username}, "password": {c.Secret.Reveal()}})
	if noSuchForm(res) {
		return Token{}, err // neither form: the first answer says more
	}
	return t, perr
}

// noSuchForm reports an answer that means "not this way".
func noSuchForm(res *httpx.Response) bool {
	return res != nil && (res.Status == http.StatusNotFound || res.Status == http.StatusMethodNotAllowed || res.Status == http.StatusNotImplemented)
}

type exchange struct {
	r            *Registry
	http         *httpx.Client
	realm        *url.URL
	cred         providers.Credential
	scopes       []string
	service      string
	unauthorized providers.Kind
}

const clientID = "regmint"

func (x exchange) get(ctx context.Context) (Token, *httpx.Response, error) {
	u := *x.realm
	q := u.Query()
	if x.service != "" {
		q.Set("service", x.service)
	}
	q.Del("scope")
	for _, s := range x.scopes {
		q.Add("scope", s)
	}
	q.Set("client_id", clientID)
	h := http.Header{"Accept": {"application/json"}}
	if !x.cred.Secret.IsZero() {
		q.Set("account", x.cred.Username)
		h.Set("Authorization", basic(x.cred))
	}
	u.RawQuery = q.Encode()
	return x.do(ctx, httpx.Request{URL: u.String(), Header: h})
}

func (x exchange) post(ctx context.Context, form url.Values) (Token, *httpx.Response, error) {
	if x.service != "" {
		form.Set("service", x.service)
	}
	if len(x.scopes) > 0 {
		form.Set("scope", strings.Join(x.scopes, " "))
	}
	form.Set("client_id", clientID)
	h := http.Header{"Accept": {"application/json"}, "Content-Type": {"application/x-www-form-urlencoded"}}
	return x.do(ctx, httpx.Request{Method: http.MethodPost, URL: x.realm.String(), Header: h, Body: []byte(form.Encode()), Replay: true})
}

func (x exchange) do(ctx context.Context, q httpx.Request) (Token, *httpx.Response, error) {
	q.Host, q.What, q.SameOrigin = x.r.cfg.Host, "token exchange", true
	q.Unauthorized, q.Secrets = x.unauthorized, []providers.Secret{x.cred.Secret}
	res, err := x.http.Do(ctx, q)
	if err != nil {
		return Token{}, res, err
	}
	t, err := ParseToken(res.Body, x.r.cfg.Now())
	if err != nil {
		text := fmt.Sprintf("token exchange at %s: %s", httpx.Printable(x.realm.Host, 100), err)
		if said := httpx.ErrorText(res.Body, x.cred.Secret); said != "" { // HTTP 200 {"detail":"2FA required"}
			text += ": " + said
		}
		return Token{}, res, x.r.fail(providers.Unavailable, errors.New(text))
	}
	return t, res, nil
}

func basic(c providers.Credential) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Secret.Reveal()))
}

// ParseToken reads a token server's answer. Where "token" and "access_token"
// differ the latter is taken, as containerd and go-containerregistry do.
// Errors repeat nothing of b.
func ParseToken(b []byte, now time.Time) (Token, error) {
	v, err := httpx.ParseJSON(b)
	if err != nil {
		return Token{}, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return Token{}, errors.New("the answer is no JSON object")
	}
	var value, refresh string
	for _, f := range []struct {
		key  string
		into *string
	}{{"token", &value}, {"access_token", &value}, {"refresh_token", &refresh}} {
		if err := text(m, f.key, f.into); err != nil {
			return Token{}, err
		}
	}
	if value == "" {
		return Token{}, errors.New("the answer holds no token")
	}
	life, err := lifeOf(m["expires_in"])
	if err != nil {
		return Token{}, err
	}
	t := Token{Value: providers.NewSecret(value), Refresh: providers.NewSecret(refresh), IssuedAt: issued(m["issued_at"], now)}
	t.ExpiresAt = t.IssuedAt.Add(life)
	if exp, ok := httpx.JWTExpiry(value); ok && exp.Before(t.ExpiresAt) {
		t.ExpiresAt = exp
	}
	return t, nil
}

// text reads a string field that may be absent or null.
func text(m map[string]any, key string, into *string) error {
	switch s := m[key].(type) {
	case nil:
	case string:
		if strings.ContainsFunc(s, func(c rune) bool { return c < 0x20 || c >= 0x7f }) {
			return fmt.Errorf("the answer's %s holds odd characters", key)
		}
		if s != "" {
			*into = s
		}
	default:
		return fmt.Errorf("the answer's %s is no text", key)
	}
	return nil
}

// lifeOf reads expires_in: whole seconds, as a number or as text. Absent or
// too short is 60 s, absurdly long is 12 h.
func lifeOf(v any) (time.Duration, error) {
	var f float64
	switch n := v.(type) {
	case nil:
		return minLife, nil
	case json.Number:
		x, err := strconv.ParseFloat(n.String(), 64)
		if err != nil && !math.IsInf(x, 0) {
			return 0, errors.New("the answer's expires_in is no number")
		}
		f = x
	case string:
		i, err := strconv.ParseInt(n, 10, 64)
		if err != nil {
			return 0, errors.New("the answer's expires_in is no whole number")
		}
		f = float64(i)
	default:
		return 0, errors.New("the answer's expires_in is no number")
	}
	f = min(max(f, minLife.Seconds()), maxLife.Seconds())
	return time.Duration(f * float64(time.Second)), nil
}

// issued believes issued_at only where it is within five minutes of our clock.
func issued(v any, now time.Time) time.Time {
	if s, ok := v.(string); ok {
		if t, err := time.Parse(time.RFC3339, s); err == nil && now.Sub(t).Abs() <= 5*time.Minute {
			return t
		}
	}
	return now
}
