// SPDX-License-Identifier: Apache-2.0

package google

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/regmint/regmint/test/fakecloud"
)

const (
	grantJWT     = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	grantRefresh = "refresh_token"
	timeframe    = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim."
	// skew is how far a client's clock may be ahead.
	skew = 5 * time.Minute
)

// oauthError is a refusal of the token endpoint or of STS.
type oauthError struct {
	status  int
	code    string
	text    string
	subtype string
}

func (e *oauthError) Error() string { return e.code + ": " + e.text }

func (e *oauthError) write(w http.ResponseWriter) {
	body := map[string]string{"error": e.code, "error_description": e.text}
	if e.subtype != "" {
		body["error_subtype"] = e.subtype
		body["error_uri"] = "https://support.google.com/a/answer/9368756"
	}
	fakecloud.WriteJSON(w, e.status, body)
}

func refuse(code, format string, args ...any) *oauthError {
	return &oauthError{status: http.StatusBadRequest, code: code, text: fmt.Sprintf(format, args...)}
}

// form reads a urlencoded body; any other is refused.
func form(w http.ResponseWriter, r *http.Request) *oauthError {
	ct, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if ct != "application/x-www-form-urlencoded" || r.ParseForm() != nil {
		return refuse("invalid_request", "Bad Request")
	}
	return nil
}

func (g *Google) oauth2Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		err := form(w, r)
		var t *token
		if err == nil {
			switch grant := r.PostForm.Get("grant_type"); grant {
			case grantJWT:
				t, err = g.jwtGrant(r)
			case grantRefresh:
				t, err = g.refreshGrant(r)
			case "":
				err = refuse("invalid_request", "Required parameter is missing: grant_type")
			default:
				err = &oauthError{status: http.StatusBadRequest, code: "unsupported_grant_type", text: "Invalid grant_type: " + grant}
			}
		}
		if err != nil {
			err.write(w)
			return
		}
		out := map[string]any{"access_token": t.value, "expires_in": g.left(t), "token_type": "Bearer"}
		if r.PostForm.Get("grant_type") == grantRefresh {
			out["scope"] = strings.Join(t.scopes, " ")
		}
		fakecloud.WriteJSON(w, http.StatusOK, out)
	})
	mux.HandleFunc("/tokeninfo", g.tokenInfo)
	return mux
}

// left is a token's life in whole seconds.
func (g *Google) left(t *token) int {
	return int((t.expires.Sub(g.c.Now()) + time.Second - 1) / time.Second)
}

// jwtGrant verifies an assertion signed with a service account's key.
func (g *Google) jwtGrant(r *http.Request) (*token, *oauthError) {
	claims := struct {
		jwt.RegisteredClaims
		Scope string `json:"scope"`
	}{}
	var account *ServiceAccount
	_, err := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithoutClaimsValidation()).ParseWithClaims(
		r.PostForm.Get("assertion"), &claims, func(t *jwt.Token) (any, error) {
			kid, _ := t.Header["kid"].(string)
			g.mu.Lock()
			defer g.mu.Unlock()
			account = g.accounts[claims.Issuer]
			k := g.keys[kid]
			if account == nil || k == nil || k.account != account {
				return nil, jwt.ErrTokenSignatureInvalid
			}
			return k.public, nil
		})
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return nil, refuse("invalid_grant", "Bad Request")
	case claims.Issuer != "" && account == nil:
		return nil, refuse("invalid_grant", "Invalid grant: account not found")
	case err != nil:
		return nil, refuse("invalid_grant", "Invalid JWT Signature.")
	}
	if e := g.checkAssertion(&claims.RegisteredClaims); e != nil {
		return nil, e
	}
	g.mu.Lock()
	disabled := account.disabled
	g.mu.Unlock()
	if disabled {
		return nil, refuse("invalid_grant", "Account disabled: %s", numeric(account.Email))
	}
	if claims.Subject != "" && claims.Subject != claims.Issuer {
		return nil, &oauthError{
			status: http.StatusUnauthorized, code: "unauthorized_client",
			text: "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested.",
		}
	}
	scopes, e := parseScopes(claims.Scope)
	if e != nil {
		return nil, e
	}
	return g.issue(account.token(scopes), "ya29.c.", g.o.TokenLife), nil
}

func (g *Google) checkAssertion(c *jwt.RegisteredClaims) *oauthError {
	now := g.c.Now()
	if len(c.Audience) != 1 || c.Audience[0] != TokenURI {
		return refuse("invalid_grant", "Invalid JWT: Failed audience check. The right audience is %s", TokenURI)
	}
	if c.IssuedAt == nil || c.ExpiresAt == nil {
		return refuse("invalid_grant", "Invalid JWT: iat and exp are required.")
	}
	iat, exp := c.IssuedAt.Time, c.ExpiresAt.Time
	if iat.After(now.Add(skew)) || !exp.After(now) || exp.Sub(iat) > time.Hour || !exp.After(iat) {
		return refuse("invalid_grant", timeframe)
	}
	return nil
}

// parseScopes reads a space separated list.
func parseScopes(s string) ([]string, *oauthError) {
	scopes := strings.Fields(s)
	if len(scopes) == 0 {
		return nil, refuse("invalid_scope", "Empty or missing scope not allowed.")
	}
	for _, s := range scopes {
		if !strings.HasPrefix(s, "https://www.googleapis.com/auth/") && s != "openid" && s != "email" {
			return nil, refuse("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
		}
	}
	return scopes, nil
}

func (g *Google) refreshGrant(r *http.Request) (*token, *oauthError) {
	f := r.PostForm
	if f.Get("client_id") != ClientID {
		return nil, &oauthError{status: http.StatusUnauthorized, code: "invalid_client", text: "The OAuth client was not found."}
	}
	if f.Get("client_secret") != ClientSecret {
		return nil, &oauthError{status: http.StatusUnauthorized, code: "invalid_client", text: "Unauthorized"}
	}
	g.mu.Lock()
	u, known := g.refresh[f.Get("refresh_token")]
	reauth := u != nil && u.reauth
	g.mu.Unlock()
	switch {
	case f.Get("refresh_token") == "":
		return nil, refuse("invalid_request", "Missing required parameter: refresh_token")
	case !known:
		return nil, refuse("invalid_grant", "Bad Request")
	case u == nil:
		return nil, refuse("invalid_grant", "Token has been expired or revoked.")
	case reauth:
		e := refuse("invalid_grant", "reauth related error (invalid_rapt)")
		e.subtype = "invalid_rapt"
		return nil, e
	}
	scopes := []string{ScopeCloudPlatform, ScopeEmail, "openid"}
	if s := f.Get("scope"); s != "" {
		asked, e := parseScopes(s)
		if e != nil {
			return nil, e
		}
		scopes = asked
	}
	return g.issue(u.token(scopes), "ya29.a0.", g.o.TokenLife), nil
}

// tokenInfo says whose an access token is.
func (g *Google) tokenInfo(w http.ResponseWriter, r *http.Request) {
	t := g.lookup(r.FormValue("access_token"))
	if t == nil || t.bearer {
		refuse("invalid_token", "Invalid Value").write(w)
		return
	}
	out := map[string]string{
		"azp": ClientID, "aud": ClientID, "scope": strings.Join(t.scopes, " "), "access_type": "offline",
		"exp": strconv.FormatInt(t.expires.Unix(), 10), "expires_in": strconv.Itoa(g.left(t)),
	}
	if t.email != "" && t.has(ScopeEmail) {
		out["email"], out["email_verified"] = t.email, "true"
	}
	fakecloud.WriteJSON(w, http.StatusOK, out)
}

// readJSON reads a request's body.
func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	return json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(v)
}
