// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/regmint/regmint/test/fakecloud"
)

// refusal is an answer of the API that is no success.
type refusal struct {
	status int
	body   map[string]string
}

func says(status int, text string) *refusal {
	return &refusal{status, map[string]string{"message": fmt.Sprintf("%d %s", status, text)}}
}

func badRequest(why string) *refusal { return says(400, "Bad request - "+why) }

func invalid(what string) *refusal { return &refusal{400, map[string]string{"error": what}} }

func invalidToken(why string) *refusal {
	return &refusal{401, map[string]string{"error": "invalid_token", "error_description": why}}
}

var (
	errUnauthorized = says(401, "Unauthorized")
	errForbidden    = says(403, "Forbidden")
	errNotFound     = says(404, "Not Found")
	errNoProject    = says(404, "Project Not Found")
	errNoGroup      = says(404, "Group Not Found")
	errNotAllowed   = says(405, "Method Not Allowed")
)

func (f *refusal) write(w http.ResponseWriter) {
	if f.status == http.StatusUnauthorized && f.body["error"] != "" {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="Protected by OAuth 2.0", error="%s", error_description="%s"`, f.body["error"], f.body["error_description"]))
	}
	fakecloud.WriteJSON(w, f.status, f.body)
}

// call is a request to the API with who makes it.
type call struct {
	*http.Request
	w      http.ResponseWriter
	form   url.Values
	user   *User
	admin  bool
	token  *Token // nil for OAuth2
	scopes []string
	job    *Job
}

// endpoint answers a call. It runs without mu.
type endpoint struct {
	method, pattern string
	scopes          []string // any of them; nil: every token
	jobs            bool     // job tokens too
	serve           func(*GitLab, *call, []string) *refusal
}

var (
	writes = []string{API}
	reads  = []string{API, ReadAPI}
)

// endpoints in order; {} stands for a path segment, which may be an escaped path.
var endpoints = []endpoint{
	{"GET", "user", []string{API, ReadAPI, ReadUser}, false, (*GitLab).currentUser},
	{"GET", "job", nil, true, (*GitLab).currentJob},
	{"GET", "projects/{}", reads, false, (*GitLab).showProject},
	{"GET", "personal_access_tokens/self", nil, false, (*GitLab).showSelf},
	{"DELETE", "personal_access_tokens/self", nil, false, (*GitLab).deleteSelf},
	{"POST", "personal_access_tokens/self/rotate", []string{API, SelfRotate}, false, (*GitLab).rotateSelf},
	{"GET", "personal_access_tokens", reads, false, (*GitLab).listPersonal},
	{"GET", "personal_access_tokens/{}", reads, false, (*GitLab).showPersonal},
	{"DELETE", "personal_access_tokens/{}", writes, false, (*GitLab).deletePersonal},
	{"POST", "personal_access_tokens/{}/rotate", writes, false, (*GitLab).rotatePersonal},
	{"POST", "{s}/{}/access_tokens/self/rotate", []string{API, SelfRotate}, false, (*GitLab).rotateOwn},
	{"POST", "{s}/{}/access_tokens/{}/rotate", writes, false, (*GitLab).rotateResource},
	{"GET", "{s}/{}/access_tokens", reads, false, (*GitLab).listResource},
	{"POST", "{s}/{}/access_tokens", writes, false, (*GitLab).createResource},
	{"GET", "{s}/{}/access_tokens/{}", reads, false, (*GitLab).showResource},
	{"DELETE", "{s}/{}/access_tokens/{}", writes, false, (*GitLab).deleteResource},
	{"GET", "{s}/{}/deploy_tokens", reads, false, (*GitLab).listDeploy},
	{"POST", "{s}/{}/deploy_tokens", writes, false, (*GitLab).createDeploy},
	{"DELETE", "{s}/{}/deploy_tokens/{}", writes, false, (*GitLab).deleteDeploy},
	{"GET", "projects/{}/registry/repositories", reads, true, (*GitLab).listRepositories},
	{"DELETE", "projects/{}/registry/repositories/{}", writes, true, (*GitLab).deleteRepository},
	{"GET", "projects/{}/registry/repositories/{}/tags", reads, true, (*GitLab).listTags},
	{"DELETE", "projects/{}/registry/repositories/{}/tags", writes, true, (*GitLab).deleteTags},
	{"GET", "projects/{}/registry/repositories/{}/tags/{}", reads, true, (*GitLab).showTag},
	{"DELETE", "projects/{}/registry/repositories/{}/tags/{}", writes, true, (*GitLab).removeTag},
}

// match reads the values of a pattern out of an escaped path; {s} is projects
// or groups.
func match(pattern, escaped string) ([]string, bool) {
	p, s := strings.Split(pattern, "/"), strings.Split(escaped, "/")
	if len(p) != len(s) {
		return nil, false
	}
	var out []string
	for i := range p {
		v, err := url.PathUnescape(s[i])
		switch {
		case err != nil || v == "":
			return nil, false
		case p[i] == "{s}" && v != "projects" && v != "groups":
			return nil, false
		case p[i] == "{}" || p[i] == "{s}":
			out = append(out, v)
		case p[i] != v:
			return nil, false
		}
	}
	return out, true
}

func (g *GitLab) serveAPI(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(strings.TrimPrefix(r.URL.EscapedPath(), "/api/v4/"), "/")
	for _, e := range endpoints {
		args, ok := match(e.pattern, path)
		if !ok || e.method != r.Method {
			continue
		}
		c := &call{Request: r, w: w}
		f := g.authenticate(c, e)
		if f == nil {
			var err error
			if c.form, err = params(r); err != nil {
				f = invalid("Problem while parsing the request")
			}
		}
		if f == nil {
			f = e.serve(g, c, args)
		}
		if f != nil {
			f.write(w)
		}
		return
	}
	errNotFound.write(w)
}

// authenticate finds out who calls, with a token of a scope that e takes.
func (g *GitLab) authenticate(c *call, e endpoint) *refusal {
	g.mu.Lock()
	defer g.mu.Unlock()
	if raw := c.Header.Get("JOB-TOKEN"); raw != "" {
		if !e.jobs {
			return errUnauthorized
		}
		if c.job = g.job(raw); c.job == nil {
			return errUnauthorized
		}
		c.user, c.admin = c.job.User, c.job.User.admin
		return nil
	}
	raw := c.Header.Get("PRIVATE-TOKEN")
	bearer, isBearer := strings.CutPrefix(c.Header.Get("Authorization"), "Bearer ")
	if raw == "" && isBearer {
		raw = bearer
	}
	if raw == "" {
		return errUnauthorized
	}
	var f *refusal
	if gr := g.grantOf(raw); gr != nil && isBearer {
		c.user, c.scopes = gr.user, gr.scopes
		f = stale(gr.revoked, gr.over(g))
	} else if t := g.token(raw); t != nil {
		c.user, c.scopes, c.token = t.User, t.Scopes, t
		f = stale(t.revoked, t.expired())
		if t.revoked && strings.HasSuffix(e.pattern, "/rotate") {
			g.killFamily(t)
		}
		if f == nil {
			t.used = g.Cloud.Now()
		}
	} else {
		return errUnauthorized
	}
	c.admin = c.user.admin
	switch {
	case f != nil:
		return f
	case c.user.blocked:
		return says(403, "Forbidden - Your account has been blocked.")
	case e.scopes != nil && !slices.ContainsFunc(e.scopes, func(s string) bool { return slices.Contains(c.scopes, s) }):
		return &refusal{403, map[string]string{
			"error": "insufficient_scope", "error_description": "The request requires higher privileges than provided by the access token.",
			"scope": strings.Join(e.scopes, " "),
		}}
	}
	return nil
}

func stale(revoked, expired bool) *refusal {
	switch {
	case expired && !revoked:
		return invalidToken("Token is expired. You can either do re-authorization or token refresh.")
	case revoked:
		return invalidToken("Token was revoked. You have to re-authorize from the user.")
	}
	return nil
}

func (g *GitLab) currentUser(c *call, _ []string) *refusal {
	u := c.user
	g.mu.Lock()
	twoFactor := u.twoFactor
	g.mu.Unlock()
	fakecloud.WriteJSON(c.w, http.StatusOK, map[string]any{
		"id": u.ID, "username": u.Username, "name": u.Username, "state": "active", "locked": false, "bot": u.Bot,
		"web_url": "https://" + g.Host() + "/" + u.Username, "email": u.Username + "@example.com", "two_factor_enabled": twoFactor,
	})
	return nil
}

func (g *GitLab) currentJob(c *call, _ []string) *refusal {
	if c.job == nil {
		return errNotFound
	}
	fakecloud.WriteJSON(c.w, http.StatusOK, map[string]any{
		"id": c.job.ID, "status": "running", "name": "build", "ref": "main", "user": map[string]any{"id": c.user.ID, "username": c.user.Username},
	})
	return nil
}

func (g *GitLab) showProject(c *call, args []string) *refusal {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.findProject(c, args[0])
	if p == nil {
		return errNoProject
	}
	registry := "enabled"
	if p.noRegistry {
		registry = "disabled"
	}
	fakecloud.WriteJSON(c.w, http.StatusOK, map[string]any{
		"id": p.ID, "path_with_namespace": p.Path, "visibility": p.visibility, "container_registry_access_level": registry,
		"container_registry_image_prefix": g.options.Registry + "/" + strings.ToLower(p.Path),
	})
	return nil
}
