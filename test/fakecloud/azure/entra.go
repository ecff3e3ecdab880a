// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"encoding/base64"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

// Hosts that answer for an environment beside its Authority.
var authorityAliases = []string{"login.windows.net", "login.microsoft.com", "sts.windows.net"}

func (a *Azure) serveEntra() {
	for _, e := range []Environment{Public, Government, China} {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /common/discovery/instance", a.instances)
		mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) { a.configuration(w, r, e) })
		mux.HandleFunc("GET /{tenant}/discovery/v2.0/keys", a.keys)
		mux.HandleFunc("POST /{tenant}/oauth2/v2.0/token", func(w http.ResponseWriter, r *http.Request) { a.token(w, r, e) })
		mux.HandleFunc("POST /{tenant}/oauth2/v2.0/devicecode", func(w http.ResponseWriter, r *http.Request) { a.deviceCode(w, r, e) })
		a.Cloud.Handle(e.Authority, mux)
	}
}

// instances is instance discovery: which hosts are one and the same.
func (a *Azure) instances(w http.ResponseWriter, r *http.Request) {
	u, err := url.Parse(r.URL.Query().Get("authorization_endpoint"))
	if err != nil || u.Scheme != "https" || r.URL.Query().Get("api-version") == "" {
		a.fail(w, refusal{400, "invalid_request", 90013, "Invalid input received from the user."})
		return
	}
	known := false
	for _, e := range []Environment{Public, Government, China} {
		known = known || u.Host == e.Authority
	}
	for _, h := range authorityAliases {
		known = known || u.Host == h
	}
	tenant, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if !known {
		a.fail(w, refusal{400, "invalid_instance", 50049, "Unknown or invalid instance."})
		return
	}
	fakecloud.WriteJSON(w, http.StatusOK, map[string]any{
		"tenant_discovery_endpoint": "https://" + u.Host + "/" + tenant + "/v2.0/.well-known/openid-configuration",
		"api-version":               "1.1",
		"metadata": []any{
			map[string]any{"preferred_network": Public.Authority, "preferred_cache": "login.windows.net", "aliases": append([]string{Public.Authority}, authorityAliases...)},
			map[string]any{"preferred_network": China.Authority, "preferred_cache": China.Authority, "aliases": []string{China.Authority, "login.partner.microsoftonline.cn"}},
			map[string]any{"preferred_network": Government.Authority, "preferred_cache": Government.Authority, "aliases": []string{Government.Authority, "login.usgovcloudapi.net"}},
		},
	})
}

func (a *Azure) configuration(w http.ResponseWriter, r *http.Request, e Environment) {
	name := r.PathValue("tenant")
	id := "{tenantid}"
	if !isShared(name) {
		a.mu.Lock()
		t := a.tenant(e, name)
		a.mu.Unlock()
		if t == nil {
			f := noTenant(name)
			f.code = "invalid_tenant"
			a.fail(w, f)
			return
		}
		id = t.ID
	}
	base := "https://" + e.Authority + "/" + name
	if id != "{tenantid}" {
		base = "https://" + e.Authority + "/" + id
	}
	fakecloud.WriteJSON(w, http.StatusOK, map[string]any{
		"issuer": "https://" + e.Authority + "/" + id + "/v2.0", "token_endpoint": base + "/oauth2/v2.0/token",
		"authorization_endpoint": base + "/oauth2/v2.0/authorize", "device_authorization_endpoint": base + "/oauth2/v2.0/devicecode",
		"jwks_uri": base + "/discovery/v2.0/keys", "response_types_supported": []string{"code", "id_token"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
		"id_token_signing_alg_values_supported": []string{"RS256"}, "subject_types_supported": []string{"pairwise"},
		"scopes_supported": []string{"openid", "profile", "email", "offline_access"},
	})
}

func (a *Azure) keys(w http.ResponseWriter, _ *http.Request) {
	fakecloud.WriteJSON(w, http.StatusOK, map[string]any{"keys": []any{map[string]string{
		"kty": "RSA", "use": "sig", "kid": entraKid,
		"n": base64.RawURLEncoding.EncodeToString(a.entraKey.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(a.entraKey.E)).Bytes()),
	}}})
}

// isShared tells the names that stand for no one tenant.
func isShared(tenant string) bool {
	return tenant == "organizations" || tenant == "common" || tenant == "consumers"
}

// refusal is an error of the token endpoints.
type refusal struct {
	status int
	code   string // OAuth2
	aadsts int
	text   string
}

func noTenant(name string) refusal {
	return refusal{400, "invalid_request", 90002, "Tenant '" + name + "' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant."}
}

// fail answers in the shape of Entra: the description ends with the ids that
// support asks for.
func (a *Azure) fail(w http.ResponseWriter, f refusal) {
	trace, correlation, now := guid(), guid(), a.Cloud.Now().UTC().Format("2006-01-02 15:04:05Z")
	w.Header().Set("Cache-Control", "no-store, no-cache")
	w.Header().Set("X-Ms-Request-Id", trace)
	fakecloud.WriteJSON(w, f.status, map[string]any{
		"error":             f.code,
		"error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s", f.aadsts, f.text, trace, correlation, now),
		"error_codes":       []int{f.aadsts}, "timestamp": now, "trace_id": trace, "correlation_id": correlation,
		"error_uri": fmt.Sprintf("https://%s/error?code=%d", Public.Authority, f.aadsts),
	})
}

func seconds(d time.Duration) int { return int(d / time.Second) }
