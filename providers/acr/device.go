// SPDX-License-Identifier: Apache-2.0

package acr

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// device signs a person in by the device authorization grant: RFC 8628 as
// learn.microsoft.com/entra/identity-platform/v2-oauth2-device-code has it.
func (l *login) device(ctx context.Context) (providers.LoginResult, error) {
	s := l.s
	s.deps.Env = nil // the account will be a written one
	kept := s.plan.kind == byDevice && !l.account.Password.IsZero()
	if l.account.Layer == providers.LayerConfigured && !kept {
		e := s.fail(l.q.Host, providers.Misconfigured, fmt.Errorf("account %q has no place for the login", l.account.Name))
		e.Hint = `write identity = "device" and password = "keyring:NAME"`
		return providers.LoginResult{}, e
	}
	flow := &deviceFlow{
		login: l, tenant: firstOf(s.plan.TenantID, anyTenant), client: firstOf(s.plan.ClientID, azureCLI),
		scope: s.plan.Audience + "/.default offline_access",
	}
	if err := flow.begin(ctx); err != nil {
		return providers.LoginResult{}, err
	}
	t, err := flow.wait(ctx)
	if err != nil {
		return providers.LoginResult{}, err
	}
	if t.refresh.IsZero() {
		return providers.LoginResult{}, s.fail(l.q.Host, providers.Unavailable, errors.New("no refresh token from Entra: the application must allow offline_access"))
	}
	if t, err = l.settle(ctx, flow, t); err != nil {
		return providers.LoginResult{}, err
	}
	out := providers.LoginResult{Account: l.account, Secret: t.refresh, Who: t.person()}
	if kept && (s.plan.TenantID != "" || l.account.Layer == providers.LayerConfigured) {
		return out, nil
	}
	o := s.plan.Options
	o.Identity = Identity{Kind: byDevice}
	o.TenantID = firstOf(o.TenantID, t.tenant)
	out.Account.Options, out.Write = l.written(o), true
	return out, nil
}

// settle shows the person to the registry: as of their own tenant, else as of
// one in which they are a guest. The registry does not say which is its own.
func (l *login) settle(ctx context.Context, f *deviceFlow, t entraToken) (entraToken, error) {
	by := func(t entraToken) error {
		_, err := l.judge(ctx, func(*source) identity { return fixed{t} })
		return err
	}
	err := by(t)
	if providers.KindOf(err) != providers.Denied || l.s.plan.TenantID != "" {
		return t, l.stranger(t, err)
	}
	for _, tenant := range l.tenants(ctx, f, t) {
		guest, gerr := f.redeem(ctx, tenant, f.scope, t.refresh)
		if gerr == nil && by(guest) == nil {
			if guest.refresh.IsZero() {
				guest.refresh = t.refresh
			}
			return guest, nil
		}
	}
	return t, l.stranger(t, err)
}

// maxTenants bounds in how many tenants a guest is looked for.
const maxTenants = 20

// tenants lists the other tenants that know a person: GET /tenants of the
// Resource Manager. None where that cannot be asked.
func (l *login) tenants(ctx context.Context, f *deviceFlow, t entraToken) []string {
	s, arm := l.s, l.s.cloud(l.q.Host).arm
	manager, err := f.redeem(ctx, firstOf(t.tenant, anyTenant), arm+"/.default", t.refresh)
	if err != nil {
		return nil
	}
	res, err := s.http.Do(ctx, httpx.Request{
		Host: l.q.Host, What: "tenants", URL: arm + "/tenants?api-version=2022-12-01", SameOrigin: true,
		Header: http.Header{"Authorization": {"Bearer " + manager.value.Reveal()}, "Accept": {"application/json"}},
	})
	if err != nil {
		return nil
	}
	v, err := httpx.ParseJSON(res.Body)
	m, _ := v.(map[string]any)
	list, _ := m["value"].([]any)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range list {
		entry, _ := e.(map[string]any)
		if id, _ := entry["tenantId"].(string); isGUID(id) && id != t.tenant && len(out) < maxTenants {
			out = append(out, id)
		}
	}
	return out
}

// redeem is the refresh token grant in a tenant.
func (f *deviceFlow) redeem(ctx context.Context, tenant, scope string, refresh providers.Secret) (entraToken, error) {
	return f.login.s.ask(ctx, f.login.q.Host, grant{
		tenant: tenant, client: f.client, secrets: []providers.Secret{refresh}, words: f.words(),
		form: url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh.Reveal()}, "scope": {scope}},
	})
}

// stranger adds to a refusal which tenant the person is of: the registry does
// not say its own.
func (l *login) stranger(t entraToken, err error) error {
	e, ok := errors.AsType[*providers.Error](err)
	if !ok || e.Kind != providers.Denied {
		return err
	}
	out := *e
	if want := l.s.plan.TenantID; want == "" {
		out.Hint = "a registry of another tenant than " + firstOf(t.tenant, "this one") + " needs tenant_id in its account; else assign AcrPull or AcrPush"
	}
	return &out
}

// fixed is a token that is there.
type fixed struct{ t entraToken }

func (f fixed) stamp() string { return "" }

func (f fixed) token(context.Context, providers.Host, string) (entraToken, error) { return f.t, nil }

// deviceFlow is one code.
type deviceFlow struct {
	login          *login
	tenant, client string
	scope          string
	code           providers.Secret
	expires        time.Time
	interval       time.Duration
}

// The bounds of what Entra says about a code.
const (
	deviceLife     = 15 * time.Minute
	deviceInterval = 5 * time.Second
)

func (f *deviceFlow) words() circumstances {
	return circumstances{
		host: f.login.q.Host, app: f.client, tenant: f.tenant, resource: f.login.s.plan.Audience,
		loginRequired: "run: regmint login " + f.login.q.Host.String(),
	}
}

func (f *deviceFlow) begin(ctx context.Context) error {
	s, h := f.login.s, f.login.q.Host
	res, err := s.entra(ctx, h, f.tenant, "devicecode", url.Values{"client_id": {f.client}, "scope": {f.scope}}, nil)
	if err != nil {
		if res != nil {
			err = rejected(err, res.Body, f.words())
		}
		return err
	}
	v, err := httpx.ParseJSON(res.Body)
	m, _ := v.(map[string]any)
	code, _ := m["device_code"].(string)
	user, _ := m["user_code"].(string)
	at := firstText(m, "verification_uri", "verification_url")
	if err != nil || code == "" || user == "" || !isHTTPS(at) {
		return s.fail(h, providers.Unavailable, errors.New("the answer of Entra holds no device code"))
	}
	f.code, f.expires, f.interval = providers.NewSecret(code), s.deps.Now().Add(deviceLife), deviceInterval
	if n, ok := whole(m["expires_in"]); ok && n > 0 && n < int64(deviceLife/time.Second) {
		f.expires = s.deps.Now().Add(time.Duration(n) * time.Second)
	}
	if n, ok := whole(m["interval"]); ok && n > 0 && n <= 60 {
		f.interval = time.Duration(n) * time.Second
	}
	complete := firstText(m, "verification_uri_complete")
	if !isHTTPS(complete) {
		complete = ""
	}
	return f.login.q.UI.Device(ctx, providers.Device{
		For: "Entra, for " + h.String(), URL: httpx.Printable(at, 200), Complete: httpx.Printable(complete, 400), Code: httpx.Printable(user, 40), ExpiresAt: f.expires,
	})
}

func firstText(m map[string]any, keys ...string) string {
	for _, k := range keys {
		if s, _ := m[k].(string); s != "" {
			return s
		}
	}
	return ""
}

func isHTTPS(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil
}

// wait polls until the person has decided or the code is over.
func (f *deviceFlow) wait(ctx context.Context) (entraToken, error) {
	s, h := f.login.s, f.login.q.Host
	over := &providers.Error{Kind: providers.LoginRequired, Host: h, Err: errors.New("nobody entered the code in time"), Hint: f.words().loginRequired}
	for {
		if !pause(ctx, f.interval) {
			return entraToken{}, s.fail(h, providers.Unavailable, errors.New("the login was interrupted"))
		}
		if !s.deps.Now().Before(f.expires) {
			return entraToken{}, over
		}
		asked := s.deps.Now()
		secrets := []providers.Secret{f.code}
		res, err := s.entra(ctx, h, f.tenant, "token", url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "client_id": {f.client}, "device_code": {f.code.Reveal()},
		}, secrets)
		if err == nil {
			return s.readToken(h, res, asked, secrets)
		}
		if res == nil {
			if providers.KindOf(err) == providers.Unavailable && ctx.Err() == nil {
				continue // RFC 8628 section 3.5: a lost answer is no refusal
			}
			return entraToken{}, err
		}
		r, _ := rejectionOf(res.Body, secrets...)
		switch r.oauth {
		case "authorization_pending":
		case "slow_down":
			f.interval += deviceInterval
		case "expired_token", "code_expired":
			return entraToken{}, over
		case "authorization_declined", "access_denied":
			return entraToken{}, s.fail(h, providers.Denied, errors.New("the sign-in was declined in the browser"))
		default:
			if providers.KindOf(err) != providers.Unavailable {
				return entraToken{}, rejected(err, res.Body, f.words(), secrets...)
			}
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
