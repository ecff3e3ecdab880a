// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/regmint/regmint/test/fakecloud"
)

const wrongCredentials = "Incorrect authentication credentials"

func (h *Hub) serveAPI() {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v2/auth/token", h.authToken)
	mux.HandleFunc("POST /v2/users/login", h.usersLogin)
	mux.HandleFunc("POST /v2/users/login/", h.usersLogin)
	mux.HandleFunc("POST /v2/users/2fa-login", h.secondFactor)
	mux.HandleFunc("POST /v2/access-tokens/desktop-generate", h.desktopGenerate)
	mux.HandleFunc("POST /v2/access-tokens", h.createToken)
	mux.HandleFunc("DELETE /v2/access-tokens/{uuid}", h.deleteToken)
	mux.HandleFunc("DELETE /v2/repositories/{namespace}/{name}/tags/{tag}/", h.deleteTag)
	mux.HandleFunc("DELETE /v2/repositories/{namespace}/{name}/", h.deleteRepository)
	h.handle(APIHost, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.limitAPI(w) {
			mux.ServeHTTP(w, r)
		}
	}))
}

func detail(w http.ResponseWriter, status int, s string) {
	fakecloud.WriteJSON(w, status, map[string]any{"detail": s})
}

func body(r *http.Request) map[string]string {
	m := map[string]string{}
	b, _ := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") || json.Unmarshal(b, &m) != nil {
		return map[string]string{}
	}
	return m
}

// apiToken makes a token of 10 minutes. Callers hold mu.
func (h *Hub) apiToken(id identity) string {
	h.counts.APITokens++
	return h.sign(jwt.MapClaims{
		"iss": "https://" + APIHost, "aud": audience, "sub": id.name, "kind": id.kind, "scope": string(id.scope),
	}, h.options.APILife)
}

func (h *Hub) authToken(w http.ResponseWriter, r *http.Request) {
	q := body(r)
	h.mu.Lock()
	defer h.mu.Unlock()
	id, why := h.password(q["identifier"], q["secret"])
	if why != "" || id.kind == "oidc" { // federation is for registries alone
		detail(w, http.StatusUnauthorized, wrongCredentials)
		return
	}
	fakecloud.WriteJSON(w, http.StatusOK, map[string]any{"access_token": h.apiToken(id)})
}

func (h *Hub) usersLogin(w http.ResponseWriter, r *http.Request) {
	q := body(r)
	h.mu.Lock()
	defer h.mu.Unlock()
	id, why := h.password(q["username"], q["password"])
	switch {
	case why == "2fa": // the text is not known for certain
		t := "2fa-" + guid()
		h.mfa[t] = id.user
		fakecloud.WriteJSON(w, http.StatusUnauthorized, map[string]any{
			"detail": "Require secondary authentication on MFA enabled account", "login_2fa_token": t,
		})
	case why != "" || id.kind == "oidc" || id.kind == "oat":
		detail(w, http.StatusUnauthorized, wrongCredentials)
	default:
		fakecloud.WriteJSON(w, http.StatusOK, map[string]any{"token": h.apiToken(id)})
	}
}

func (h *Hub) secondFactor(w http.ResponseWriter, r *http.Request) {
	q := body(r)
	h.mu.Lock()
	defer h.mu.Unlock()
	u := h.mfa[q["login_2fa_token"]]
	if u == nil || u.code == "" || q["code"] != u.code {
		detail(w, http.StatusUnauthorized, wrongCredentials)
		return
	}
	delete(h.mfa, q["login_2fa_token"])
	fakecloud.WriteJSON(w, http.StatusOK, map[string]any{"token": h.apiToken(identity{name: u.Name, user: u, kind: "password"})})
}

// bearerOf reads who calls the API: a token of its own, as Bearer or JWT, or an
// access token of the OAuth tenant. Callers hold mu.
func (h *Hub) bearerOf(w http.ResponseWriter, r *http.Request) (identity, bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if scheme == "Bearer" || scheme == "JWT" {
		if c, ok := h.verify(token, "https://"+APIHost, audience); ok {
			id := identity{name: text(c["sub"]), kind: text(c["kind"]), scope: Scope(text(c["scope"]))}
			if id.kind == "oat" {
				id.org = h.orgs[id.name]
			} else {
				id.user = h.users[id.name]
			}
			return id, true
		}
		if c, ok := h.verify(token, "https://"+LoginHost+"/", audience); ok {
			m, _ := c[audience].(map[string]any)
			session, _ := strconv.Atoi(text(m["session_id"]))
			if u := h.users[text(m["username"])]; u != nil && session > u.ended {
				return identity{name: u.Name, user: u, kind: "web"}, true
			}
		}
	}
	detail(w, http.StatusUnauthorized, "Authentication credentials were not provided or are not valid.") // the text is not known for certain
	return identity{}, false
}

// maxGenerated is how many tokens made by desktop-generate a user keeps.
const maxGenerated = 5

func (h *Hub) desktopGenerate(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id, ok := h.bearerOf(w, r)
	if !ok {
		return
	}
	if id.kind == "pat" || id.user == nil {
		detail(w, http.StatusForbidden, "access is forbidden with a JWT issued from a personal access token")
		return
	}
	h.counts.Generated++
	t := h.token("dckr_pat_", &Token{Label: "generated", Scope: RepoAdmin, user: id.user, generated: true})
	if all := id.user.generated(); len(all) > maxGenerated {
		for _, old := range all[:len(all)-maxGenerated] {
			old.revoked = true
		}
	}
	fakecloud.WriteJSON(w, http.StatusCreated, map[string]any{"data": map[string]any{"token": t.Secret, "uuid": t.UUID}})
}

func (h *Hub) createToken(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Label   string   `json:"token_label"`
		Scopes  []string `json:"scopes"`
		Expires string   `json:"expires_at"`
	}
	err := json.NewDecoder(io.LimitReader(r.Body, 64<<10)).Decode(&q)
	h.mu.Lock()
	defer h.mu.Unlock()
	id, ok := h.bearerOf(w, r)
	switch {
	case !ok:
	case id.kind == "pat" || id.user == nil:
		detail(w, http.StatusForbidden, "access is forbidden with a JWT issued from a personal access token")
	case err != nil || q.Label == "" || len(q.Scopes) != 1:
		detail(w, http.StatusBadRequest, "bad request")
	default:
		t := h.token("dckr_pat_", &Token{Label: q.Label, Scope: Scope(q.Scopes[0]), user: id.user})
		t.Expires, _ = time.Parse(time.RFC3339, q.Expires)
		fakecloud.WriteJSON(w, http.StatusCreated, map[string]any{"uuid": t.UUID, "token": t.Secret, "token_label": t.Label, "scopes": q.Scopes})
	}
}

func (h *Hub) deleteToken(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id, ok := h.bearerOf(w, r)
	if !ok {
		return
	}
	for _, t := range h.tokens {
		if t.UUID == r.PathValue("uuid") && id.user != nil && t.user == id.user && id.kind != "pat" {
			t.revoked = true
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
	detail(w, http.StatusNotFound, "not found")
}

// mayDelete answers where a deletion is refused. Callers hold mu.
func (h *Hub) mayDelete(w http.ResponseWriter, r *http.Request, repo string) bool {
	id, ok := h.bearerOf(w, r)
	switch {
	case !ok:
		return false
	case id.kind == "pat":
		detail(w, http.StatusForbidden, "access is forbidden with a JWT issued from a personal access token")
		return false
	case h.repos[repo] == nil || h.role(id, repo) == 0:
		fakecloud.WriteJSON(w, http.StatusNotFound, map[string]any{"message": "object not found", "errinfo": map[string]any{}})
		return false
	case h.role(id, repo) < Admin:
		detail(w, http.StatusForbidden, "permission denied")
		return false
	}
	return true
}

func (h *Hub) deleteTag(w http.ResponseWriter, r *http.Request) {
	repo, tag := r.PathValue("namespace")+"/"+r.PathValue("name"), r.PathValue("tag")
	h.mu.Lock()
	ok := h.mayDelete(w, r, repo)
	h.mu.Unlock()
	if !ok {
		return
	}
	inner := httptest.NewRequest(http.MethodDelete, "https://"+RegistryHost+"/v2/"+repo+"/manifests/"+tag, nil)
	answer := httptest.NewRecorder()
	h.Images.Serve(answer, inner, "the API")
	if answer.Code >= 300 {
		fakecloud.WriteJSON(w, http.StatusNotFound, map[string]any{"message": "tag not found", "errinfo": map[string]any{}})
		return
	}
	h.mu.Lock()
	h.deleted = append(h.deleted, repo+":"+tag)
	h.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

func (h *Hub) deleteRepository(w http.ResponseWriter, r *http.Request) {
	repo := r.PathValue("namespace") + "/" + r.PathValue("name")
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.mayDelete(w, r, repo) {
		return
	}
	delete(h.repos, repo)
	h.deleted = append(h.deleted, repo)
	w.WriteHeader(http.StatusAccepted)
}
