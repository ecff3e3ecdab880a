// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

// grant is a pair of OAuth2 tokens of a user.
type grant struct {
	id      int
	access  string
	refresh string
	app     *Application
	user    *User
	scopes  []string
	created time.Time
	expires time.Time // of the access token
	revoked bool
}

// oauthError is a refusal of RFC 6749 in the product's words.
type oauthError struct {
	status            int
	code, description string
}

var (
	errClient = &oauthError{401, "invalid_client", "Client authentication failed due to unknown client, no client authentication included, or unsupported authentication method."}
	errGrant  = &oauthError{400, "invalid_grant", "The provided authorization grant is invalid, expired, revoked, does not match the redirection URI used in the authorization request, or was issued to another client."}
	errScope  = &oauthError{400, "invalid_scope", "The requested scope is invalid, unknown, or malformed."}
	errType   = &oauthError{400, "unsupported_grant_type", "The authorization grant type is not supported by the authorization server."}
)

func (e *oauthError) write(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	if e.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="Doorkeeper", error="`+e.code+`", error_description="`+e.description+`"`)
	}
	fakecloud.WriteJSON(w, e.status, map[string]string{"error": e.code, "error_description": e.description})
}

func (g *GitLab) serveOAuth(w http.ResponseWriter, r *http.Request) {
	form, err := params(r)
	if err != nil {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	switch r.Method + " " + r.URL.Path {
	case "POST /oauth/authorize_device":
		g.authorizeDevice(w, form)
	case "POST /oauth/token":
		g.oauthToken(w, r, form)
	case "POST /oauth/revoke":
		g.oauthRevoke(w, r, form)
	case "GET /oauth/token/info":
		g.tokenInfo(w, r)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (g *GitLab) oauthToken(w http.ResponseWriter, r *http.Request, form url.Values) {
	var gr *grant
	var refused *oauthError
	step := Refresh
	g.mu.Lock()
	app := g.apps[form.Get("client_id")]
	switch form.Get("grant_type") {
	case "refresh_token":
		gr, refused = g.refresh(form, app)
	case "urn:ietf:params:oauth:grant-type:device_code":
		step = DeviceGrant
		gr, refused = g.deviceGrant(form, app)
	default:
		refused = errType
	}
	var body map[string]any
	if gr != nil {
		body = map[string]any{
			"access_token": gr.access, "token_type": "Bearer", "expires_in": int(gr.expires.Sub(gr.created) / time.Second),
			"refresh_token": gr.refresh, "scope": strings.Join(gr.scopes, " "), "created_at": gr.created.Unix(),
		}
	}
	g.mu.Unlock()
	if refused != nil {
		refused.write(w)
		return
	}
	g.answer(w, r, step, http.StatusOK, body)
}

// refresh replaces a pair: both old tokens are over at once. Callers hold mu.
func (g *GitLab) refresh(form url.Values, app *Application) (*grant, *oauthError) {
	if app == nil {
		return nil, errClient
	}
	for _, gr := range g.grants {
		if gr.refresh != form.Get("refresh_token") || gr.app != app {
			continue
		}
		if gr.revoked {
			g.counts.ReusedRefresh++
			return nil, errGrant
		}
		if gr.user.blocked {
			return nil, errGrant
		}
		g.revokeGrant(gr, ByRefresh)
		g.counts.Refreshes++
		return g.newGrant(app, gr.user, gr.scopes), nil
	}
	return nil, errGrant
}

// newGrant makes a pair. Callers hold mu.
func (g *GitLab) newGrant(app *Application, u *User, scopes []string) *grant {
	now := g.Cloud.Now()
	gr := &grant{
		id: g.id(), access: hexText(), refresh: hexText(), app: app, user: u, scopes: slices.Clone(scopes),
		created: now, expires: now.Add(g.options.AccessLife),
	}
	g.grants = append(g.grants, gr)
	return gr
}

func (g *GitLab) revokeGrant(gr *grant, why Why) {
	if gr.revoked {
		return
	}
	gr.revoked = true
	g.revoked = append(g.revoked, Revocation{ID: gr.id, Name: gr.app.Name, Why: why, Time: g.Cloud.Now()})
}

// oauthRevoke ends a pair by either token. Unknown ones are no error (RFC 7009).
func (g *GitLab) oauthRevoke(w http.ResponseWriter, r *http.Request, form url.Values) {
	g.mu.Lock()
	app := g.apps[form.Get("client_id")]
	if app != nil {
		for _, gr := range g.grants {
			if t := form.Get("token"); t != "" && (gr.access == t || gr.refresh == t) && gr.app == app {
				g.revokeGrant(gr, ByOAuth)
			}
		}
	}
	g.mu.Unlock()
	if app == nil {
		(&oauthError{403, "unauthorized_client", "You are not authorized to revoke this token"}).write(w)
		return
	}
	g.answer(w, r, RevokeToken, http.StatusOK, map[string]any{})
}

func (g *GitLab) tokenInfo(w http.ResponseWriter, r *http.Request) {
	raw, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	g.mu.Lock()
	gr := g.grantOf(raw)
	var refused *oauthError
	now := g.Cloud.Now()
	switch {
	case gr == nil:
		refused = &oauthError{401, "invalid_token", "The access token is invalid"}
	case gr.revoked:
		refused = &oauthError{401, "invalid_token", "The access token was revoked"}
	case !gr.valid(g):
		refused = &oauthError{401, "invalid_token", "The access token expired"}
	}
	g.mu.Unlock()
	if refused != nil {
		refused.write(w)
		return
	}
	left := int(gr.expires.Sub(now) / time.Second)
	fakecloud.WriteJSON(w, http.StatusOK, map[string]any{
		"resource_owner_id": gr.user.ID, "scope": gr.scopes, "scopes": gr.scopes, "expires_in": left, "expires_in_seconds": left,
		"application": map[string]string{"uid": gr.app.ClientID}, "created_at": gr.created.Unix(),
	})
}

// Pair is an OAuth2 login that was not made by a device code.
type Pair struct {
	Access, Refresh string
	Expires         time.Time
}

// OAuth logs u in to the application, without a request.
func (u *User) OAuth(app *Application, scopes ...string) Pair {
	u.g.mu.Lock()
	defer u.g.mu.Unlock()
	gr := u.g.newGrant(app, u, scopes)
	return Pair{gr.access, gr.refresh, gr.expires}
}

// RefreshWorks tells whether a refresh token is still good.
func (g *GitLab) RefreshWorks(token string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.ContainsFunc(g.grants, func(gr *grant) bool { return gr.refresh == token && !gr.revoked })
}
