// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/regmint/regmint/test/fakecloud"
)

// service is the audience of bearers.
const service = "registry.docker.io"

func (h *Hub) serve() {
	registry := http.HandlerFunc(h.serveRegistry)
	for _, name := range []string{RegistryHost, "index.docker.io"} {
		h.handle(name, registry)
	}
	auth := http.NewServeMux()
	auth.HandleFunc("GET /token", h.getToken)
	auth.HandleFunc("POST /token", h.postToken)
	h.handle(AuthHost, auth)
	h.serveAPI()
	h.serveLogin()
	h.serveIdentity()
}

// handle serves one of Docker Hub's hosts, with the Date of the cloud's clock.
func (h *Hub) handle(host string, to http.Handler) {
	h.Cloud.Handle(host, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", h.Cloud.Now().UTC().Format(http.TimeFormat))
		to.ServeHTTP(w, r)
	}))
}

// wrongPassword is the token server's refusal: no errors envelope (seen in
// captures).
func wrongPassword(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = fmt.Fprintln(w, `{"details":"incorrect username or password"}`)
}

// getToken is the GET form: Basic where somebody is there, else anonymous.
func (h *Hub) getToken(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var id identity
	if user, secret, ok := r.BasicAuth(); ok {
		var why string
		if id, why = h.password(user, secret); why != "" {
			wrongPassword(w)
			return
		}
	} else if r.Header.Get("Authorization") != "" {
		wrongPassword(w)
		return
	}
	q := r.URL.Query()
	if q.Get("service") != service { // the answer is not known for certain
		http.Error(w, `{"details":"bad request"}`, http.StatusBadRequest)
		return
	}
	answer := h.bearer(id, q["scope"])
	answer["token"] = answer["access_token"]
	if q.Get("offline_token") == "true" && id.kind == "password" {
		answer["refresh_token"] = h.keepOffline(id)
	}
	fakecloud.WriteJSON(w, http.StatusOK, answer)
}

// postToken is the POST form of auth/oauth.md; the values of its fields at
// Docker Hub are not known for certain.
func (h *Hub) postToken(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.ParseForm() != nil || r.PostForm.Get("service") != service {
		http.Error(w, `{"details":"bad request"}`, http.StatusBadRequest)
		return
	}
	var id identity
	f := r.PostForm
	switch f.Get("grant_type") {
	case "password":
		var why string
		if id, why = h.password(f.Get("username"), f.Get("password")); why != "" {
			wrongPassword(w)
			return
		}
	case "refresh_token":
		known, ok := h.offline[f.Get("refresh_token")]
		if !ok {
			wrongPassword(w)
			return
		}
		id = known
	default:
		http.Error(w, `{"details":"unsupported grant type"}`, http.StatusBadRequest)
		return
	}
	answer := h.bearer(id, strings.Fields(f.Get("scope")))
	answer["scope"] = f.Get("scope")
	if f.Get("access_type") == "offline" && f.Get("grant_type") == "password" {
		answer["refresh_token"] = h.keepOffline(id)
	}
	fakecloud.WriteJSON(w, http.StatusOK, answer)
}

func (h *Hub) keepOffline(id identity) string {
	s := "offline-" + guid()
	h.offline[s] = id
	return s
}

// bearer makes a token for what of the scopes id may do: none is no error.
func (h *Hub) bearer(id identity, scopes []string) map[string]any {
	h.counts.Bearers++
	type access struct {
		Type    string   `json:"type"`
		Name    string   `json:"name"`
		Actions []string `json:"actions"`
	}
	granted := []access{}
	for _, s := range slices.Compact(strings.Fields(strings.Join(scopes, " "))) {
		parts := strings.SplitN(s, ":", 3)
		if len(parts) != 3 || parts[0] != "repository" || !strings.Contains(parts[1], "/") {
			continue
		}
		role := h.role(id, parts[1])
		a := access{Type: "repository", Name: parts[1], Actions: []string{}}
		for _, act := range strings.Split(parts[2], ",") {
			if need, ok := map[string]Role{"pull": Reader, "push": Writer}[act]; ok && role >= need {
				a.Actions = append(a.Actions, act)
			}
		}
		if len(a.Actions) > 0 {
			granted = append(granted, a)
		}
	}
	life := h.options.BearerLife
	return map[string]any{
		"access_token": h.sign(jwt.MapClaims{"iss": AuthHost, "aud": service, "sub": id.name, "access": granted}, life),
		"expires_in":   int(life / time.Second), "issued_at": h.Cloud.Now().UTC().Format(time.RFC3339Nano),
	}
}

func (h *Hub) serveRegistry(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/v2" && !strings.HasPrefix(r.URL.Path, "/v2/") {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	op := fakecloud.OpOf(r)
	who, why := h.allowed(r, op)
	if why != "" {
		h.challenge(w, op, why)
		return
	}
	if op.Action == "delete" { // not offered to users, as far as is known
		refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "The operation is unsupported.")
		return
	}
	manifest := strings.Contains(r.URL.Path, "/manifests/") && op.Action == "pull"
	if manifest && !h.limit(w, r, who) {
		return
	}
	if op.Repository == preview {
		h.preview(w)
		return
	}
	h.mu.Lock()
	if op.Action == "push" && h.repos[op.Repository] == nil {
		h.repos[op.Repository] = &Repository{Name: op.Repository}
	}
	h.mu.Unlock()
	r.Host = RegistryHost // one store under all names
	h.Images.Serve(w, r, who)
}

// allowed checks the bearer: who, or why not.
func (h *Hub) allowed(r *http.Request, op fakecloud.Op) (who, why string) {
	auth := r.Header.Get("Authorization")
	if auth == "" {
		return "", "missing"
	}
	token, ok := strings.CutPrefix(auth, "Bearer ")
	if !ok { // Basic is no way in here
		return "", "missing"
	}
	claims, ok := h.verify(token, AuthHost, service)
	if !ok {
		return "", "invalid_token"
	}
	who = text(claims["sub"])
	if op.Repository == "" || op.Repository == preview {
		return who, ""
	}
	list, _ := claims["access"].([]any)
	for _, e := range list {
		m, _ := e.(map[string]any)
		actions, _ := m["actions"].([]any)
		if m["name"] == op.Repository && slices.Contains(actions, any(op.Action)) {
			return who, ""
		}
		if m["name"] == op.Repository && op.Action == "delete" && slices.Contains(actions, any("push")) {
			return who, ""
		}
	}
	return who, "insufficient_scope"
}

func (h *Hub) challenge(w http.ResponseWriter, op fakecloud.Op, why string) {
	c := `Bearer realm="https://` + AuthHost + `/token",service="` + service + `"`
	if op.Repository != "" {
		actions := op.Action
		if op.Action != "pull" {
			actions = "pull," + op.Action
		}
		c += `,scope="repository:` + op.Repository + `:` + actions + `"`
	}
	if why != "missing" {
		c += `,error="` + why + `"`
	}
	w.Header().Set("WWW-Authenticate", c)
	refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	fakecloud.WriteJSON(w, status, map[string]any{"errors": []any{map[string]any{"code": code, "message": message, "detail": nil}}})
}

func form(r *http.Request) (url.Values, bool) {
	mime, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if mime != "application/x-www-form-urlencoded" || r.ParseForm() != nil {
		return nil, false
	}
	return r.PostForm, true
}
