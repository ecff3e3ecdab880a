// SPDX-License-Identifier: Apache-2.0

package google

import (
	"net/http"
	"strings"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

const (
	permissionToken = "iam.serviceAccounts.getAccessToken"
	hour            = time.Hour
)

// rpcError is a refusal of a Google API.
type rpcError struct {
	code       int
	status     string
	message    string
	reason     string // of an ErrorInfo; "" = none
	permission string
}

func (e *rpcError) write(w http.ResponseWriter) {
	body := map[string]any{"code": e.code, "message": e.message, "status": e.status}
	if e.reason != "" {
		info := map[string]any{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": e.reason, "domain": "googleapis.com"}
		if e.permission != "" {
			info["domain"] = "iam.googleapis.com"
			info["metadata"] = map[string]string{"permission": e.permission}
		}
		body["details"] = []any{info}
	}
	if e.code == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://accounts.google.com/"`)
	}
	fakecloud.WriteJSON(w, e.code, map[string]any{"error": body})
}

func badArgument(message string) *rpcError {
	return &rpcError{code: http.StatusBadRequest, status: "INVALID_ARGUMENT", message: message}
}

func (g *Google) iamHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/projects/-/serviceAccounts/{call}", func(w http.ResponseWriter, r *http.Request) {
		email, method, _ := strings.Cut(r.PathValue("call"), ":")
		if method != "generateAccessToken" {
			http.NotFound(w, r)
			return
		}
		t, err := g.generate(w, r, email)
		if err != nil {
			err.write(w)
			return
		}
		fakecloud.WriteJSON(w, http.StatusOK, map[string]string{
			"accessToken": t.value, "expireTime": t.expires.UTC().Format(time.RFC3339),
		})
	})
	return mux
}

// generate is generateAccessToken.
func (g *Google) generate(w http.ResponseWriter, r *http.Request, email string) (*token, *rpcError) {
	raw, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	caller := g.lookup(raw)
	switch {
	case !ok:
		return nil, &rpcError{code: http.StatusForbidden, status: "PERMISSION_DENIED", message: "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other form of API consumer identity to call this API."}
	case caller == nil || caller.bearer:
		return nil, &rpcError{
			code: http.StatusUnauthorized, status: "UNAUTHENTICATED", reason: "ACCESS_TOKEN_TYPE_UNSUPPORTED",
			message: "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
		}
	case !caller.has(ScopeCloudPlatform, "https://www.googleapis.com/auth/iam"):
		return nil, &rpcError{code: http.StatusForbidden, status: "PERMISSION_DENIED", reason: "ACCESS_TOKEN_SCOPE_INSUFFICIENT", message: "Request had insufficient authentication scopes."}
	}
	var q struct {
		Delegates []string `json:"delegates"`
		Scope     []string `json:"scope"`
		Lifetime  string   `json:"lifetime"`
	}
	if err := readJSON(w, r, &q); err != nil {
		return nil, badArgument("Invalid JSON payload received.")
	}
	if len(q.Scope) == 0 {
		return nil, badArgument("Request contains an invalid argument: scope is required.")
	}
	if _, e := parseScopes(strings.Join(q.Scope, " ")); e != nil {
		return nil, badArgument("Invalid OAuth scope.")
	}
	life := hour
	if q.Lifetime != "" {
		d, err := time.ParseDuration(q.Lifetime)
		if err != nil || d <= 0 || !strings.HasSuffix(q.Lifetime, "s") || strings.ContainsAny(q.Lifetime, "hm") {
			return nil, badArgument(`Invalid value at 'lifetime' (type.googleapis.com/google.protobuf.Duration)`)
		}
		life = d
	}
	target, e := g.mayImpersonate(caller, q.Delegates, email)
	if e != nil {
		return nil, e
	}
	g.mu.Lock()
	limit := hour
	if target.extended {
		limit = 12 * hour
	}
	disabled := target.disabled
	g.mu.Unlock()
	if life > limit {
		return nil, badArgument("The requested lifetime exceeds the maximum of " + limit.String() + " for this service account.")
	}
	if disabled {
		return nil, &rpcError{code: http.StatusBadRequest, status: "FAILED_PRECONDITION", message: "Service account is disabled: " + email}
	}
	return g.issue(target.token(q.Scope), "ya29.i.", life), nil
}

// mayImpersonate walks the chain: each link may have the tokens of the next.
func (g *Google) mayImpersonate(caller *token, delegates []string, email string) (*ServiceAccount, *rpcError) {
	chain := make([]string, 0, len(delegates)+1)
	for _, d := range delegates {
		name, ok := strings.CutPrefix(d, "projects/-/serviceAccounts/")
		if !ok {
			return nil, badArgument("Invalid delegate: " + d)
		}
		chain = append(chain, name)
	}
	chain = append(chain, email)
	g.mu.Lock()
	defer g.mu.Unlock()
	var at *ServiceAccount
	for _, name := range chain {
		next := g.accounts[name]
		if next == nil {
			return nil, &rpcError{code: http.StatusNotFound, status: "NOT_FOUND", message: "Not found; Gaia id not found for email " + name}
		}
		t := caller
		if at != nil {
			link := at.token(nil)
			t = &link
		}
		if !t.in(next.creators) {
			return nil, &rpcError{
				code: http.StatusForbidden, status: "PERMISSION_DENIED", reason: "IAM_PERMISSION_DENIED", permission: permissionToken,
				message: "Permission '" + permissionToken + "' denied on resource (or it may not exist).",
			}
		}
		at = next
	}
	return at, nil
}
