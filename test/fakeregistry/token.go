// SPDX-License-Identifier: Apache-2.0

package fakeregistry

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// grantClaim is one entry of a token's access claim.
type grantClaim struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// tokenClaims are the claims of the reference token server. aud is a string in
// what it signs, since distribution before 2.8 reads nothing else.
type tokenClaims struct {
	Issuer    string       `json:"iss"`
	Subject   string       `json:"sub"`
	Audience  string       `json:"aud"`
	Expires   int64        `json:"exp"`
	NotBefore int64        `json:"nbf"`
	IssuedAt  int64        `json:"iat"`
	ID        string       `json:"jti"`
	Access    []grantClaim `json:"access"`
}

func (c *tokenClaims) has(a access) bool {
	return slices.ContainsFunc(c.Access, func(g grantClaim) bool {
		return g.Type == a.Type && g.Name == a.Name && slices.Contains(g.Actions, a.Action)
	})
}

// The methods of jwt.Claims.
func date(sec int64) (*jwt.NumericDate, error) {
	if sec == 0 {
		return nil, nil
	}
	return jwt.NewNumericDate(time.Unix(sec, 0)), nil
}
func (c *tokenClaims) GetExpirationTime() (*jwt.NumericDate, error) { return date(c.Expires) }
func (c *tokenClaims) GetIssuedAt() (*jwt.NumericDate, error)       { return date(c.IssuedAt) }
func (c *tokenClaims) GetNotBefore() (*jwt.NumericDate, error)      { return date(c.NotBefore) }
func (c *tokenClaims) GetIssuer() (string, error)                   { return c.Issuer, nil }
func (c *tokenClaims) GetSubject() (string, error)                  { return c.Subject, nil }
func (c *tokenClaims) GetAudience() (jwt.ClaimStrings, error) {
	return jwt.ClaimStrings{c.Audience}, nil
}

// claims are those of a fresh token.
func (s *Server) claims(user, service string, granted []access) *tokenClaims {
	now := s.now()
	c := &tokenClaims{
		Issuer: s.opt.Issuer, Subject: user, Audience: service, Expires: now.Add(s.opt.TokenLife).Unix(),
		NotBefore: now.Unix(), IssuedAt: now.Unix(), ID: newSecret("jti")[7:], Access: []grantClaim{},
	}
	for _, a := range granted {
		i := slices.IndexFunc(c.Access, func(g grantClaim) bool { return g.Type == a.Type && g.Name == a.Name })
		if i < 0 {
			i = len(c.Access)
			c.Access = append(c.Access, grantClaim{Type: a.Type, Name: a.Name})
		}
		c.Access[i].Actions = append(c.Access[i].Actions, a.Action)
	}
	return c
}

// verify checks signature, issuer, audience and times without any leeway.
func (s *Server) verify(token string) (*tokenClaims, error) {
	c := &tokenClaims{}
	_, err := jwt.NewParser(
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer(s.opt.Issuer), jwt.WithAudience(s.opt.Service),
		jwt.WithExpirationRequired(), jwt.WithTimeFunc(s.now),
	).ParseWithClaims(token, c, func(t *jwt.Token) (any, error) {
		if t.Header["kid"] != s.signer.kid {
			return nil, errors.New("unknown key")
		}
		return s.signer.key.Public(), nil
	})
	return c, err
}

// serveToken is the token server: distribution's docs/content/spec/auth/token.md
// and oauth.md.
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request, c *call) {
	switch r.Method {
	case http.MethodGet:
		s.tokenGET(w, r, c)
	case http.MethodPost:
		if s.opt.TokenPOST != 0 {
			writeError(w, s.opt.TokenPOST, "UNSUPPORTED", "the operation is unsupported", nil)
			return
		}
		s.tokenPOST(w, c)
	default:
		w.Header().Set("Allow", "GET, POST")
		writeError(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "the operation is unsupported", nil)
	}
}

// tokenGET never refuses a known user for want of rights: the token then says
// less than was asked for.
func (s *Server) tokenGET(w http.ResponseWriter, r *http.Request, c *call) {
	u := User{Grants: s.opt.Anonymous}
	ok := s.opt.Anonymous != nil && r.Header.Get("Authorization") == ""
	if name, password, given := r.BasicAuth(); given {
		u, ok = s.login(name, password)
	}
	if !ok {
		s.refuseToken(w, c.identity)
		return
	}
	q := r.URL.Query()
	answer, err := s.newToken(u, q.Get("service"), narrow(u.Grants, parseScopes(q["scope"])))
	if err != nil {
		writeError(w, http.StatusInternalServerError, "UNKNOWN", err.Error(), nil)
		return
	}
	answer["token"] = answer["access_token"]
	if q.Get("offline_token") == "true" && s.opt.RefreshTokens && u.Name != "" {
		answer["refresh_token"] = s.newRefresh(u)
	}
	writeJSON(w, http.StatusOK, answer)
}

func (s *Server) tokenPOST(w http.ResponseWriter, c *call) {
	p := c.params
	if c.isJSON || p.Get("service") == "" || p.Get("client_id") == "" {
		oauthError(w, http.StatusBadRequest, "invalid_request")
		return
	}
	var u User
	var ok bool
	switch p.Get("grant_type") {
	case "password":
		u, ok = s.login(p.Get("username"), p.Get("password"))
	case "refresh_token":
		if u, ok = s.loginRefresh(p.Get("refresh_token")); ok {
			c.identity = u.Name
		}
	default:
		oauthError(w, http.StatusBadRequest, "unsupported_grant_type")
		return
	}
	if !ok {
		s.refuseToken(w, c.identity)
		return
	}
	granted := narrow(u.Grants, parseScopes(p["scope"]))
	answer, err := s.newToken(u, p.Get("service"), granted)
	if err != nil {
		writeError(w, http.StatusInternalServerError, "UNKNOWN", err.Error(), nil)
		return
	}
	answer["scope"] = scopeOf(granted)
	switch {
	case p.Get("grant_type") == "refresh_token":
		answer["refresh_token"] = p.Get("refresh_token")
	case p.Get("access_type") == "offline" && s.opt.RefreshTokens:
		answer["refresh_token"] = s.newRefresh(u)
	}
	writeJSON(w, http.StatusOK, answer)
}

// newToken signs and makes the part both forms share.
func (s *Server) newToken(u User, service string, granted []access) (map[string]any, error) {
	if service == "" {
		service = s.opt.Service
	}
	claims := s.claims(u.Name, service, granted)
	token, err := s.signer.sign(s.opt.KeyForm, claims)
	if err != nil {
		return nil, err
	}
	s.tally.token(u.Name)
	out := map[string]any{"access_token": token, "issued_at": s.now().UTC().Format(time.RFC3339Nano)}
	if !s.opt.OmitExpiresIn {
		out["expires_in"] = claims.Expires - claims.IssuedAt
	}
	return out, nil
}

func (s *Server) refuseToken(w http.ResponseWriter, name string) {
	s.tally.refused(name)
	w.Header().Set("WWW-Authenticate", `Basic realm="fakeregistry token server"`)
	writeError(w, http.StatusUnauthorized, "UNAUTHORIZED", "incorrect username or password", nil)
}

// oauthError is the error of RFC 6749 §5.2.
func oauthError(w http.ResponseWriter, status int, code string) {
	writeJSON(w, status, map[string]string{"error": code})
}
