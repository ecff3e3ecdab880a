// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

const (
	grantDevice  = "urn:ietf:params:oauth:grant-type:device_code"
	grantRefresh = "refresh_token"
	scopeAccess  = "sso:account:access"
	pollEvery    = time.Second
)

// oidcInput are the members that the calls of the OIDC service have.
type oidcInput struct {
	ClientName, ClientType              string
	Scopes, GrantTypes                  []string
	ClientID, ClientSecret              string
	StartURL                            string
	GrantType, DeviceCode, RefreshToken string
}

// oidcError is a refusal of the OIDC service: OAuth's words beside AWS's.
func oidcError(status int, code, word, text string) *refusal {
	return &refusal{status: status, code: code, message: text, extra: map[string]any{"error": word, "error_description": text}}
}

// oidc serves the OIDC service of IAM Identity Center, whose requests are not
// signed (docs.aws.amazon.com/singlesignon/latest/OIDCAPIReference).
func (a *AWS) oidc(w http.ResponseWriter, r *http.Request, ep endpoint) {
	body, ok := readBody(w, r)
	call := map[string]struct {
		action string
		f      func(endpoint, oidcInput) (any, *refusal)
	}{
		"/client/register":      {"sso-oauth:RegisterClient", a.registerClient},
		"/device_authorization": {"sso-oauth:StartDeviceAuthorization", a.startDevice},
		"/token":                {"sso-oauth:CreateToken", a.createToken},
	}[r.URL.Path]
	var in oidcInput
	switch {
	case call.f == nil || r.Method != http.MethodPost:
		a.refuseREST(w, &refusal{status: 404, code: "UnknownOperationException", message: "unknown operation"})
		return
	case !ok || r.Header.Get("Content-Type") != kindJSON || json.Unmarshal(body, &in) != nil:
		a.refuseREST(w, oidcError(400, "InvalidRequestException", "invalid_request", "Invalid request"))
		return
	}
	if f := a.failure(call.action); f != nil {
		a.refuseREST(w, f.refusal())
		return
	}
	a.mu.Lock()
	out, no := call.f(ep, in)
	a.mu.Unlock()
	if no != nil {
		a.refuseREST(w, no)
		return
	}
	a.head(w, kindJSON)
	fakecloud.WriteJSON(w, http.StatusOK, out)
}

// The calls below are made with the lock held.

func (a *AWS) registerClient(ep endpoint, in oidcInput) (any, *refusal) {
	switch {
	case in.ClientName == "":
		return nil, oidcError(400, "InvalidClientMetadataException", "invalid_client_metadata", "Invalid client name")
	case in.ClientType != "public":
		return nil, oidcError(400, "InvalidClientMetadataException", "invalid_client_metadata", "Invalid client type")
	}
	for _, s := range in.Scopes {
		if service, _, ok := strings.Cut(s, ":"); !ok || service == "" {
			return nil, oidcError(400, "InvalidScopeException", "invalid_scope", "Invalid scope")
		}
	}
	if len(in.GrantTypes) == 0 {
		in.GrantTypes = []string{grantDevice, grantRefresh}
	}
	k := a.register(ep.region, in.GrantTypes)
	k.scopes = in.Scopes
	return map[string]any{
		"clientId": k.id, "clientSecret": k.secret, "clientIdIssuedAt": a.c.Now().Unix(), "clientSecretExpiresAt": k.until.Unix(),
	}, nil
}

func (a *AWS) register(region string, grants []string) *client {
	k := &client{id: random(22), secret: "eyJraWQi" + random(300), region: region, grants: grants, scopes: []string{scopeAccess}, until: a.c.Now().Add(90 * 24 * time.Hour)}
	a.clients[k.id] = k
	return k
}

// known finds the client that calls.
func (a *AWS) known(ep endpoint, in oidcInput) (*client, *refusal) {
	k := a.clients[in.ClientID]
	if k == nil || k.secret != in.ClientSecret || k.region != ep.region || !a.c.Now().Before(k.until) {
		return nil, oidcError(401, "InvalidClientException", "invalid_client", "Invalid client")
	}
	return k, nil
}

func (a *AWS) startDevice(ep endpoint, in oidcInput) (any, *refusal) {
	k, no := a.known(ep, in)
	if no != nil {
		return nil, no
	}
	at := slices.IndexFunc(a.centers, func(s *Center) bool {
		return s.region == ep.region && strings.TrimSuffix(s.startURL, "/") == strings.TrimSuffix(strings.TrimSuffix(in.StartURL, "#"), "/")
	})
	if at < 0 {
		return nil, oidcError(400, "InvalidRequestException", "invalid_request", "Invalid start url provided")
	}
	code := random(8)
	d := &device{
		center: a.centers[at], client: k.id, code: random(120), user: code[:4] + "-" + code[4:], until: a.c.Now().Add(10 * time.Minute), interval: pollEvery,
	}
	a.devices = append(a.devices, d)
	page := "https://device.sso." + ep.region + ".amazonaws.com/"
	return map[string]any{
		"deviceCode": d.code, "userCode": d.user, "verificationUri": page, "verificationUriComplete": page + "?user_code=" + d.user,
		"expiresIn": 600, "interval": int(pollEvery / time.Second),
	}, nil
}

func (a *AWS) createToken(ep endpoint, in oidcInput) (any, *refusal) {
	k, no := a.known(ep, in)
	switch {
	case no != nil:
		return nil, no
	case in.GrantType != grantDevice && in.GrantType != grantRefresh:
		return nil, oidcError(400, "UnsupportedGrantTypeException", "unsupported_grant_type", "Unsupported grant type")
	case !slices.Contains(k.grants, in.GrantType):
		return nil, oidcError(400, "UnauthorizedClientException", "unauthorized_client", "Client is not authorized for this grant type")
	case in.GrantType == grantDevice:
		return a.deviceToken(k, in)
	}
	return a.refreshed(k, in)
}

func (a *AWS) deviceToken(k *client, in oidcInput) (any, *refusal) {
	at := slices.IndexFunc(a.devices, func(d *device) bool { return d.code == in.DeviceCode && d.client == k.id })
	if in.DeviceCode == "" || at < 0 || a.devices[at].used {
		return nil, oidcError(400, "InvalidGrantException", "invalid_grant", "Invalid device code provided")
	}
	d, now := a.devices[at], a.c.Now()
	early := !d.polled.IsZero() && now.Sub(d.polled) < d.interval*9/10
	d.polled = now
	switch {
	case !now.Before(d.until):
		return nil, oidcError(400, "ExpiredTokenException", "expired_token", "The device code has expired")
	case d.denied:
		return nil, oidcError(400, "AccessDeniedException", "access_denied", "The user denied the request")
	case early:
		d.interval += 5 * time.Second
		return nil, oidcError(400, "SlowDownException", "slow_down", "Polling too often")
	case d.person == "":
		return nil, oidcError(400, "AuthorizationPendingException", "authorization_pending", "Authorization is still pending")
	}
	d.used = true
	// A client without scopes gets a token that cannot be renewed.
	refresh := slices.Contains(k.grants, grantRefresh) && len(k.scopes) > 0
	token, l := d.center.newLogin(d.person, k.id, now.Add(d.center.session), refresh)
	return l.answer(token, now), nil
}

func (l *login) answer(token string, now time.Time) map[string]any {
	out := map[string]any{"accessToken": token, "tokenType": "Bearer", "expiresIn": int(l.expires.Sub(now).Round(time.Second) / time.Second)}
	if l.refresh != "" {
		out["refreshToken"] = l.refresh
	}
	return out
}

// refreshed takes a refresh token once: the answer has the next one.
func (a *AWS) refreshed(k *client, in oidcInput) (any, *refusal) {
	now := a.c.Now()
	for _, l := range a.logins {
		if in.RefreshToken == "" || l.refresh != in.RefreshToken || l.client != k.id || l.ended || !now.Before(l.until) {
			continue
		}
		l.refresh = ""
		token, next := l.center.newLogin(l.person, k.id, l.until, true)
		return next.answer(token, now), nil
	}
	return nil, oidcError(400, "InvalidGrantException", "invalid_grant", "Invalid refresh token provided")
}
