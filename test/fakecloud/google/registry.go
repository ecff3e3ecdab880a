// SPDX-License-Identifier: Apache-2.0

package google

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

func (g *Google) serveRegistry(w http.ResponseWriter, r *http.Request) {
	host := strings.TrimSuffix(r.Host, ":443")
	s, ok := siteOf(host)
	switch {
	case !ok || !strings.HasPrefix(r.URL.Path, "/v2/"):
		http.NotFound(w, r)
	case r.URL.Path == "/v2/token" && r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		w.WriteHeader(http.StatusMethodNotAllowed)
	case r.URL.Path == "/v2/token":
		g.registryToken(w, r, s)
	default:
		g.images(w, r, s, host)
	}
}

// images answers /v2/ itself and everything about an image.
func (g *Google) images(w http.ResponseWriter, r *http.Request, s site, host string) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	op := fakecloud.OpOf(r)
	resource, parts := "", 0
	if op.Repository != "" {
		if resource, parts = s.resource(op.Repository); parts == 1 {
			registryError(w, http.StatusBadRequest, "NAME_INVALID", fmt.Sprintf("invalid number of path components: %d", parts))
			return
		}
	}
	t, given := g.bearerOrBasic(r)
	switch {
	case given && t == nil:
		registryError(w, http.StatusUnauthorized, "UNAUTHORIZED", "No valid credential was supplied.")
		return
	case t == nil:
		challenge(w, host, op, resource)
		return
	case op.Repository == "" && r.URL.Path != "/v2/":
		registryError(w, http.StatusNotFound, "NAME_UNKNOWN", "not found")
		return
	case resource == "" && op.Repository != "":
		registryError(w, http.StatusNotFound, "NAME_UNKNOWN", "Repository not found")
		return
	case resource != "":
		if denied := g.denied(t, resource, permissionOf(op.Action)); denied != "" {
			registryError(w, http.StatusForbidden, "DENIED", denied)
			return
		}
	}
	g.remember(fakecloud.Done{Host: host, Who: t.who, Op: op})
	q := r.Clone(r.Context())
	q.Host = s.name
	g.registry.Serve(w, q, t.who)
}

func (g *Google) remember(d fakecloud.Done) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !slices.Contains(g.done, d) {
		g.done = append(g.done, d)
	}
}

// challenge refuses a request without a credential.
func challenge(w http.ResponseWriter, host string, op fakecloud.Op, resource string) {
	realm := fmt.Sprintf(`Bearer realm="https://%s/v2/token"`, host)
	if op.Repository == "" {
		w.Header().Set("WWW-Authenticate", realm)
		registryError(w, http.StatusUnauthorized, "UNAUTHORIZED", "not authenticated: No credential was supplied.")
		return
	}
	name, actions := op.Repository, "pull"
	if resource == "" {
		name += "/pkg"
	}
	if op.Action != "pull" {
		actions = "pull,push"
	}
	w.Header().Set("WWW-Authenticate", fmt.Sprintf(`%s,service="%s",scope="repository:%s:%s"`, realm, host, name, actions))
	registryError(w, http.StatusUnauthorized, "UNAUTHORIZED", "not authenticated: No valid credential was supplied.")
}

func registryError(w http.ResponseWriter, status int, code, message string) {
	fakecloud.WriteJSON(w, status, map[string]any{"errors": []any{map[string]string{"code": code, "message": message}}})
}

// bearerOrBasic reads the credential of a request; t is nil where it is none of
// ours.
func (g *Google) bearerOrBasic(r *http.Request) (t *token, given bool) {
	h := r.Header.Get("Authorization")
	if h == "" {
		return nil, false
	}
	if raw, ok := strings.CutPrefix(h, "Bearer "); ok {
		return g.lookup(raw), true
	}
	if user, pass, ok := r.BasicAuth(); ok {
		return g.basic(user, pass), true
	}
	return nil, true
}

var helperUser = regexp.MustCompile(`^_dcgcr_[0-9_]+_token$`)

// basic checks a user name and a password, as docker login sends them.
func (g *Google) basic(user, pass string) *token {
	switch {
	case user == "_json_key_base64":
		raw, err := base64.StdEncoding.DecodeString(pass)
		if err != nil {
			return nil
		}
		return g.keyFile(raw)
	case user == "_json_key":
		return g.keyFile([]byte(pass))
	case user == "oauth2accesstoken", user == "_token", user == "_dcgcloud_token", helperUser.MatchString(user):
		if t := g.lookup(pass); t != nil && !t.bearer {
			return t
		}
	}
	return nil
}

// keyFile accepts a key file that still works.
func (g *Google) keyFile(raw []byte) *token {
	var f struct {
		Type  string `json:"type"`
		KeyID string `json:"private_key_id"`
		Key   string `json:"private_key"`
		Email string `json:"client_email"`
	}
	if json.Unmarshal(raw, &f) != nil || f.Type != "service_account" {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	k := g.keys[f.KeyID]
	if k == nil || k.private != f.Key || k.account.Email != f.Email || k.account.disabled {
		return nil
	}
	t := k.account.token([]string{ScopeCloudPlatform})
	t.expires = g.c.Now().Add(time.Hour)
	return &t
}

// registryToken is GET /v2/token. A token carries who asked, not what for.
func (g *Google) registryToken(w http.ResponseWriter, r *http.Request, s site) {
	t, given := g.bearerOrBasic(r)
	if given && t == nil {
		registryError(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication failed")
		return
	}
	life := 12 * time.Hour
	if t == nil {
		t = &token{scopes: []string{ScopeReadOnly}}
	} else {
		life = t.expires.Sub(g.c.Now())
	}
	for _, scope := range r.URL.Query()["scope"] {
		for one := range strings.FieldsSeq(scope) {
			if denied, bad := g.scopeDenied(t, s, one); bad != "" {
				registryError(w, http.StatusBadRequest, "NAME_INVALID", bad)
				return
			} else if denied != "" {
				registryError(w, http.StatusForbidden, "DENIED", denied)
				return
			}
		}
	}
	b := *t
	b.bearer = true
	issued := g.issue(b, "reg.", life)
	fakecloud.WriteJSON(w, http.StatusOK, map[string]any{"token": issued.value, "expires_in": g.left(issued)})
}

// scopeDenied checks repository:NAME:ACTIONS.
func (g *Google) scopeDenied(t *token, s site, scope string) (denied, bad string) {
	rest, ok := strings.CutPrefix(scope, "repository:")
	i := strings.LastIndexByte(rest, ':')
	if !ok || i < 0 {
		return "", ""
	}
	resource, parts := s.resource(rest[:i])
	if resource == "" {
		return "", fmt.Sprintf("invalid number of path components: %d", parts)
	}
	for action := range strings.SplitSeq(rest[i+1:], ",") {
		if d := g.denied(t, resource, permissionOf(action)); d != "" {
			return d, ""
		}
	}
	return "", ""
}
