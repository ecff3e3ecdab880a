// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"crypto/subtle"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/regmint/regmint/test/fakecloud"
)

// NullGUID is the user name that goes with tokens as passwords.
const NullGUID = "00000000-0000-0000-0000-000000000000"

const (
	acrIssuer    = "Azure Container Registry"
	grantRefresh = "refresh_token"
	grantAccess  = "access_token"
)

// acrClaims are those of both kinds of registry tokens.
type acrClaims struct {
	jwt.RegisteredClaims
	Version     string   `json:"version"`
	GrantType   string   `json:"grant_type"`
	Tenant      string   `json:"tenant,omitempty"`
	Access      []access `json:"access,omitempty"`
	Permissions any      `json:"permissions,omitempty"`
	Roles       []string `json:"roles"`
}

// Subjects beside object ids.
const (
	subjectAdmin     = "admin"
	subjectAnonymous = "anonymous"
	subjectToken     = "token:"
)

var errToken = errors.New("token is not accepted")

// exchange swaps an Entra access token for a refresh token of the registry.
func (a *Azure) exchange(w http.ResponseWriter, r *http.Request, reg *Registry, host string) {
	form, ok := postForm(r)
	grantType := form.Get("grant_type")
	switch {
	case !ok || grantType != "access_token" && grantType != "access_token_refresh_token":
		acrFail(w, http.StatusBadRequest, "UNSUPPORTED", "grant_type is not supported", nil)
		return
	case form.Get("service") != host, form.Get("tenant") != "" && !strings.EqualFold(form.Get("tenant"), reg.Tenant.ID):
		unauthorized(w)
		return
	}
	a.mu.Lock()
	oid, err := a.entraSubject(form.Get("access_token"), reg)
	a.mu.Unlock()
	if err != nil {
		unauthorized(w)
		return
	}
	fakecloud.WriteJSON(w, http.StatusOK, map[string]string{"refresh_token": a.acrToken(reg, host, grantRefresh, oid, nil)})
}

// entraSubject verifies an Entra token and that its principal may do anything
// at all here. Callers hold mu.
func (a *Azure) entraSubject(token string, reg *Registry) (string, error) {
	e := reg.Tenant.Environment
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return a.entraKey.Public(), nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithTimeFunc(a.Cloud.Now), jwt.WithExpirationRequired(),
		jwt.WithIssuer(e.issuer+reg.Tenant.ID+"/"))
	if err != nil {
		return "", err
	}
	audience, _ := claims["aud"].(string)
	switch strings.TrimSuffix(audience, "/") {
	case RegistryAudience:
	case e.ARM:
		if reg.armOff {
			return "", errToken
		}
	default:
		return "", errToken
	}
	tid, _ := claims["tid"].(string)
	oid, _ := claims["oid"].(string)
	if tid != reg.Tenant.ID || !slices.ContainsFunc(reg.assigned, func(x assignment) bool { return x.object == oid }) {
		return "", errToken
	}
	return oid, nil
}

func (a *Azure) acrToken(reg *Registry, host, kind, subject string, list []access) string {
	now := a.Cloud.Now()
	life := a.lives().AccessLife
	c := acrClaims{Version: "1.0", GrantType: kind, Tenant: reg.Tenant.ID, Access: list, Roles: []string{}}
	if kind == grantRefresh {
		life = a.lives().RefreshLife
		c.Permissions = map[string]any{"actions": []string{"read"}, "notActions": nil}
	}
	c.RegisteredClaims = jwt.RegisteredClaims{
		ID: guid(), Subject: subject, Issuer: acrIssuer, Audience: jwt.ClaimStrings{host},
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now.Add(-15 * time.Minute)), ExpiresAt: jwt.NewNumericDate(now.Add(life)),
	}
	return a.signACR(c)
}

func (a *Azure) signACR(c jwt.Claims) string {
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, c)
	t.Header["kid"] = "acr-1"
	s, err := t.SignedString(a.acrKey)
	if err != nil {
		panic(err)
	}
	return s
}

// readToken verifies a token of the registry for one of its login servers.
func (a *Azure) readToken(token, host string) (acrClaims, error) {
	var c acrClaims
	_, err := jwt.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return a.acrKey.Public(), nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithTimeFunc(a.Cloud.Now), jwt.WithExpirationRequired(),
		jwt.WithIssuer(acrIssuer), jwt.WithAudience(host))
	return c, err
}

// postToken is the OAuth2 form of the token endpoint.
func (a *Azure) postToken(w http.ResponseWriter, r *http.Request, reg *Registry, host string) {
	form, ok := postForm(r)
	if !ok || form.Get("service") != host {
		acrFail(w, http.StatusBadRequest, "UNSUPPORTED", "service is not this registry", nil)
		return
	}
	switch form.Get("grant_type") {
	case grantRefresh:
		c, err := a.readToken(form.Get("refresh_token"), host)
		if err != nil || c.GrantType != grantRefresh {
			unauthorized(w)
			return
		}
		a.give(w, reg, host, c.Subject, form["scope"], nil)
	case "password":
		// Only as the anonymous form that the SDK sends; with a user it is 400.
		if form.Get("username") != "" || form.Get("password") != "" || !a.allowsAnonymous(reg) {
			acrFail(w, http.StatusBadRequest, "UNSUPPORTED", "grant_type password is not supported", nil)
			return
		}
		a.give(w, reg, host, subjectAnonymous, form["scope"], nil)
	default:
		acrFail(w, http.StatusBadRequest, "UNSUPPORTED", "grant_type is not supported", nil)
	}
}

// getToken is the form of the token endpoint that docker uses, with Basic.
func (a *Azure) getToken(w http.ResponseWriter, r *http.Request, reg *Registry, host string) {
	q := r.URL.Query()
	if s := q.Get("service"); s != host {
		unauthorized(w)
		return
	}
	user, pass, ok := r.BasicAuth()
	if !ok {
		if r.Header.Get("Authorization") != "" || !a.allowsAnonymous(reg) {
			unauthorized(w)
			return
		}
		a.give(w, reg, host, subjectAnonymous, q["scope"], nil)
		return
	}
	if user == NullGUID {
		c, err := a.readToken(pass, host)
		if err != nil {
			unauthorized(w)
			return
		}
		if c.GrantType == grantAccess {
			// An access token gives no more than it carries.
			a.give(w, reg, host, c.Subject, q["scope"], append([]access{}, c.Access...))
			return
		}
		a.give(w, reg, host, c.Subject, q["scope"], nil)
		return
	}
	a.mu.Lock()
	subject := a.basicSubject(reg, user, pass)
	a.mu.Unlock()
	if subject == "" {
		unauthorized(w)
		return
	}
	a.give(w, reg, host, subject, q["scope"], nil)
}

func (a *Azure) allowsAnonymous(reg *Registry) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return reg.anonymous
}

// basicSubject is whom a user name and password are: the admin user, a token
// or a service principal. Callers hold mu.
func (a *Azure) basicSubject(reg *Registry, user, pass string) string {
	same := func(p string) bool { return p != "" && subtle.ConstantTimeCompare([]byte(p), []byte(pass)) == 1 }
	if user == reg.Name && (same(reg.admin[0]) || same(reg.admin[1])) {
		return subjectAdmin
	}
	for _, t := range reg.tokens {
		if t.Name == user && reg.valid(t) && (same(t.Passwords[0]) || same(t.Passwords[1])) {
			return subjectToken + t.Name
		}
	}
	p := reg.Tenant.client(user)
	if p == nil || p.kind != kindApp || p.disabled || a.checkSecret(p, pass) != nil {
		return ""
	}
	return p.objectID(reg.Tenant)
}

func (r *Registry) valid(t *Token) bool {
	return !t.disabled && (t.Expires.IsZero() || r.az.Cloud.Now().Before(t.Expires))
}

// give answers an access token with as much of the scopes as subject may, and
// as limit (nil: none) carries.
func (a *Azure) give(w http.ResponseWriter, reg *Registry, host, subject string, scopes []string, limit []access) {
	a.mu.Lock()
	var list []access
	for _, s := range scopes {
		for _, one := range strings.Fields(s) {
			if x, ok := parseScope(one); ok {
				may := reg.actions(subject, x.Type, x.Name)
				x.Actions = slices.DeleteFunc(x.Actions, func(act string) bool {
					return !slices.Contains(may, act) || limit != nil && !covers(limit, x.Type, x.Name, act)
				})
				if len(x.Actions) > 0 {
					list = append(list, x)
				}
			}
		}
	}
	known := subject != subjectToken && reg.knows(subject)
	a.mu.Unlock()
	if !known {
		unauthorized(w)
		return
	}
	w.Header().Set("X-Ms-Ratelimit-Remaining-Calls-Per-Second", "166.65")
	fakecloud.WriteJSON(w, http.StatusOK, map[string]string{"access_token": a.acrToken(reg, host, grantAccess, subject, list)})
}

// AccessToken signs an access token of the registry without any request, for
// scopes such as "repository:team/app:pull" as they are: for tests of what the
// registry refuses. life may be negative.
func (r *Registry) AccessToken(p *Principal, life time.Duration, scopes ...string) string {
	r.az.mu.Lock()
	subject := p.objectID(r.Tenant)
	r.az.mu.Unlock()
	var list []access
	for _, s := range scopes {
		if x, ok := parseScope(s); ok {
			list = append(list, x)
		}
	}
	now := r.az.Cloud.Now()
	return r.az.signACR(acrClaims{
		Version: "1.0", GrantType: grantAccess, Tenant: r.Tenant.ID, Access: list, Roles: []string{},
		RegisteredClaims: jwt.RegisteredClaims{
			ID: guid(), Subject: subject, Issuer: acrIssuer, Audience: jwt.ClaimStrings{r.Host},
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(life)),
		},
	})
}
