// SPDX-License-Identifier: Apache-2.0

package fakeregistry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// authorize answers 401 or 403 itself and reports whether the request may go on.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request, c *call) bool {
	if s.opt.Mode == Token {
		return s.authorizeToken(w, r, c)
	}
	return s.authorizeBasic(w, r, c)
}

func (s *Server) authorizeBasic(w http.ResponseWriter, r *http.Request, c *call) bool {
	grants := s.opt.Anonymous
	name, password, given := r.BasicAuth()
	switch {
	case r.Header.Get("Authorization") == "":
		// /v2/ is where clients learn that a login is wanted.
		if grants == nil || len(c.route.needs) == 0 || !allowed(grants, c.route.needs) {
			s.challenge(w, r, c, "")
			return false
		}
	case !given:
		s.tally.refused(c.identity)
		s.challenge(w, r, c, "")
		return false
	default:
		u, ok := s.login(name, password)
		if !ok {
			s.tally.refused(name)
			s.challenge(w, r, c, "")
			return false
		}
		grants = u.Grants
	}
	needs := c.route.needs
	if c.route.from != "" && !can(grants, c.route.from, "pull") {
		// Nothing to mount from: the upload starts as any other.
		needs = slices.DeleteFunc(slices.Clone(needs), func(a access) bool { return a.Name == c.route.from && a.Name != c.route.repository })
		c.route.mount, c.route.from = "", ""
	}
	if !allowed(grants, needs) {
		s.tally.denied(c.identity)
		writeError(w, http.StatusForbidden, "DENIED", "requested access to the resource is denied", nil)
		return false
	}
	return true
}

func (s *Server) authorizeToken(w http.ResponseWriter, r *http.Request, c *call) bool {
	token, ok := bearer(r)
	if !ok {
		if r.Header.Get("Authorization") != "" {
			s.tally.refused(c.identity)
		}
		s.challenge(w, r, c, "")
		return false
	}
	claims, err := s.verify(token)
	if err != nil {
		s.tally.refused(c.identity)
		s.challenge(w, r, c, "invalid_token")
		return false
	}
	for _, need := range c.route.needs {
		if !claims.has(need) {
			s.tally.denied(c.identity)
			s.challenge(w, r, c, "insufficient_scope")
			return false
		}
	}
	return true
}

// allowed reports whether grants cover all needs.
func allowed(grants []Grant, needs []access) bool {
	return !slices.ContainsFunc(needs, func(a access) bool {
		if a.Type == "registry" {
			return !canList(grants)
		}
		return !can(grants, a.Name, a.Action)
	})
}

// challenge is the 401 of the distribution registry, byte for byte in the
// header: no spaces after commas, the scope only where one is needed.
func (s *Server) challenge(w http.ResponseWriter, r *http.Request, c *call, reason string) {
	h := `Basic realm="fakeregistry"`
	if s.opt.Mode == Token {
		h = fmt.Sprintf("Bearer realm=%q,service=%q", s.realm(r), s.opt.Service)
		if scope := scopeOf(c.route.needs); scope != "" {
			h += fmt.Sprintf(",scope=%q", scope)
		}
		if reason != "" {
			h += fmt.Sprintf(",error=%q", reason)
		}
	}
	w.Header().Set("WWW-Authenticate", h)
	var detail []map[string]string
	for _, a := range c.route.needs {
		detail = append(detail, map[string]string{"Type": a.Type, "Class": "", "Name": a.Name, "Action": a.Action})
	}
	writeError(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required", detail)
}

// realm is the token server as the client reaches it.
func (s *Server) realm(r *http.Request) string {
	if s.opt.Realm != "" {
		return s.opt.Realm
	}
	if s.opt.TLS {
		return "https://" + r.Host + "/token"
	}
	return "http://" + r.Host + "/token"
}

// TokenURL is the token server as a realm for another registry.
func (s *Server) TokenURL() string { return s.URL() + "/token" }

// scopeOf writes needs as a scope: "repository:a:pull,push repository:b:pull".
func scopeOf(needs []access) string {
	var parts []string
	last := ""
	for _, a := range needs {
		head := a.Type + ":" + a.Name + ":"
		if head == last {
			parts[len(parts)-1] += "," + a.Action
			continue
		}
		parts, last = append(parts, head+a.Action), head
	}
	return strings.Join(parts, " ")
}

// parseScopes reads scope parameters; each may hold several, separated by
// spaces. The name may hold one colon (a port).
func parseScopes(params []string) []access {
	var out []access
	for _, scope := range strings.Fields(strings.Join(params, " ")) {
		kind, rest, ok := strings.Cut(scope, ":")
		i := strings.LastIndexByte(rest, ':')
		if !ok || i < 0 {
			continue
		}
		kind, _, _ = strings.Cut(kind, "(") // the deprecated class
		for action := range strings.SplitSeq(rest[i+1:], ",") {
			out = append(out, access{kind, rest[:i], action})
		}
	}
	return out
}

// narrow is what grants leave of the wanted access.
func narrow(grants []Grant, wanted []access) []access {
	var out []access
	add := func(a access) {
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	for _, a := range wanted {
		switch {
		case a.Type == "registry" && a.Name == "catalog" && canList(grants):
			add(a)
		case a.Type != "repository":
		case a.Action == "*":
			for _, action := range []string{"pull", "push", "delete"} {
				if can(grants, a.Name, action) {
					add(access{a.Type, a.Name, action})
				}
			}
		case can(grants, a.Name, a.Action):
			add(a)
		}
	}
	return out
}

// errorBody is the envelope of the distribution specification.
func errorBody(code, message string, detail any) string {
	b, _ := json.Marshal(map[string]any{"errors": []any{map[string]any{"code": code, "message": message, "detail": detail}}})
	return string(b) + "\n"
}

func writeError(w http.ResponseWriter, status int, code, message string, detail any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(errorBody(code, message, detail)))
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
