// SPDX-License-Identifier: Apache-2.0

package fakeregistry

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/golang-jwt/jwt/v5"
)

// call is a request, understood once.
type call struct {
	path       string // as counted: without digests, tags and upload ids
	identity   string // who the client says it is; "" = nobody
	isRegistry bool
	route      route
	params     url.Values // of a POST to /token and /issue
	isJSON     bool
}

// maxForm bounds the bodies that are read as a whole.
const maxForm = 1 << 20

// peek finds out what a request is about, and puts its body back.
func (s *Server) peek(r *http.Request) (*call, error) {
	c := &call{path: r.URL.Path}
	if name, _, ok := r.BasicAuth(); ok {
		c.identity = name
	}
	if token, ok := bearer(r); ok {
		c.identity = subjectOf(token)
	}
	if rt, ok := parseRoute(r); ok {
		c.route, c.isRegistry, c.path = rt, true, rt.counted()
	}
	if r.Method == http.MethodPost && (c.path == "/token" || c.path == "/issue") {
		return c, c.readParams(r)
	}
	return c, nil
}

// readParams reads a form or a flat JSON object.
func (c *call) readParams(r *http.Request) error {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxForm))
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch kind {
	case "application/json":
		c.isJSON, c.params = true, url.Values{}
		var flat map[string]any
		if err := json.Unmarshal(body, &flat); err != nil {
			return err
		}
		for k, v := range flat {
			c.params.Set(k, fmt.Sprint(v))
		}
	case "application/x-www-form-urlencoded":
		if c.params, err = url.ParseQuery(string(body)); err != nil {
			return err
		}
	default:
		return nil
	}
	switch {
	case c.identity != "":
	case c.path == "/token":
		c.identity = c.params.Get("username")
	default:
		c.identity = cmp.Or(c.params.Get("client_id"), subjectOf(c.params.Get("assertion")), subjectOf(c.params.Get("subject_token")))
	}
	return nil
}

// subjectOf reads a JWT without verifying it: for the books only.
func subjectOf(token string) string {
	claims := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(token, claims); err != nil {
		return ""
	}
	subject, _ := claims.GetSubject()
	return subject
}

func bearer(r *http.Request) (string, bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return token, ok && strings.EqualFold(scheme, "Bearer")
}

// recorder books the status and gives errors their type.
type recorder struct {
	http.ResponseWriter
	status int
	book   func(status int)
}

func (w *recorder) WriteHeader(code int) {
	if w.status == 0 && code >= 200 {
		w.status = code
		w.book(code)
		if code >= 400 && w.Header().Get("Content-Type") == "" {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
		}
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Use says how often an identity did something to a repository with success.
type Use struct {
	Repository, Identity, Action string
}

// Stats are the books of a server.
type Stats struct {
	Requests     map[Request]int // all requests, also those that failed
	Issued       map[string]int  // passwords made by /issue, per user name
	Tokens       map[string]int  // Bearer tokens made by /token, per user name
	AuthFailures map[string]int  // refused logins and tokens, per name given
	Denied       map[string]int  // requests of a known identity beyond its grants
	Uses         map[Use]int     // successful requests to a repository
	Faults       int             // requests answered by a Fault
}

// Request is a key of Stats.Requests. Path is the URL's path without digests,
// tags and upload ids: "/token", "/v2/", "/v2/team/app/manifests",
// "/v2/team/app/blobs/uploads". Identity is who the client said it is.
type Request struct{ Path, Identity string }

type tally struct {
	mu sync.Mutex
	s  Stats
}

func (t *tally) do(f func(s *Stats)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.s.Requests == nil {
		t.s = Stats{
			Requests: map[Request]int{}, Issued: map[string]int{}, Tokens: map[string]int{}, AuthFailures: map[string]int{},
			Denied: map[string]int{}, Uses: map[Use]int{},
		}
	}
	f(&t.s)
}

func (t *tally) request(c *call) { t.do(func(s *Stats) { s.Requests[Request{c.path, c.identity}]++ }) }
func (t *tally) fault()          { t.do(func(s *Stats) { s.Faults++ }) }
func (t *tally) issued(n string) { t.do(func(s *Stats) { s.Issued[n]++ }) }
func (t *tally) token(n string)  { t.do(func(s *Stats) { s.Tokens[n]++ }) }
func (t *tally) refused(n string) {
	t.do(func(s *Stats) { s.AuthFailures[n]++ })
}
func (t *tally) denied(n string) { t.do(func(s *Stats) { s.Denied[n]++ }) }

// answer books a successful registry request; its login was checked, so the
// identity is true.
func (t *tally) answer(c *call, status int) {
	if c.route.repository == "" || status < 200 || status >= 300 {
		return
	}
	t.do(func(s *Stats) { s.Uses[Use{c.route.repository, c.identity, c.route.action}]++ })
}

// Stats returns a copy of the books.
func (s *Server) Stats() Stats {
	var out Stats
	s.tally.do(func(st *Stats) {
		out = Stats{
			Requests: maps.Clone(st.Requests), Issued: maps.Clone(st.Issued), Tokens: maps.Clone(st.Tokens),
			AuthFailures: maps.Clone(st.AuthFailures), Denied: maps.Clone(st.Denied), Uses: maps.Clone(st.Uses), Faults: st.Faults,
		}
	})
	return out
}

// ResetStats empties the books.
func (s *Server) ResetStats() {
	s.tally.mu.Lock()
	defer s.tally.mu.Unlock()
	s.tally.s = Stats{}
}

// Count sums the requests to a path, and of an identity unless it is "*".
func (st Stats) Count(path, identity string) int {
	n := 0
	for k, v := range st.Requests {
		if k.Path == path && (identity == "*" || k.Identity == identity) {
			n += v
		}
	}
	return n
}

// Who lists, sorted, the identities that did an action ("pull", "push",
// "delete") to a repository with success.
func (st Stats) Who(repository, action string) []string {
	set := map[string]bool{}
	for k := range st.Uses {
		if k.Repository == repository && k.Action == action {
			set[k.Identity] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}
