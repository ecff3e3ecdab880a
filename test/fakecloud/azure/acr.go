// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/regmint/regmint/test/fakecloud"
)

func (a *Azure) serveRegistry(w http.ResponseWriter, r *http.Request) {
	host := strings.ToLower(strings.TrimSuffix(r.Host, ":443"))
	a.mu.Lock()
	reg := a.find(host)
	blocked := reg != nil && reg.blocked
	a.mu.Unlock()
	if reg == nil {
		panic(http.ErrAbortHandler)
	}
	h := w.Header()
	h.Set("Server", "openresty")
	h.Set("Docker-Distribution-Api-Version", "registry/2.0")
	h.Set("X-Ms-Correlation-Request-Id", guid())
	h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	for _, v := range []string{"Docker-Content-Digest", "WWW-Authenticate", "Link", "X-Ms-Correlation-Request-Id"} {
		h.Add("Access-Control-Expose-Headers", v)
	}
	path := r.URL.Path
	switch {
	case blocked:
		acrFail(w, http.StatusForbidden, "DENIED", "client with IP '203.0.113.5' is not allowed access. Refer https://aka.ms/acr/firewall to grant access.", nil)
	case path == "/oauth2/exchange" && r.Method == http.MethodPost:
		a.exchange(w, r, reg, host)
	case path == "/oauth2/token" && r.Method == http.MethodPost:
		a.postToken(w, r, reg, host)
	case path == "/oauth2/token" && r.Method == http.MethodGet:
		a.getToken(w, r, reg, host)
	case strings.HasPrefix(path, "/v2/"):
		a.serveV2(w, r, reg, host)
	case strings.HasPrefix(path, "/acr/v1/"):
		a.serveV1(w, r, reg, host)
	default:
		http.NotFound(w, r)
	}
}

func acrFail(w http.ResponseWriter, status int, code, message string, detail any) {
	e := map[string]any{"code": code, "message": message}
	if detail != nil {
		e["detail"] = detail
	}
	fakecloud.WriteJSON(w, status, map[string]any{"errors": []any{e}})
}

// unauthorized is how the token endpoints refuse.
func unauthorized(w http.ResponseWriter) {
	acrFail(w, http.StatusUnauthorized, "UNAUTHORIZED",
		"authentication required, visit https://aka.ms/acr/authorization for more information. CorrelationId: "+w.Header().Get("X-Ms-Correlation-Request-Id"), nil)
}

// need is what an operation takes: the action, and those that do as well.
type need struct {
	typ, name string
	ask       string // actions of the challenge
	any       []string
}

// allow checks the bearer token and answers who it is; "" means that the
// challenge was answered.
func (a *Azure) allow(w http.ResponseWriter, r *http.Request, reg *Registry, host string, n need) string {
	auth := r.Header.Get("Authorization")
	scheme, token, _ := strings.Cut(auth, " ")
	why := ""
	if auth != "" {
		why = "invalid_token"
		c, err := a.readToken(token, host)
		if strings.EqualFold(scheme, "Bearer") && err == nil && c.GrantType == grantAccess {
			if n.name == "" {
				return a.name(reg, c.Subject)
			}
			for _, act := range n.any {
				if covers(c.Access, n.typ, n.name, act) {
					return a.name(reg, c.Subject)
				}
			}
			why = "insufficient_scope"
		}
	}
	challenge := fmt.Sprintf(`Bearer realm="https://%s/oauth2/token",service="%s"`, host, host)
	var detail any
	if n.name != "" {
		challenge += fmt.Sprintf(`,scope="%s:%s:%s"`, n.typ, n.name, n.ask)
		detail = []any{map[string]string{"Type": n.typ, "Name": n.name, "Action": n.ask}}
	}
	if why != "" {
		challenge += fmt.Sprintf(`,error="%s"`, why)
	}
	w.Header().Set("Www-Authenticate", challenge)
	acrFail(w, http.StatusUnauthorized, "UNAUTHORIZED",
		"authentication required, visit https://aka.ms/acr/authorization for more information. CorrelationId: "+w.Header().Get("X-Ms-Correlation-Request-Id"), detail)
	return ""
}

// name says for Done who a subject is.
func (a *Azure) name(reg *Registry, subject string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range reg.Tenant.principals {
		if p.objectID(reg.Tenant) == subject {
			return p.Name
		}
	}
	return subject
}

func (a *Azure) serveV2(w http.ResponseWriter, r *http.Request, reg *Registry, host string) {
	op := fakecloud.OpOf(r)
	n := need{typ: "repository", name: op.Repository, ask: actionPull, any: []string{op.Action}}
	switch {
	case r.URL.Path == "/v2/_catalog":
		n = need{"registry", "catalog", actionCatalog, []string{actionCatalog}}
	case op.Repository == "" && r.URL.Path != "/v2/":
		http.NotFound(w, r)
		return
	case op.Action == actionPush:
		n.ask = "pull,push"
	case op.Action == actionDelete:
		n.ask = actionDelete
	case strings.HasSuffix(r.URL.Path, "/tags/list"):
		// pull alone does not list tags: github.com/Azure/acr/issues/423.
		n.ask, n.any = actionMetadataRead, []string{actionMetadataRead}
	}
	who := a.allow(w, r, reg, host, n)
	if who == "" {
		return
	}
	r = r.Clone(r.Context())
	r.Host = reg.Host // one store behind all login servers
	digest := ""
	if _, hex, ok := strings.Cut(r.URL.Path, "/manifests/sha256:"); ok {
		digest = "sha256:" + hex
	}
	switch {
	case n.typ == "registry":
		v1{a, reg, host, "", who}.catalog(w, r)
		return
	case r.Method == http.MethodDelete && digest != "":
		a.untagAll(reg, who, op.Repository, digest)
		reg.keep(op.Repository, digest, false)
	}
	rec := &statusWriter{w, http.StatusOK}
	a.Images.Serve(rec, r, who)
	if r.Method == http.MethodPut && rec.status == http.StatusCreated && strings.Contains(r.URL.Path, "/manifests/") {
		reg.keep(op.Repository, w.Header().Get("Docker-Content-Digest"), true)
	}
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (s *statusWriter) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// serveV1 is the registry's own API. A repository's name is one segment.
func (a *Azure) serveV1(w http.ResponseWriter, r *http.Request, reg *Registry, host string) {
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/acr/v1/")
	v := v1{a, reg, host, "", ""}
	if path == "_catalog" && r.Method == http.MethodGet {
		if v.who = a.allow(w, r, reg, host, need{"registry", "catalog", actionCatalog, []string{actionCatalog}}); v.who != "" {
			v.catalog(w, r)
		}
		return
	}
	kind, item := "", ""
	for _, k := range []string{"/_tags", "/_manifests"} {
		if i := strings.Index(path, k); i > 0 {
			kind, item = k, strings.TrimPrefix(path[i+len(k):], "/")
			path = path[:i]
			break
		}
	}
	var err1, err2 error
	v.repo, err1 = url.PathUnescape(path)
	item, err2 = url.PathUnescape(item)
	if err1 != nil || err2 != nil || v.repo == "" || strings.HasPrefix(v.repo, "_") {
		http.NotFound(w, r)
		return
	}
	n := need{"repository", v.repo, actionMetadataRead, []string{actionMetadataRead}}
	if r.Method == http.MethodDelete {
		n = need{"repository", v.repo, actionDelete, []string{actionDelete}}
	}
	if v.who = a.allow(w, r, reg, host, n); v.who == "" {
		return
	}
	switch r.Method + " " + kind {
	case "GET ":
		v.properties(w)
	case "GET /_tags":
		v.tags(w, item)
	case "GET /_manifests":
		v.manifests(w, item)
	case "DELETE ":
		v.deleteRepository(w)
	case "DELETE /_tags":
		v.deleteTag(w, item)
	default:
		acrFail(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "The operation is unsupported.", nil)
	}
}
