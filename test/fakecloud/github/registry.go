// SPDX-License-Identifier: Apache-2.0

package github

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

// bearer is a token of the registry: opaque, for the scopes asked for.
type bearer struct {
	token   *Token // nil: anonymous
	scopes  []string
	expires time.Time
}

func (g *GitHub) serveRegistry(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	switch {
	case r.URL.Path == "/token":
		g.serveToken(w, r)
	case r.URL.Path == "/v2" || strings.HasPrefix(r.URL.Path, "/v2/"):
		g.serveV2(w, r)
	default:
		http.NotFound(w, r)
	}
}

// ociError is the registry's error body.
func ociError(w http.ResponseWriter, status int, code, message string) {
	fakecloud.WriteJSON(w, status, map[string]any{"errors": []any{map[string]string{"code": code, "message": message}}})
}

func (g *GitHub) challenge(w http.ResponseWriter, repository string) {
	if repository == "" {
		repository = "user/image"
	}
	w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="https://%s/token",service=%q,scope="repository:%s:pull"`, g.Registry(), g.Registry(), repository))
	ociError(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
}

// serveToken is GET /token: Basic only.
func (g *GitHub) serveToken(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		ociError(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "The operation is unsupported.")
		return
	}
	user, secret, basic := r.BasicAuth()
	if !basic && r.Header.Get("Authorization") != "" {
		g.challenge(w, "")
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var t *Token
	if basic {
		t = g.tokens[secret]
		if user == "" || !t.live() || t.kind == fineGrained || strings.HasPrefix(secret, "ghr_") {
			ociError(w, http.StatusForbidden, "DENIED", "denied")
			return
		}
	}
	text := base64.StdEncoding.EncodeToString([]byte(random(40)))
	var scopes []string
	for _, s := range r.URL.Query()["scope"] {
		scopes = append(scopes, strings.Fields(s)...)
	}
	g.bearers[text] = &bearer{token: t, scopes: scopes, expires: g.Cloud.Now().Add(g.options.BearerLife)}
	fakecloud.WriteJSON(w, http.StatusOK, map[string]any{"token": text})
}

func (g *GitHub) serveV2(w http.ResponseWriter, r *http.Request) {
	op := fakecloud.OpOf(r)
	if op.Repository != strings.ToLower(op.Repository) {
		ociError(w, http.StatusBadRequest, "NAME_INVALID", "invalid repository name")
		return
	}
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	g.mu.Lock()
	b := g.bearers[text]
	if !ok || b == nil || !b.expires.After(g.Cloud.Now()) || b.token != nil && !b.token.live() {
		g.mu.Unlock()
		g.challenge(w, op.Repository)
		return
	}
	if op.Repository == "" {
		g.mu.Unlock()
		fakecloud.WriteJSON(w, http.StatusOK, map[string]any{})
		return
	}
	if !b.covers(op) {
		g.mu.Unlock()
		g.challenge(w, op.Repository)
		return
	}
	why := g.denied(b.token, op)
	g.mu.Unlock()
	switch {
	case op.Action == "delete": // there is the REST API for that
		ociError(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "The operation is unsupported.")
		return
	case why != "":
		ociError(w, http.StatusForbidden, "DENIED", why)
		return
	}
	if op.Action == "push" {
		g.pushed(r, b.token, op)
	}
	g.Images.Serve(w, r, b.token.who())
}

// covers reports whether the bearer was asked for with the operation's scope.
func (b *bearer) covers(op fakecloud.Op) bool {
	for _, s := range b.scopes {
		part := strings.Split(s, ":")
		if len(part) == 3 && part[0] == "repository" && part[1] == op.Repository {
			want := op.Action
			if want == "delete" {
				want = "push"
			}
			return slices.Contains(strings.Split(part[2], ","), want) || part[2] == "*"
		}
	}
	return false
}

// denied says why a token may not do an operation; "" where it may. Callers
// hold mu.
func (g *GitHub) denied(t *Token, op fakecloud.Op) string {
	p := g.packages[op.Repository]
	need, verb := Read, "Read"
	if op.Action != "pull" {
		if need, verb = Write, "Write"; p == nil {
			verb = "Create"
		}
	}
	if need == Read && p != nil && p.public {
		return ""
	}
	if t == nil {
		return "denied"
	}
	if org := g.orgs[owner(op.Repository)]; org != nil && org.sso && t.user != nil && !t.sso[org.Login] {
		return "denied"
	}
	switch t.kind {
	case installation:
		if g.options.InstallationsPull && strings.EqualFold(t.in.Owner, owner(op.Repository)) && t.level >= need && t.reaches(op.Repository) {
			return ""
		}
		if need == Read {
			return "denied"
		}
		return "permission_denied: installation not allowed to " + verb + " organization package"
	case actions:
		return g.deniedJob(t, p, op, need, verb)
	}
	if t.kind == userToken && t.client.app.levelAt(op.Repository) < need {
		return "denied"
	}
	scope := ReadPackages
	if need == Write {
		scope = WritePackages
	}
	if t.kind != userToken && !t.has(scope) {
		if need == Read {
			return "denied"
		}
		return "permission_denied: The token provided does not match expected scopes."
	}
	if !g.owns(t.user, op.Repository) {
		return "denied"
	}
	return ""
}

func (g *GitHub) deniedJob(t *Token, p *Package, op fakecloud.Op, need Level, verb string) string {
	own := strings.EqualFold(owner(t.repos[0]), owner(op.Repository))
	switch {
	case t.level >= Write && p == nil && own: // its first push, which looks for layers before, links the package
	case t.level >= need && p != nil && p.linked[t.repos[0]] >= need:
	case need == Write && t.level < Write:
		return "permission_denied: write_package"
	default:
		return "installation not allowed to " + verb + " organization package"
	}
	return ""
}

// reaches reports whether an installation token is for the repository that has
// the package's name.
func (t *Token) reaches(name string) bool {
	part := strings.Split(name, "/")
	return len(t.repos) == 0 || len(part) > 1 && slices.Contains(t.repos, part[1])
}

// levelAt is what an App may do with a package: a person who acts through it
// may do no more.
func (a *App) levelAt(name string) Level {
	for _, in := range a.in {
		if strings.EqualFold(in.Owner, owner(name)) && !in.suspended && (&Token{repos: in.repos}).reaches(name) {
			return in.level
		}
	}
	return None
}

// owns reports whether the person may use the packages of the owner.
func (g *GitHub) owns(u *User, name string) bool {
	o := owner(name)
	org := g.orgs[o]
	return strings.EqualFold(u.Login, o) || org != nil && org.members[u]
}

// pushed makes a version for a manifest, and the package with the first.
func (g *GitHub) pushed(r *http.Request, t *Token, op fakecloud.Op) {
	_, ref, ok := strings.Cut(r.URL.Path, "/manifests/")
	if !ok || r.Method != http.MethodPut {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.pkg(op.Repository)
	if t.kind == actions && len(p.linked) == 0 {
		p.linked[t.repos[0]] = Admin
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(b))
	i := slices.IndexFunc(p.versions, func(v *version) bool { return v.digest == digest })
	if i < 0 {
		i = len(p.versions)
		p.versions = append(p.versions, &version{id: g.id(), digest: digest})
	}
	if strings.HasPrefix(ref, "sha256:") {
		return
	}
	for _, v := range p.versions {
		v.tags = slices.DeleteFunc(v.tags, func(s string) bool { return s == ref })
	}
	p.versions[i].tags = append(p.versions[i].tags, ref)
}
