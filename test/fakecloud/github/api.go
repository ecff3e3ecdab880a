// SPDX-License-Identifier: Apache-2.0

package github

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/regmint/regmint/test/fakecloud"
)

func (g *GitHub) api() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range map[string]http.HandlerFunc{
		"GET /user":                                   g.person(g.getUser),
		"GET /users/{owner}":                          g.person(g.getOwner),
		"GET /app":                                    g.asApp(g.getApp),
		"GET /app/installations":                      g.asApp(g.listInstallations),
		"GET /app/installations/{id}":                 g.asApp(g.getInstallation),
		"GET /repos/{owner}/{repo}/installation":      g.asApp(g.findInstallation),
		"GET /orgs/{owner}/installation":              g.asApp(g.findInstallation),
		"GET /users/{owner}/installation":             g.asApp(g.findInstallation),
		"POST /app/installations/{id}/access_tokens":  g.asApp(g.makeToken),
		"DELETE /installation/token":                  g.person(g.dropToken),
		"/orgs/{owner}/packages/container/{rest...}":  g.person(g.servePackages),
		"/users/{owner}/packages/container/{rest...}": g.person(g.servePackages),
		"/user/packages/container/{rest...}":          g.person(g.servePackages),
		"/":                                           func(w http.ResponseWriter, _ *http.Request) { apiError(w, http.StatusNotFound, "Not Found") },
	} {
		mux.HandleFunc(pattern, h)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() == "" {
			http.Error(w, "Request forbidden by administrative rules. Please make sure your request has a User-Agent header.", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// paged is the page of a list that a request asks for.
func paged[T any](w http.ResponseWriter, r *http.Request, list []T) []T {
	size, page := 30, 1
	if n, err := strconv.Atoi(r.URL.Query().Get("per_page")); err == nil && n > 0 {
		size = min(n, 100)
	}
	if n, err := strconv.Atoi(r.URL.Query().Get("page")); err == nil && n > 0 {
		page = n
	}
	from := min((page-1)*size, len(list))
	to := min(from+size, len(list))
	if to < len(list) {
		q := r.URL.Query()
		q.Set("page", strconv.Itoa(page+1))
		w.Header().Set("Link", fmt.Sprintf(`<https://%s%s?%s>; rel="next"`, r.Host, r.URL.Path, q.Encode()))
	}
	return list[from:to]
}

// apiError is the API's error body.
func apiError(w http.ResponseWriter, status int, message string) {
	fakecloud.WriteJSON(w, status, map[string]string{"message": message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status)})
}

// sent is the token of the Authorization header.
func sent(r *http.Request) string {
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") && !strings.EqualFold(scheme, "token") {
		return ""
	}
	return text
}

// person lets tokens of every kind in, and tells what they are. It holds mu.
func (g *GitHub) person(h func(http.ResponseWriter, *http.Request, *Token)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		secret := sent(r)
		if secret == "" {
			apiError(w, http.StatusUnauthorized, "Requires authentication")
			return
		}
		t := g.tokens[secret]
		if !t.live() || strings.HasPrefix(secret, "ghr_") {
			apiError(w, http.StatusUnauthorized, "Bad credentials")
			return
		}
		if t.kind == classic || t.kind == oauthToken {
			w.Header().Set("X-OAuth-Scopes", strings.Join(t.scopes, ", "))
		}
		if (t.kind == classic || t.kind == fineGrained) && !t.expires.IsZero() {
			w.Header().Set("github-authentication-token-expiration", t.expires.UTC().Format("2006-01-02 15:04:05 MST"))
		}
		h(w, r, t)
	}
}

func (g *GitHub) getUser(w http.ResponseWriter, _ *http.Request, t *Token) {
	if t.user == nil {
		apiError(w, http.StatusForbidden, "Resource not accessible by integration")
		return
	}
	fakecloud.WriteJSON(w, http.StatusOK, map[string]any{"login": t.user.Login, "id": t.user.ID, "type": "User"})
}

func (g *GitHub) getOwner(w http.ResponseWriter, r *http.Request, _ *Token) {
	name := r.PathValue("owner")
	switch {
	case g.users[name] != nil:
		fakecloud.WriteJSON(w, http.StatusOK, map[string]any{"login": name, "type": "User"})
	case g.orgs[name] != nil:
		fakecloud.WriteJSON(w, http.StatusOK, map[string]any{"login": name, "type": "Organization"})
	default:
		apiError(w, http.StatusNotFound, "Not Found")
	}
}

// may says whether t has level (Read to list, Admin to delete) on a package;
// else the status and message of the refusal.
func (g *GitHub) may(t *Token, p *Package, level Level, scopes ...string) (status int, message string) {
	switch t.kind {
	case actions:
		if p == nil || t.level < Write && level > Read || p.linked[t.repos[0]] < level {
			return http.StatusForbidden, "Resource not accessible by integration"
		}
		return 0, ""
	case installation:
		if p == nil || t.level < min(level, Write) || !strings.EqualFold(t.in.Owner, owner(p.Name)) || !t.reaches(p.Name) {
			return http.StatusForbidden, "Resource not accessible by integration"
		}
		return 0, ""
	case userToken:
		if p == nil || t.client.app.levelAt(p.Name) < min(level, Write) {
			return http.StatusForbidden, "Resource not accessible by integration"
		}
	case fineGrained:
		return http.StatusForbidden, "Resource not accessible by personal access token"
	case classic, oauthToken:
		for _, s := range scopes {
			if !t.has(s) {
				return http.StatusForbidden, "You need at least " + s + " scope to perform this action."
			}
		}
	}
	if p == nil || !g.owns(t.user, p.Name) {
		return http.StatusNotFound, "Package not found."
	}
	if org := g.orgs[owner(p.Name)]; org != nil && org.sso && !t.sso[org.Login] {
		return http.StatusForbidden, "Resource protected by organization SAML enforcement. You must grant your OAuth token access to this organization."
	}
	return 0, ""
}

// servePackages is …/{name}/versions[/{id}] and …/{name}; slashes of the name
// come as %2F.
func (g *GitHub) servePackages(w http.ResponseWriter, r *http.Request, t *Token) {
	o := r.PathValue("owner")
	if o == "" && t.user != nil {
		o = t.user.Login
	}
	name, rest := r.PathValue("rest"), ""
	if i := strings.LastIndex(name, "/versions"); i >= 0 {
		name, rest = name[:i], strings.Trim(name[i+len("/versions"):], "/")
	} else if r.Method == http.MethodDelete {
		rest = "package"
	}
	p := g.packages[o+"/"+name]
	level, scopes := Read, []string{ReadPackages}
	if r.Method == http.MethodDelete {
		level, scopes = Admin, []string{ReadPackages, DeletePackages}
	}
	if status, message := g.may(t, p, level, scopes...); status != 0 {
		apiError(w, status, message)
		return
	}
	switch {
	case r.Method == http.MethodGet && rest == "":
		g.listVersions(w, r, p)
	case r.Method == http.MethodDelete && rest == "package":
		delete(g.packages, p.Name)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodDelete:
		g.deleteVersion(w, p, rest)
	default:
		apiError(w, http.StatusNotFound, "Not Found")
	}
}

func (g *GitHub) listVersions(w http.ResponseWriter, r *http.Request, p *Package) {
	list := []any{}
	for _, v := range paged(w, r, p.versions) {
		tags := v.tags
		if tags == nil {
			tags = []string{}
		}
		list = append(list, map[string]any{
			"id": v.id, "name": v.digest, "metadata": map[string]any{"package_type": "container", "container": map[string]any{"tags": tags}},
		})
	}
	fakecloud.WriteJSON(w, http.StatusOK, list)
}

func (g *GitHub) deleteVersion(w http.ResponseWriter, p *Package, id string) {
	i := slices.IndexFunc(p.versions, func(v *version) bool { return strconv.Itoa(v.id) == id })
	if i < 0 {
		apiError(w, http.StatusNotFound, "Package version not found.")
		return
	}
	tagged := 0
	for _, v := range p.versions {
		if len(v.tags) > 0 {
			tagged++
		}
	}
	if len(p.versions[i].tags) > 0 && tagged == 1 {
		apiError(w, http.StatusBadRequest, "You cannot delete the last tagged version of a package. You must delete the package instead.")
		return
	}
	p.versions = slices.Delete(p.versions, i, i+1)
	w.WriteHeader(http.StatusNoContent)
}
