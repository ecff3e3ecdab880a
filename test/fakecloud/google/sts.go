// SPDX-License-Identifier: Apache-2.0

package google

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/regmint/regmint/test/fakecloud"
)

const (
	grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeAccess    = "urn:ietf:params:oauth:token-type:access_token"
	typeJWT       = "urn:ietf:params:oauth:token-type:jwt"
	typeID        = "urn:ietf:params:oauth:token-type:id_token"
	awsTokenType  = "urn:ietf:params:aws:token-type:aws4_request"
)

func (g *Google) stsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/token", func(w http.ResponseWriter, r *http.Request) {
		err := form(w, r)
		var t *token
		if err == nil {
			t, err = g.exchange(r)
		}
		if err != nil {
			err.write(w)
			return
		}
		fakecloud.WriteJSON(w, http.StatusOK, map[string]any{
			"access_token": t.value, "issued_token_type": typeAccess, "token_type": "Bearer", "expires_in": g.left(t),
		})
	})
	mux.HandleFunc("POST /v1/oauthtoken", func(w http.ResponseWriter, r *http.Request) {
		t, err := g.workforceRefresh(w, r)
		if err != nil {
			err.write(w)
			return
		}
		fakecloud.WriteJSON(w, http.StatusOK, map[string]any{"access_token": t.value, "token_type": "Bearer", "expires_in": g.left(t)})
	})
	mux.HandleFunc("POST /v1/introspect", g.introspect)
	return mux
}

// introspect says whose a federated token is, to gcloud when it logs in.
func (g *Google) introspect(w http.ResponseWriter, r *http.Request) {
	if err := form(w, r); err != nil {
		err.write(w)
		return
	}
	if _, _, ok := r.BasicAuth(); !ok {
		(&oauthError{status: http.StatusUnauthorized, code: "invalid_client", text: "Unauthorized"}).write(w)
		return
	}
	t := g.lookup(r.PostForm.Get("token"))
	if t == nil {
		fakecloud.WriteJSON(w, http.StatusOK, map[string]any{"active": false})
		return
	}
	fakecloud.WriteJSON(w, http.StatusOK, map[string]any{
		"active": true, "username": t.who, "sub": numeric(t.who), "scope": strings.Join(t.scopes, " "), "exp": t.expires.Unix(),
		"iss": "https://sts.googleapis.com/", "client_id": ClientID,
	})
}

// workforceRefresh answers the refresh token of a person of a workforce pool;
// the client's name and secret come in the header.
func (g *Google) workforceRefresh(w http.ResponseWriter, r *http.Request) (*token, *oauthError) {
	if err := form(w, r); err != nil {
		return nil, err
	}
	if id, secret, _ := r.BasicAuth(); id != ClientID || secret != ClientSecret {
		return nil, &oauthError{status: http.StatusUnauthorized, code: "invalid_client", text: "The OAuth client was not found."}
	}
	if grant := r.PostForm.Get("grant_type"); grant != grantRefresh {
		return nil, refuse("unsupported_grant_type", "Invalid grant type: %q", grant)
	}
	g.mu.Lock()
	u := g.refresh[r.PostForm.Get("refresh_token")]
	g.mu.Unlock()
	if u == nil {
		return nil, refuse("invalid_grant", "The refresh token is invalid or has expired.")
	}
	t := token{who: u.WorkforceMember(), members: []string{u.WorkforceMember()}, scopes: []string{ScopeCloudPlatform, ScopeEmail, "openid"}}
	return g.issue(t, "ya29.d.", g.o.TokenLife), nil
}

func (g *Google) exchange(r *http.Request) (*token, *oauthError) {
	f := r.PostForm
	if f.Get("grant_type") != grantExchange {
		return nil, refuse("unsupported_grant_type", "Invalid grant type: %q", f.Get("grant_type"))
	}
	for _, name := range []string{"audience", "requested_token_type", "subject_token", "subject_token_type", "scope"} {
		if f.Get(name) == "" {
			return nil, refuse("invalid_request", "Invalid value for %q. Value cannot be empty.", name)
		}
	}
	if f.Get("requested_token_type") != typeAccess {
		return nil, refuse("invalid_request", "Requested token type %q is not supported.", f.Get("requested_token_type"))
	}
	scopes, e := parseScopes(f.Get("scope"))
	if e != nil {
		return nil, e
	}
	g.mu.Lock()
	p := g.providers[f.Get("audience")]
	g.mu.Unlock()
	if p == nil {
		return nil, refuse("invalid_target", `The target service indicated by the "audience" parameters is invalid. This might either be because the pool or provider is disabled or deleted or because it doesn't exist.`)
	}
	var claims map[string]any
	switch kind := f.Get("subject_token_type"); {
	case p.AWSAccount != "" && kind == awsTokenType:
		claims, e = p.awsClaims(f.Get("subject_token"))
	case p.AWSAccount == "" && (kind == typeJWT || kind == typeID):
		claims, e = p.oidcClaims(f.Get("subject_token"))
	default:
		e = refuse("invalid_request", "Invalid value for \"subject_token_type\": %s is not accepted by the provider.", kind)
	}
	if e != nil {
		return nil, e
	}
	if p.Condition != nil && !p.Condition(claims) {
		return nil, refuse("unauthorized_client", "The given credential is rejected by the attribute condition.")
	}
	return g.issue(p.token(claims, scopes), "ya29.d.", g.o.TokenLife), nil
}

// token is a federated principal's.
func (p *Provider) token(claims map[string]any, scopes []string) token {
	sub, _ := claims["sub"].(string)
	t := token{who: p.Principal(sub), members: []string{p.Principal(sub), p.PrincipalSet("*")}, scopes: scopes}
	for name, claim := range p.Attributes {
		if v, ok := claims[claim]; ok {
			t.members = append(t.members, p.PrincipalSet(fmt.Sprintf("attribute.%s/%v", name, v)))
		}
	}
	return t
}

// oidcClaims verifies an identity token: signature, expiry, issuer, audience.
func (p *Provider) oidcClaims(raw string) (map[string]any, *oauthError) {
	claims, err := p.g.c.Identity(raw, "")
	switch {
	case errors.Is(err, fakecloud.ErrExpired):
		return nil, refuse("invalid_grant", "ID Token is stale to sign-in.")
	case errors.Is(err, fakecloud.ErrIssuer):
		return nil, refuse("invalid_grant", "The issuer in ID Token does not match the expected ones: %s", p.Issuer)
	case err != nil:
		return nil, refuse("invalid_grant", "Unable to verify the ID Token signature.")
	}
	if iss, _ := claims.GetIssuer(); iss != p.Issuer {
		return nil, refuse("invalid_grant", "The issuer in ID Token %s does not match the expected ones: %s", iss, p.Issuer)
	}
	allowed := p.AllowedAudiences
	if len(allowed) == 0 {
		allowed = []string{p.Audience(), "https:" + p.Audience()}
	}
	aud, _ := claims.GetAudience()
	if !slices.ContainsFunc(aud, func(a string) bool { return slices.Contains(allowed, a) }) {
		return nil, refuse("invalid_grant", "The audience in ID Token [%s] does not match the expected audience.", strings.Join(aud, ", "))
	}
	if sub, _ := claims.GetSubject(); sub == "" || len(sub) > 127 {
		return nil, refuse("invalid_request", "The size of mapped attribute google.subject exceeds the 127 bytes limit. Either modify your attribute mapping or the incoming assertion to produce a mapped attribute that is less than 127 bytes.")
	}
	return claims, nil
}

var awsSTS = regexp.MustCompile(`^sts(\.[a-z0-9-]+)?\.amazonaws\.com$`)

// awsClaims sends the signed GetCallerIdentity on to AWS, as Google does.
func (p *Provider) awsClaims(raw string) (map[string]any, *oauthError) {
	var q struct {
		URL     string `json:"url"`
		Method  string `json:"method"`
		Headers []struct{ Key, Value string }
	}
	text, err := url.QueryUnescape(raw)
	if err != nil || json.Unmarshal([]byte(text), &q) != nil {
		return nil, refuse("invalid_grant", "Unable to parse subject token.")
	}
	u, err := url.Parse(q.URL)
	if err != nil || u.Scheme != "https" || !awsSTS.MatchString(u.Host) || u.Query().Get("Action") != "GetCallerIdentity" || q.Method != http.MethodPost {
		return nil, refuse("invalid_grant", "Invalid value for url in AWS subject token.")
	}
	req, err := http.NewRequest(q.Method, q.URL, nil)
	if err != nil {
		return nil, refuse("invalid_grant", "Unable to parse subject token.")
	}
	for _, h := range q.Headers {
		if !strings.EqualFold(h.Key, "host") {
			req.Header.Set(h.Key, h.Value)
		}
	}
	auth := req.Header.Get("Authorization")
	if req.Header.Get("X-Goog-Cloud-Target-Resource") != p.Audience() || !strings.Contains(auth, "x-goog-cloud-target-resource") {
		return nil, refuse("invalid_grant", "The x-goog-cloud-target-resource header must be signed and name the audience.")
	}
	res, err := p.g.c.Client().Do(req)
	if err != nil {
		return nil, refuse("invalid_grant", "AWS could not be reached.")
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	var out struct {
		Arn     string `xml:"GetCallerIdentityResult>Arn"`
		Account string `xml:"GetCallerIdentityResult>Account"`
	}
	if res.StatusCode != http.StatusOK || xml.Unmarshal(body, &out) != nil {
		return nil, refuse("invalid_grant", "Received invalid AWS response of type %d.", res.StatusCode)
	}
	if out.Account != p.AWSAccount {
		return nil, refuse("invalid_grant", "The AWS account %s is not the one of the provider.", out.Account)
	}
	return map[string]any{"sub": out.Arn, "arn": out.Arn, "account": out.Account}, nil
}
