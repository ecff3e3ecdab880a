// SPDX-License-Identifier: Apache-2.0

package fakecloud

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// The issuers of identity tokens under their real names.
const (
	GitHubIssuer = "https://token.actions.githubusercontent.com"
	GitLabIssuer = "https://gitlab.com"
	EKSIssuer    = "https://oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE"
)

// Issuer is an OpenID Connect issuer: its discovery document and keys are
// served under its name, and the clouds check its tokens by them.
type Issuer struct {
	URL   string
	cloud *Cloud
	key   *rsa.PrivateKey
	kid   string
}

// Issuer serves an issuer under its https URL. The same URL gives the same one.
func (c *Cloud) Issuer(rawURL string) *Issuer {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "https" {
		panic("fakecloud: an issuer has an https URL: " + rawURL)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.issuers[rawURL]; i != nil {
		return i
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	i := &Issuer{URL: rawURL, cloud: c, key: key, kid: fmt.Sprintf("kid-%d", len(c.issuers)+1)}
	c.issuers[rawURL] = i
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+u.Path+"/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		WriteJSON(w, http.StatusOK, map[string]any{
			"issuer": rawURL, "jwks_uri": rawURL + "/.well-known/jwks", "id_token_signing_alg_values_supported": []string{"RS256"},
			"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"},
		})
	})
	mux.HandleFunc("GET "+u.Path+"/.well-known/jwks", func(w http.ResponseWriter, _ *http.Request) {
		WriteJSON(w, http.StatusOK, map[string]any{"keys": []any{map[string]string{
			"kty": "RSA", "alg": "RS256", "use": "sig", "kid": i.kid,
			"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
			"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
		}}})
	})
	c.handlers = append(c.handlers, vhost{u.Host, mux})
	return i
}

// Sign makes a token of 5 minutes for sub and aud; claims are added and win.
func (i *Issuer) Sign(sub, aud string, claims map[string]any) string {
	now := i.cloud.Now()
	all := jwt.MapClaims{
		"iss": i.URL, "sub": sub, "aud": aud, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		"jti": rand.Text(),
	}
	maps.Copy(all, claims)
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, all)
	t.Header["kid"] = i.kid
	s, err := t.SignedString(i.key)
	if err != nil {
		panic(err)
	}
	return s
}

// Errors of Identity, as the clouds tell them apart.
var (
	ErrExpired  = errors.New("token is expired")
	ErrAudience = errors.New("audience is not accepted")
	ErrIssuer   = errors.New("issuer is not known")
	ErrInvalid  = errors.New("token or its signature is not valid")
)

// Identity verifies a token of one of the cloud's issuers: signature, expiry and
// audience ("" = any).
func (c *Cloud) Identity(token, audience string) (jwt.MapClaims, error) {
	claims := jwt.MapClaims{}
	options := []jwt.ParserOption{
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithTimeFunc(c.Now), jwt.WithExpirationRequired(),
	}
	if audience != "" {
		options = append(options, jwt.WithAudience(audience))
	}
	_, err := jwt.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		iss, _ := claims.GetIssuer()
		c.mu.Lock()
		defer c.mu.Unlock()
		i := c.issuers[iss]
		if i == nil {
			return nil, ErrIssuer
		}
		if t.Header["kid"] != i.kid {
			return nil, ErrInvalid
		}
		return i.key.Public(), nil
	}, options...)
	switch {
	case err == nil:
		return claims, nil
	case errors.Is(err, ErrIssuer):
		return nil, ErrIssuer
	case errors.Is(err, jwt.ErrTokenExpired):
		return nil, ErrExpired
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return nil, ErrAudience
	}
	return nil, ErrInvalid
}

// Runner is the token service of a GitHub Actions job.
type Runner struct {
	URL   string // ACTIONS_ID_TOKEN_REQUEST_URL
	Token string // ACTIONS_ID_TOKEN_REQUEST_TOKEN
}

// GitHubRunner serves a job's token service: it signs tokens of GitHubIssuer
// for sub with the audience that is asked for.
func (c *Cloud) GitHubRunner(sub string) Runner {
	i := c.Issuer(GitHubIssuer)
	id := rand.Text()
	host := "run-" + id[:8] + ".actions.githubusercontent.com"
	r := Runner{URL: "https://" + host + "/" + id + "/idtoken?api-version=2.0", Token: "runner-" + rand.Text()}
	c.Handle(host, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch {
		case q.URL.Path != "/"+id+"/idtoken" || q.Method != http.MethodGet:
			http.NotFound(w, q)
		case q.URL.Query().Get("api-version") != "2.0":
			w.WriteHeader(http.StatusBadRequest)
		case q.Header.Get("Authorization") != "bearer "+r.Token && q.Header.Get("Authorization") != "Bearer "+r.Token:
			w.WriteHeader(http.StatusUnauthorized)
		default:
			aud := q.URL.Query().Get("audience")
			if aud == "" {
				aud = "https://github.com/acme"
			}
			token := i.Sign(sub, aud, map[string]any{"repository": "acme/app", "ref": "refs/heads/main"})
			WriteJSON(w, http.StatusOK, map[string]any{"count": len(token), "value": token})
		}
	}))
	return r
}

// WriteJSON answers v.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
