// SPDX-License-Identifier: Apache-2.0

// Package registryauthtest is a registry with a token server for tests. It
// follows distribution's reference: what that refuses is refused here.
package registryauthtest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Fake is a registry. Set its fields before it serves.
type Fake struct {
	Users   map[string]string              // name: password
	Refresh map[string]string              // identity token: user name
	Rights  map[string]map[string][]string // user name: repository: actions
	Exists  []string                       // repositories; those of Rights with pull need to be listed too
	Basic   bool                           // ask for Basic
	Open    bool                           // let everybody in at /v2/
	Opaque  bool                           // tokens are no JWTs
	NoGET   bool                           // token server without the GET form
	NoPOST  bool                           // token server without the POST form
	Realm   string                         // in place of the registry's own /token
	Service string

	mu     sync.Mutex
	tokens map[string]token
	Log    []string // "METHOD /path user" of every request with a credential, "-" without
}

type token struct {
	user   string
	access map[string][]string
}

// Requests copies the log.
func (f *Fake) Requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.Log)
}

// ServeHTTP implements http.Handler.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tokens == nil {
		f.tokens = map[string]token{}
	}
	user, _, _ := r.BasicAuth()
	if t, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		user = "bearer of " + f.tokens[t].user
	}
	if user == "" {
		user = "-"
	}
	f.Log = append(f.Log, r.Method+" "+r.URL.Path+" "+user)
	switch {
	case r.URL.Path == "/token":
		f.token(w, r)
	case r.URL.Path == "/v2/":
		f.root(w, r)
	case strings.HasPrefix(r.URL.Path, "/v2/") && strings.HasSuffix(r.URL.Path, "/tags/list"):
		f.tags(w, r, strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/v2/"), "/tags/list"))
	default:
		http.NotFound(w, r)
	}
}

func fail(w http.ResponseWriter, status int, code, msg string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, msg)
}

func (f *Fake) challenge(w http.ResponseWriter, r *http.Request, scope, errorCode string) {
	if f.Basic {
		w.Header().Set("WWW-Authenticate", `Basic realm="fake"`)
	} else {
		realm := f.Realm
		if realm == "" {
			scheme := "http"
			if r.TLS != nil {
				scheme = "https"
			}
			realm = scheme + "://" + r.Host + "/token"
		}
		c := fmt.Sprintf("Bearer realm=%q,service=%q", realm, f.Service)
		if scope != "" {
			c += fmt.Sprintf(",scope=%q", scope)
		}
		if errorCode != "" {
			c += fmt.Sprintf(",error=%q", errorCode)
		}
		w.Header().Set("WWW-Authenticate", c)
	}
	fail(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
}

// who reads the request's credential; "" for nobody.
func (f *Fake) who(r *http.Request) (string, *token) {
	if f.Basic || f.Open {
		if u, p, ok := r.BasicAuth(); ok && f.Users[u] == p && p != "" {
			return u, nil
		}
	}
	if v, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		if t, ok := f.tokens[v]; ok {
			return t.user, &t
		}
	}
	return "", nil
}

func (f *Fake) root(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	_, t := f.who(r)
	user, _ := f.who(r)
	open := f.Open && r.Header.Get("Authorization") == ""
	if user == "" && t == nil && !open {
		f.challenge(w, r, "", "")
	}
}

func (f *Fake) tags(w http.ResponseWriter, r *http.Request, repo string) {
	user, t := f.who(r)
	scope := "repository:" + repo + ":pull"
	var can []string
	switch {
	case t != nil:
		can = t.access[repo]
	case user != "":
		can = f.Rights[user][repo]
	default:
		f.challenge(w, r, scope, "")
		return
	}
	switch {
	case !slices.Contains(can, "pull") && f.Basic:
		fail(w, http.StatusForbidden, "DENIED", "requested access to the resource is denied")
	case !slices.Contains(can, "pull"):
		f.challenge(w, r, scope, "insufficient_scope")
	case !slices.Contains(f.Exists, repo):
		fail(w, http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry")
	default:
		_, _ = fmt.Fprintf(w, `{"name":%q,"tags":[]}`, repo)
	}
}

func (f *Fake) token(w http.ResponseWriter, r *http.Request) {
	var user string
	var scopes []string
	key := "token"
	switch {
	case r.Method == http.MethodGet && !f.NoGET:
		scopes = r.URL.Query()["scope"]
		u, p, ok := r.BasicAuth()
		if ok && (f.Users[u] != p || p == "") {
			fail(w, http.StatusUnauthorized, "UNAUTHORIZED", "incorrect username or password")
			return
		}
		user = u
	case r.Method == http.MethodPost && !f.NoPOST:
		key = "access_token"
		scopes = strings.Fields(r.PostFormValue("scope"))
		var ok bool
		if user, ok = f.grant(w, r); !ok {
			return
		}
	case f.NoGET || f.NoPOST:
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if r.FormValue("service") != f.Service {
		fail(w, http.StatusBadRequest, "UNSUPPORTED", "unknown service")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{key: f.issue(user, scopes), "expires_in": 300, "issued_at": time.Now().UTC().Format(time.RFC3339)})
}

func (f *Fake) grant(w http.ResponseWriter, r *http.Request) (string, bool) {
	oauth := func(status int, code string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"error":%q}`, code)
	}
	if r.PostFormValue("client_id") == "" || r.PostFormValue("service") == "" {
		oauth(http.StatusBadRequest, "invalid_request")
		return "", false
	}
	switch r.PostFormValue("grant_type") {
	case "password":
		if u, p := r.PostFormValue("username"), r.PostFormValue("password"); p != "" && f.Users[u] == p {
			return u, true
		}
	case "refresh_token":
		if u, ok := f.Refresh[r.PostFormValue("refresh_token")]; ok {
			return u, true
		}
	default:
		oauth(http.StatusBadRequest, "unsupported_grant_type")
		return "", false
	}
	oauth(http.StatusUnauthorized, "invalid_grant")
	return "", false
}

// issue grants what is asked for and allowed; asking for more is no error.
func (f *Fake) issue(user string, scopes []string) string {
	t := token{user: user, access: map[string][]string{}}
	list := []any{}
	for _, s := range scopes {
		parts := strings.Split(s, ":")
		if len(parts) != 3 || parts[0] != "repository" {
			continue
		}
		var can []string
		for a := range strings.SplitSeq(parts[2], ",") {
			if slices.Contains(f.Rights[user][parts[1]], a) {
				can = append(can, a)
			}
		}
		t.access[parts[1]] = can
		list = append(list, map[string]any{"type": "repository", "name": parts[1], "actions": can})
	}
	v := rand.Text()
	if !f.Opaque {
		payload, _ := json.Marshal(map[string]any{"sub": user, "aud": f.Service, "exp": time.Now().Add(5 * time.Minute).Unix(), "access": list})
		v = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload) + "." + v
	}
	f.tokens[v] = t
	return v
}
