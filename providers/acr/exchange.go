// SPDX-License-Identifier: Apache-2.0

package acr

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/registryauth"
)

// defaultLife is taken where a token of the registry does not say when it
// ends: as long as the kubelet's provider keeps one.
const defaultLife = time.Hour

// minted is a token of the registry.
type minted struct {
	secret        providers.Secret
	asked, expire time.Time
}

// granted is a login at a registry: what the exchange gave, and where.
type granted struct {
	s       *source
	host    providers.Host
	at      *tokenServer
	by      entraToken
	refresh minted
}

// tokenServer is where a registry exchanges tokens.
type tokenServer struct {
	base    string // up to and with "/oauth2/"
	service string
	http    *httpx.Client
}

// tokenServer asks GET /v2/ for the realm and the service: regional login
// servers and those of other clouds name their own. The realm is the
// registry's own host or one that is known for it.
func (s *source) tokenServer(ctx context.Context, h providers.Host) (*tokenServer, error) {
	if s.plan.endpoint != "" {
		return &tokenServer{base: s.plan.endpoint + "/oauth2/", service: h.String(), http: s.http}, nil
	}
	r, err := registryauth.Probe(ctx, s.registry(h))
	if err != nil {
		return nil, firewall(err)
	}
	switch r.Challenge.Scheme {
	case "bearer":
	case "": // open to everybody at /v2/, perhaps by a proxy before it
		return &tokenServer{base: "https://" + h.String() + "/oauth2/", service: h.String(), http: s.http}, nil
	default:
		return nil, &providers.Error{Kind: providers.Misconfigured, Host: h, Err: errors.New("no Azure Container Registry: it asks for a user name and password"), Hint: `write provider = "generic"`}
	}
	u, client, err := r.TokenServer()
	if err != nil {
		return nil, err
	}
	path, ok := strings.CutSuffix(u.Path, "/oauth2/token")
	if !ok {
		client.CloseIdle()
		return nil, &providers.Error{Kind: providers.Misconfigured, Host: h, Err: fmt.Errorf("no Azure Container Registry: its token server is %s", httpx.CleanURL(u)), Hint: `write provider = "generic"`}
	}
	service := r.Challenge.Params["service"]
	if service == "" {
		service = h.String()
	}
	return &tokenServer{base: u.Scheme + "://" + u.Host + path + "/oauth2/", service: service, http: client}, nil
}

// firewall makes a refusal before any login one that trying again does not mend.
func firewall(err error) error {
	se, ok := errors.AsType[*httpx.StatusError](err)
	e, isOurs := errors.AsType[*providers.Error](err)
	if !ok || !isOurs || se.Status != http.StatusForbidden || se.Message == "" {
		return err
	}
	return &providers.Error{Kind: providers.Denied, Host: e.Host, Err: fmt.Errorf("the registry's firewall: %s", se.Message), Hint: "allow the address in the registry's networking, or use its private endpoint"}
}

// refreshToken logs in at the registry: an Entra token for a refresh token.
func (s *source) refreshToken(ctx context.Context, h providers.Host) (*granted, error) {
	by, cached, err := s.entraToken(ctx, h, s.plan.Audience, false)
	if err != nil {
		return nil, err
	}
	if err := s.sameCloud(h, by); err != nil {
		return nil, err
	}
	if err := s.sameTenant(h, by); err != nil {
		return nil, err
	}
	at, err := s.tokenServer(ctx, h)
	if err != nil {
		return nil, err
	}
	g := &granted{s: s, host: h, at: at, by: by}
	if err = g.login(ctx, cached); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

// login exchanges the Entra token, and another one where that may help.
func (g *granted) login(ctx context.Context, cached bool) error {
	err := g.exchange(ctx)
	for _, another := range []struct {
		audience string
		fresh    bool
		wanted   bool
	}{
		{g.s.plan.Audience, true, cached}, // the identity may be another one by now, or have got its role
		{g.s.cloud(g.host).arm, false, g.s.plan.ARMFallback},
	} {
		if !another.wanted || !refused(err) {
			continue
		}
		by, _, entraErr := g.s.entraToken(ctx, g.host, another.audience, another.fresh)
		if entraErr != nil {
			return entraErr
		}
		g.by = by
		err = g.exchange(ctx)
	}
	if err != nil {
		return g.explain(err)
	}
	return nil
}

func (g *granted) close() { g.at.http.CloseIdle() }

func refused(err error) bool {
	se, ok := errors.AsType[*httpx.StatusError](err)
	return ok && se.Status == http.StatusUnauthorized
}

// exchange is POST /oauth2/exchange; the tenant is the one the token is of.
func (g *granted) exchange(ctx context.Context) error {
	form := url.Values{"grant_type": {"access_token"}, "service": {g.at.service}, "access_token": {g.by.value.Reveal()}}
	if g.by.tenant != "" {
		form.Set("tenant", g.by.tenant)
	}
	asked := g.s.deps.Now()
	res, err := g.post(ctx, "exchange", form, g.by.value)
	if err != nil {
		return err
	}
	g.refresh, err = g.read(res, "refresh_token", asked, g.by.value)
	return err
}

func (g *granted) post(ctx context.Context, path string, form url.Values, secret providers.Secret) (*httpx.Response, error) {
	return g.at.http.Do(ctx, httpx.Request{
		Host: g.host, What: "token exchange", Method: http.MethodPost, URL: g.at.base + path, SameOrigin: true, Replay: true,
		Header:       http.Header{"Accept": {"application/json"}, "Content-Type": {"application/x-www-form-urlencoded"}},
		Body:         []byte(form.Encode()),
		Unauthorized: providers.Denied, Secrets: []providers.Secret{secret},
	})
}

// read takes a token out of an answer. Its end is the JWT's exp, but never
// later than its whole life from when it was asked for: with a clock that is
// behind it would seem to live longer than it does.
func (g *granted) read(res *httpx.Response, key string, asked time.Time, secrets ...providers.Secret) (minted, error) {
	fail := func(format string, args ...any) (minted, error) {
		text := fmt.Sprintf("token exchange at %s: ", httpx.Printable(res.URL.Host, 100)) + fmt.Sprintf(format, args...)
		if said := httpx.ErrorText(res.Body, secrets...); said != "" {
			text += ": " + said
		}
		return minted{}, &providers.Error{Kind: providers.Unavailable, Host: g.host, Err: errors.New(text)}
	}
	v, err := httpx.ParseJSON(res.Body)
	if err != nil {
		return fail("%s", err)
	}
	m, _ := v.(map[string]any)
	token, _ := m[key].(string)
	if token == "" || strings.ContainsFunc(token, func(c rune) bool { return c <= 0x20 || c >= 0x7f }) {
		return fail("the answer holds no %s", key)
	}
	out := minted{secret: providers.NewSecret(token), asked: asked}
	exp, ok := httpx.JWTExpiry(token)
	switch life := time.Duration(g.s.account.ExpiresIn); {
	case ok:
		out.expire = notLater(exp, token, asked)
	case life > 0:
		out.expire = asked.Add(life)
	default:
		out.expire = asked.Add(defaultLife)
	}
	if now := g.s.deps.Now(); !out.expire.After(now) {
		return fail("the registry's token is already expired since %s: check the clock of this machine (%s)", out.expire.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return out, nil
}

// notLater is exp, or asked and the life between iat and exp where that is
// earlier.
func notLater(exp time.Time, token string, asked time.Time) time.Time {
	claims, _ := httpx.JWTClaims(token)
	iat, ok := number(claims["iat"])
	if !ok {
		return exp
	}
	if life := exp.Sub(time.Unix(iat, 0)); life > 0 && asked.Add(life).Before(exp) {
		return asked.Add(life)
	}
	return exp
}

// accessToken is POST /oauth2/token for scopes. Registries have answered 400
// to a form they did not take and meant "by GET"; clients of all kinds go on
// by GET then, with the refresh token as password.
func (g *granted) accessToken(ctx context.Context, scopes []string) (minted, error) {
	secret := g.refresh.secret
	asked := g.s.deps.Now()
	res, err := g.post(ctx, "token", url.Values{
		"grant_type": {"refresh_token"}, "service": {g.at.service}, "refresh_token": {secret.Reveal()}, "scope": scopes,
	}, secret)
	if res != nil && (res.Status == http.StatusBadRequest || res.Status == http.StatusNotFound || res.Status == http.StatusMethodNotAllowed) {
		q := url.Values{"service": {g.at.service}, "scope": scopes}
		again, gerr := g.at.http.Do(ctx, httpx.Request{
			Host: g.host, What: "token exchange", URL: g.at.base + "token?" + q.Encode(), SameOrigin: true,
			Header: http.Header{
				"Accept":        {"application/json"},
				"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(User+":"+secret.Reveal()))},
			},
			Unauthorized: providers.Denied, Secrets: []providers.Secret{secret},
		})
		if gerr == nil {
			res, err = again, nil
		}
	}
	if err != nil {
		return minted{}, g.explainScope(err, scopes)
	}
	return g.read(res, "access_token", asked, secret)
}

// credential is a token as a client gets it.
func (g *granted) credential(t minted, wider bool) providers.Credential {
	return providers.Credential{
		Username: User, Secret: t.secret, IssuedAt: t.asked, ExpiresAt: t.expire, Wider: wider,
		Origin: "Entra: " + g.by.person(),
	}
}

// covers compares the access claim with what was asked for: the registry
// leaves out what the identity may not do, and a client would learn that late
// and in odd words.
func (g *granted) covers(t minted, grants []providers.Grant) error {
	return g.compare(t, grants, func(gr providers.Grant) []string {
		if gr.Access == 0 {
			return []string{"pull"}
		}
		return slices.DeleteFunc(actionsOf(gr.Access), func(a string) bool { return a == "metadata_read" })
	})
}

func (g *granted) coversNative(t minted, grants []providers.Grant) error {
	return g.compare(t, grants, func(gr providers.Grant) []string {
		return slices.DeleteFunc(nativeActions(gr.Access), func(a string) bool { return gr.Access == 0 && a == "pull" })
	})
}

func (g *granted) compare(t minted, grants []providers.Grant, want func(providers.Grant) []string) error {
	claims, _ := httpx.JWTClaims(t.secret.Reveal())
	if claims["grant_type"] != "access_token" {
		return nil // no token of the known kind: it says nothing
	}
	list, _ := claims["access"].([]any)
	for _, gr := range grants {
		if gr.Repository == "" {
			continue
		}
		have := actionsIn(list, gr.Repository)
		var missing []string
		for _, a := range want(gr) {
			if !slices.Contains(have, a) && !slices.Contains(have, "*") {
				missing = append(missing, a)
			}
		}
		if len(missing) > 0 {
			return g.noRight(missing, gr.Repository)
		}
	}
	return nil
}

func actionsIn(list []any, repository string) []string {
	var out []string
	for _, e := range list {
		entry, _ := e.(map[string]any)
		if entry["type"] != "repository" || entry["name"] != repository {
			continue
		}
		actions, _ := entry["actions"].([]any)
		for _, a := range actions {
			if s, ok := a.(string); ok {
				out = append(out, s)
			}
		}
	}
	return out
}
