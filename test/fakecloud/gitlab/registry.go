// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/regmint/regmint/test/fakecloud"
)

// repository is a container repository of a project, as its API lists it. It is
// made when a push is first authorised.
type repository struct {
	id      int
	path    string
	created time.Time
	tags    map[string]tag
	cleaned time.Time // last bulk delete
}

type tag struct {
	digest  string
	created time.Time
	size    int
}

// repository finds or makes one. Callers hold mu.
func (g *GitLab) repository(p *Project, path string) *repository {
	for _, x := range p.repos {
		if x.path == path {
			return x
		}
	}
	x := &repository{id: g.id(), path: path, created: g.Cloud.Now(), tags: map[string]tag{}}
	p.repos = append(p.repos, x)
	return x
}

// Tags are the tags of a repository, sorted.
func (g *GitLab) Tags(path string) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.projectOf(path); p != nil {
		for _, x := range p.repos {
			if x.path == path {
				return sortedKeys(x.tags)
			}
		}
	}
	return nil
}

const tagReference = "/tags/reference/"

// operation reads what a request wants, with the one path that this registry
// has of its own: DELETE /v2/NAME/tags/reference/TAG.
func operation(r *http.Request) (op fakecloud.Op, reference string) {
	op = fakecloud.OpOf(r)
	if i := strings.LastIndex(r.URL.Path, tagReference); i > 0 {
		op.Repository = strings.TrimPrefix(r.URL.Path[:i], "/v2/")
		return op, r.URL.Path[i+len(tagReference):]
	}
	_, reference, _ = strings.Cut(r.URL.Path, "/manifests/")
	return op, reference
}

// serveRegistry is the container registry.
func (g *GitLab) serveRegistry(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/v2/") {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	w.Header().Set("Gitlab-Container-Registry-Version", "4.15.2-gitlab")
	op, reference := operation(r)
	need := needs(r, op)
	raw, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		g.challenge(w, op, need, "")
		return
	}
	c, err := g.readToken(raw)
	switch {
	case err != nil:
		g.challenge(w, op, need, "invalid_token")
		return
	case slices.ContainsFunc(need, func(n access) bool { return !covers(c.Access, n) }):
		g.challenge(w, op, need, "insufficient_scope")
		return
	}
	q := r.Clone(r.Context())
	q.Host = g.Registry()
	g.images(w, q, op, reference, g.who(c))
}

// needs is what the token has to carry for a request.
func needs(r *http.Request, op fakecloud.Op) []access {
	switch {
	case r.URL.Path == "/v2/_catalog":
		return []access{{Type: "registry", Name: "catalog", Actions: []string{"*"}}}
	case op.Repository == "":
		return nil
	case op.Action == "push":
		return []access{{Type: "repository", Name: op.Repository, Actions: []string{"pull", "push"}}}
	}
	return []access{{Type: "repository", Name: op.Repository, Actions: []string{op.Action}}}
}

func covers(list []access, n access) bool {
	return !slices.ContainsFunc(n.Actions, func(action string) bool {
		return !slices.ContainsFunc(list, func(a access) bool {
			return a.Type == n.Type && a.Name == n.Name && (slices.Contains(a.Actions, action) || slices.Contains(a.Actions, "*"))
		})
	})
}

func (g *GitLab) challenge(w http.ResponseWriter, op fakecloud.Op, need []access, problem string) {
	h := fmt.Sprintf(`Bearer realm="https://%s/jwt/auth",service="%s"`, g.Host(), serviceRegistry)
	detail := []any{}
	for _, n := range need {
		h += fmt.Sprintf(`,scope="%s:%s:%s"`, n.Type, n.Name, strings.Join(n.Actions, ","))
		for _, a := range n.Actions {
			detail = append(detail, map[string]string{"Type": n.Type, "Class": "", "Name": n.Name, "ProjectPath": "", "Action": a})
		}
	}
	if problem != "" {
		h += `,error="` + problem + `"`
	}
	w.Header().Set("WWW-Authenticate", h)
	e := map[string]any{"code": "UNAUTHORIZED", "message": "authentication required", "detail": detail}
	if op.Repository == "" {
		e["detail"] = nil
	}
	fakecloud.WriteJSON(w, http.StatusUnauthorized, map[string]any{"errors": []any{e}})
}

// who is the user name in a token's user part, or in its subject.
func (g *GitLab) who(c registryClaims) string {
	var info struct {
		jwt.RegisteredClaims
		Info *struct {
			Username string `json:"username"`
		} `json:"user_info"`
	}
	if _, err := jwt.ParseWithClaims(c.User, &info, func(*jwt.Token) (any, error) { return g.key.Public(), nil }); err == nil && info.Info != nil {
		return info.Info.Username
	}
	return c.Subject
}

// images does what was let through and keeps the project's list of tags.
func (g *GitLab) images(w http.ResponseWriter, r *http.Request, op fakecloud.Op, reference, who string) {
	manifest := strings.Contains(r.URL.Path, "/manifests/")
	switch {
	case strings.Contains(r.URL.Path, tagReference):
		if r.Method != http.MethodDelete {
			registryError(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "The operation is unsupported.")
			return
		}
		if !g.deleteTag(op.Repository, reference, who) {
			registryError(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
			return
		}
		w.WriteHeader(http.StatusAccepted)
	case manifest && r.Method == http.MethodDelete:
		g.deleteDigest(w, r, op.Repository, reference, who)
	case manifest && r.Method == http.MethodPut:
		rec := &sizer{ResponseWriter: w}
		g.Images.Serve(rec, r, who)
		if rec.status == http.StatusCreated && !strings.Contains(reference, ":") {
			g.tagged(op.Repository, reference, tag{digest: w.Header().Get("Docker-Content-Digest"), created: g.Cloud.Now(), size: int(r.ContentLength)})
		}
	default:
		g.Images.Serve(w, r, who)
	}
}

type sizer struct {
	http.ResponseWriter
	status int
}

func (s *sizer) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

func (g *GitLab) tagged(path, name string, t tag) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.projectOf(path); p != nil {
		g.repository(p, path).tags[name] = t
	}
}

// deleteDigest is DELETE of a manifest, which takes no tag.
func (g *GitLab) deleteDigest(w http.ResponseWriter, r *http.Request, path, digest, who string) {
	if !strings.HasPrefix(digest, "sha256:") {
		registryError(w, http.StatusBadRequest, "DIGEST_INVALID", "provided digest did not match uploaded content")
		return
	}
	g.mu.Lock()
	var gone []string
	if p := g.projectOf(path); p != nil {
		for name, t := range g.repository(p, path).tags {
			if t.digest == digest {
				gone = append(gone, name)
			}
		}
	}
	g.mu.Unlock()
	for _, name := range gone {
		g.deleteTag(path, name, who)
	}
	g.Images.Serve(w, r, who)
}

// deleteTag takes a tag from the registry; false: there was none.
func (g *GitLab) deleteTag(path, name, who string) bool {
	g.mu.Lock()
	p := g.projectOf(path)
	if p == nil {
		g.mu.Unlock()
		return false
	}
	x := g.repository(p, path)
	_, ok := x.tags[name]
	delete(x.tags, name)
	registry := g.options.Registry
	g.mu.Unlock()
	if !ok {
		return false
	}
	q := httptest.NewRequest(http.MethodDelete, "https://"+registry+"/v2/"+path+"/manifests/"+name, nil)
	g.Images.Serve(httptest.NewRecorder(), q, who)
	return true
}

// ErrNoToken is for Access where a token is none of the registry's.
var ErrNoToken = errors.New("not a token of this registry")

// Access reads what a token of /jwt/auth carries: "repository:acme/app:pull".
func (g *GitLab) Access(token string) ([]string, error) {
	c, err := g.readToken(token)
	if err != nil {
		return nil, errors.Join(ErrNoToken, err)
	}
	out := []string{}
	for _, a := range c.Access {
		out = append(out, a.Type+":"+a.Name+":"+strings.Join(a.Actions, ","))
	}
	return out, nil
}

// TokenOf reads the answer of /jwt/auth.
func TokenOf(body []byte) string {
	var m struct {
		Token string `json:"token"`
	}
	_ = json.Unmarshal(body, &m)
	return m.Token
}
