// SPDX-License-Identifier: Apache-2.0

package fakeregistry

import (
	"crypto/subtle"
	"net/http"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// IssueFormat is the body that /issue reads.
type IssueFormat int

// The formats.
const (
	AnyFormat IssueFormat = iota
	FormFormat
	JSONFormat
)

// IssueOptions describe POST /issue. It reads grant_type client_credentials
// (client_id and client_secret in the body or as HTTP Basic), jwt-bearer
// (assertion) and token-exchange (subject_token), or without grant_type
// whichever of these is there; an assertion may also be a Bearer header. scope
// narrows, expires_in shortens. The answer has username, password, expires_in,
// issued_at and, where one was asked for, scope. Errors are those of RFC 6749.
type IssueOptions struct {
	Clients []Client
	Format  IssueFormat
	Life    time.Duration // of passwords; default 1 h
	// Audience is what assertions must be made for; default "fakeregistry".
	Audience string
	// Answer shapes the body; default flat JSON as above.
	Answer func(username, password string, issued, expires time.Time) any
}

// Client may ask /issue for passwords.
type Client struct {
	ID, Secret string // of client_credentials; no secret = assertions only
	Subject    string // sub of assertions; "" = none accepted
	User       string // name handed out; default ID
	Grants     []Grant
	Life       time.Duration // default IssueOptions.Life
}

// AssertionIssuer is the iss of the assertions that /issue trusts.
const AssertionIssuer = "https://idp.fakeregistry.test"

const (
	jwtBearer     = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	tokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
)

// SignAssertion plays the identity provider that /issue trusts.
func (s *Server) SignAssertion(subject string, life time.Duration) (string, error) {
	now := s.now()
	return s.assertion.sign(KeyID, jwt.MapClaims{
		"iss": AssertionIssuer, "sub": subject, "aud": s.issueAudience(), "exp": now.Add(life).Unix(), "iat": now.Unix(), "nbf": now.Unix(),
	})
}

func (s *Server) issueAudience() string {
	if s.opt.Issue.Audience != "" {
		return s.opt.Issue.Audience
	}
	return "fakeregistry"
}

// IssueURL is the endpoint's URL.
func (s *Server) IssueURL() string { return s.URL() + "/issue" }

func (s *Server) serveIssue(w http.ResponseWriter, r *http.Request, c *call) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		oauthError(w, http.StatusMethodNotAllowed, "invalid_request")
		return
	}
	wrong := c.isJSON && s.opt.Issue.Format == FormFormat || !c.isJSON && s.opt.Issue.Format == JSONFormat
	if c.params == nil || wrong {
		oauthError(w, http.StatusUnsupportedMediaType, "invalid_request")
		return
	}
	client, status, code := s.issueClient(r, c)
	if code != "" {
		s.tally.refused(c.identity)
		oauthError(w, status, code)
		return
	}
	grants, scope := client.Grants, c.params.Get("scope")
	if scope != "" {
		left := narrow(client.Grants, parseScopes([]string{scope}))
		if len(left) == 0 {
			s.tally.denied(c.identity)
			oauthError(w, http.StatusBadRequest, "invalid_scope")
			return
		}
		grants, scope = grantsOf(left), scopeOf(left)
	}
	s.issue(w, c, client, grants, scope)
}

// issueClient authenticates; code is "" where it could.
func (s *Server) issueClient(r *http.Request, c *call) (client Client, status int, code string) {
	p := c.params
	assertion, kind := p.Get("assertion"), p.Get("grant_type")
	if kind == tokenExchange {
		assertion = p.Get("subject_token")
	}
	if token, ok := bearer(r); ok && assertion == "" {
		assertion = token
	}
	id, secret, isBasic := r.BasicAuth()
	if !isBasic {
		id, secret = p.Get("client_id"), p.Get("client_secret")
	}
	switch {
	case kind == "client_credentials", kind == "" && secret != "":
		for _, cl := range s.opt.Issue.Clients {
			if cl.ID == id && cl.Secret != "" && subtle.ConstantTimeCompare([]byte(cl.Secret), []byte(secret)) == 1 {
				return cl, 0, ""
			}
		}
		return Client{}, http.StatusUnauthorized, "invalid_client"
	case kind == jwtBearer, kind == tokenExchange, kind == "" && assertion != "":
		if subject, ok := s.checkAssertion(assertion); ok {
			for _, cl := range s.opt.Issue.Clients {
				if cl.Subject != "" && cl.Subject == subject {
					return cl, 0, ""
				}
			}
		}
		return Client{}, http.StatusBadRequest, "invalid_grant"
	case kind == "":
		return Client{}, http.StatusBadRequest, "invalid_request"
	}
	return Client{}, http.StatusBadRequest, "unsupported_grant_type"
}

func (s *Server) checkAssertion(assertion string) (subject string, ok bool) {
	claims := jwt.MapClaims{}
	_, err := jwt.NewParser(
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer(AssertionIssuer), jwt.WithAudience(s.issueAudience()),
		jwt.WithExpirationRequired(), jwt.WithTimeFunc(s.now),
	).ParseWithClaims(assertion, claims, func(*jwt.Token) (any, error) { return s.assertion.key.Public(), nil })
	subject, _ = claims.GetSubject()
	return subject, err == nil
}

func (s *Server) issue(w http.ResponseWriter, c *call, client Client, grants []Grant, scope string) {
	name := client.User
	if name == "" {
		name = client.ID
	}
	life := client.Life
	if life == 0 {
		life = s.opt.Issue.Life
	}
	if n, err := strconv.Atoi(c.params.Get("expires_in")); err == nil && n > 0 {
		life = min(life, time.Duration(n)*time.Second)
	}
	now := s.now()
	u := User{Name: name, Password: newSecret("iss"), Grants: grants, ExpiresAt: now.Add(life)}
	s.AddUser(u)
	s.tally.issued(name)
	if s.opt.Issue.Answer != nil {
		writeJSON(w, http.StatusOK, s.opt.Issue.Answer(u.Name, u.Password, now, u.ExpiresAt))
		return
	}
	answer := map[string]any{
		"username": u.Name, "password": u.Password, "expires_in": int64(life.Seconds()), "issued_at": now.UTC().Format(time.RFC3339),
	}
	if scope != "" {
		answer["scope"] = scope
	}
	writeJSON(w, http.StatusOK, answer)
}

// grantsOf turns access back into grants.
func grantsOf(list []access) []Grant {
	out := []Grant{}
	for _, a := range list {
		if a.Type == "repository" {
			out = append(out, Grant{Repository: a.Name, Actions: []string{a.Action}})
		}
	}
	return out
}
