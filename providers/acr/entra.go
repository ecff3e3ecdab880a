// SPDX-License-Identifier: Apache-2.0

package acr

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

// entraToken is an access token of Entra, or of a service that speaks for it.
type entraToken struct {
	value   providers.Secret
	refresh providers.Secret // of a person, where Entra gave one
	asked   time.Time
	expires time.Time
	tenant  string // tid claim, "" where the token does not say
	who     string // person or application, "" where the token does not say
	via     string // "managed identity"
	issuer  string // host of the iss claim
}

// person says who the token speaks for.
func (t entraToken) person() string {
	s := t.who
	if s == "" {
		s = "the identity"
	}
	if t.via != "" {
		s += " (" + t.via + ")"
	}
	if t.tenant != "" {
		s += " of tenant " + t.tenant
	}
	return s
}

// read fills in what the token itself tells. Nothing of it is verified: it is
// for texts, and for the exchange's field tenant.
func (t *entraToken) read() {
	claims, _ := httpx.JWTClaims(t.value.Reveal())
	claim := func(names ...string) string {
		for _, n := range names {
			if s, ok := claims[n].(string); ok && s != "" {
				return httpx.Printable(s, 100)
			}
		}
		return ""
	}
	t.tenant = claim("tid")
	if u, err := url.Parse(claim("iss")); err == nil {
		t.issuer = u.Host
	}
	t.who = claim("upn", "preferred_username", "unique_name", "email")
	if t.who == "" {
		if app := claim("appid", "azp"); app != "" {
			t.who = "application " + app
		} else if oid := claim("oid"); oid != "" {
			t.who = "object " + oid
		}
	}
}

// issuers are the hosts in iss claims and the clouds they stand for. Version 1
// tokens of the public cloud and of US Government name the same one.
var issuers = map[string][]string{
	"sts.windows.net": {"public", "usgov"}, "login.microsoftonline.com": {"public"}, "login.microsoftonline.us": {"usgov"},
	"sts.chinacloudapi.cn": {"china"}, "login.chinacloudapi.cn": {"china"}, "login.partner.microsoftonline.cn": {"china"},
}

// sameCloud refuses to show a token of one cloud to a registry of another: the
// clouds have other operators, and the token's audience is the same in all.
// What the account says itself about cloud and authority wins.
func (s *source) sameCloud(h providers.Host, t entraToken) error {
	to, known := parseServer(h)
	of := issuers[t.issuer]
	if !known || len(of) == 0 || slices.Contains(of, to.cloud.name) || s.plan.Cloud != "" || s.plan.authority != "" {
		return nil
	}
	kind := providers.Misconfigured
	if s.account.Layer == providers.LayerAmbient {
		kind = providers.NoAccount
	}
	return &providers.Error{
		Kind: kind, Host: h, Err: fmt.Errorf("%s is of Azure's cloud %s, the registry of %s", t.person(), of[0], to.cloud.name),
		Hint: "log in to that cloud, or set identity and cloud",
	}
}

// identity gets Entra tokens. Errors are *Error.
type identity interface {
	token(ctx context.Context, h providers.Host, audience string) (entraToken, error)
	// stamp changes with everything outside that may make the next token
	// another one: a cached token of another stamp is none.
	stamp() string
}

// authority is the origin of the token endpoints for a host.
func (s *source) authority(h providers.Host) string {
	if s.plan.authority != "" {
		return s.plan.authority
	}
	return s.cloud(h).authority
}

// sameTenant refuses a token of another tenant than the account names: the
// registry would answer no more than 401.
func (s *source) sameTenant(h providers.Host, t entraToken) error {
	want := s.plan.TenantID
	if !isGUID(want) || t.tenant == "" || strings.EqualFold(want, t.tenant) {
		return nil
	}
	return &providers.Error{
		Kind: providers.Misconfigured, Host: h, Err: fmt.Errorf("the account names tenant %s, but its identity is %s", want, t.person()),
		Hint: "correct tenant_id, or use an identity of that tenant",
	}
}

func isGUID(s string) bool {
	return len(s) == 36 && strings.Count(s, "-") == 4 && strings.Trim(strings.ToLower(s), "0123456789abcdef-") == ""
}

// cloud is the one configured, else the one the caller's AZURE_AUTHORITY_HOST
// names, else the one the host is in.
func (s *source) cloud(h providers.Host) cloud {
	if c, ok := cloudNamed(s.plan.Cloud); ok {
		return c
	}
	if c, ok := cloudAt(s.deps.Env[envAuthority]); ok {
		return c
	}
	return cloudOf(h)
}

// grant is a request to a token endpoint of Entra, for which the form lacks
// client_id alone.
type grant struct {
	tenant, client string
	form           url.Values
	secrets        []providers.Secret
	words          circumstances
}

// ask is POST {authority}/{tenant}/oauth2/v2.0/token.
func (s *source) ask(ctx context.Context, h providers.Host, g grant) (entraToken, error) {
	g.form.Set("client_id", g.client)
	g.words.host, g.words.app, g.words.tenant = h, g.client, g.tenant
	g.words.resource = strings.TrimSuffix(strings.Fields(g.form.Get("scope") + " ?")[0], "/.default")
	if g.words.loginRequired == "" {
		g.words.loginRequired = "run: regmint login " + h.String()
	}
	asked := s.deps.Now()
	res, err := s.entra(ctx, h, g.tenant, "token", g.form, g.secrets)
	if err != nil {
		if res != nil {
			err = rejected(err, res.Body, g.words, g.secrets...)
		}
		return entraToken{}, err
	}
	return s.readToken(h, res, asked, g.secrets)
}

// entra posts a form to an endpoint of a tenant.
func (s *source) entra(ctx context.Context, h providers.Host, tenant, endpoint string, form url.Values, secrets []providers.Secret) (*httpx.Response, error) {
	return s.http.Do(ctx, httpx.Request{
		Host: h, What: "Entra", Method: http.MethodPost, SameOrigin: true, Replay: true,
		URL:    s.authority(h) + "/" + url.PathEscape(tenant) + "/oauth2/v2.0/" + endpoint,
		Header: http.Header{"Accept": {"application/json"}, "Content-Type": {"application/x-www-form-urlencoded"}},
		Body:   []byte(form.Encode()), Secrets: secrets,
	})
}

// readToken reads the answer of a token endpoint or of a metadata service:
// expires_in is a number there and a text here.
func (s *source) readToken(h providers.Host, res *httpx.Response, asked time.Time, secrets []providers.Secret) (entraToken, error) {
	v, err := httpx.ParseJSON(res.Body)
	m, _ := v.(map[string]any)
	t := entraToken{asked: asked}
	if err == nil {
		t.value, t.expires, err = tokenIn(m, asked)
	}
	if err == nil && !t.expires.After(s.deps.Now()) {
		err = errors.New("the token is already expired: check the clock of this machine")
	}
	if err != nil {
		text := httpx.ShowURL(res.URL, secrets...) + ": " + err.Error()
		if said := httpx.ErrorText(res.Body, secrets...); said != "" {
			text += ": " + said
		}
		return entraToken{}, &providers.Error{Kind: providers.Unavailable, Host: h, Err: errors.New(text)}
	}
	if r, ok := m["refresh_token"].(string); ok && !httpx.HasBreak(r) {
		t.refresh = providers.NewSecret(r)
	}
	t.read()
	return t, nil
}

// tokenIn takes access_token, and its end from expires_in, expires_on (Unix
// seconds) or the token itself.
func tokenIn(m map[string]any, asked time.Time) (providers.Secret, time.Time, error) {
	token, _ := m["access_token"].(string)
	if token == "" || strings.ContainsFunc(token, func(c rune) bool { return c <= 0x20 || c >= 0x7f }) {
		return providers.Secret{}, time.Time{}, errors.New("the answer holds no token")
	}
	end := asked.Add(defaultLife)
	exp, isJWT := httpx.JWTExpiry(token)
	if n, ok := whole(m["expires_in"]); ok {
		end = asked.Add(time.Duration(min(max(n, 0), int64(48*time.Hour/time.Second))) * time.Second)
	} else if n, ok := whole(m["expires_on"]); ok {
		end = time.Unix(n, 0)
	} else if isJWT {
		end = exp
	}
	return providers.NewSecret(token), end, nil
}

// whole reads a JSON number or a text of digits.
func whole(v any) (int64, bool) {
	if s, ok := v.(string); ok {
		n, err := parseInt(s)
		return n, err == nil
	}
	return number(v)
}
