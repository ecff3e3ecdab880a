// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/regmint/regmint/test/fakecloud"
)

const (
	entraKid      = "entra-1"
	jwtBearer     = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	deviceGrant   = "urn:ietf:params:oauth:grant-type:device_code"
	defaultSuffix = "/.default"
)

// grant is what a user agreed to; a refresh token stands for it.
type grant struct {
	who     *Principal
	client  string
	since   time.Time
	expires time.Time
}

// answer is a token response.
type answer struct {
	who      *Principal
	tenant   *Tenant
	resource string
	scopes   []string
	client   string
	user     bool
	openid   bool
	info     bool // client_info=1
	refresh  bool
}

func (a *Azure) token(w http.ResponseWriter, r *http.Request, e Environment) {
	form, ok := postForm(r)
	if !ok {
		a.fail(w, refusal{400, "invalid_request", 900144, "The request body must contain the following parameter: 'grant_type'."})
		return
	}
	a.mu.Lock()
	ans, refused := a.grant(form, r.PathValue("tenant"), e)
	a.mu.Unlock()
	if refused != nil {
		a.fail(w, *refused)
		return
	}
	a.answer(w, ans)
}

// postForm reads a form of the body alone: parameters in the address do not count.
func postForm(r *http.Request) (url.Values, bool) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/x-www-form-urlencoded" {
		return nil, false
	}
	r.Body = http.MaxBytesReader(nil, r.Body, 1<<20)
	if err := r.ParseForm(); err != nil {
		return nil, false
	}
	return r.PostForm, true
}

// grant decides a token request. Callers hold mu.
func (a *Azure) grant(form url.Values, name string, e Environment) (answer, *refusal) {
	for _, p := range []string{"grant_type", "client_id"} {
		if form.Get(p) == "" {
			return answer{}, &refusal{400, "invalid_request", 900144, "The request body must contain the following parameter: '" + p + "'."}
		}
	}
	t := a.tenant(e, name)
	if t == nil && !isShared(name) {
		f := noTenant(name)
		return answer{}, &f
	}
	switch form.Get("grant_type") {
	case "client_credentials":
		return a.clientCredentials(form, t, e)
	case "refresh_token":
		return a.refreshGrant(form, t, e)
	case "device_code", deviceGrant:
		return a.deviceGrant(form, t, e)
	}
	return answer{}, &refusal{400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type '" + form.Get("grant_type") + "'."}
}

func (a *Azure) clientCredentials(form url.Values, t *Tenant, e Environment) (answer, *refusal) {
	if t == nil {
		return answer{}, &refusal{400, "invalid_request", 50194, "Application '" + form.Get("client_id") + "' is not configured as a multi-tenant application. Usage of the /common endpoint is not supported for such apps created after '10/15/2018'. Use a tenant-specific endpoint or configure the application to be multi-tenant."}
	}
	scopes := strings.Fields(form.Get("scope"))
	i := slices.IndexFunc(scopes, func(s string) bool { return strings.HasSuffix(s, defaultSuffix) })
	if i < 0 {
		return answer{}, &refusal{400, "invalid_scope", 1002012, "The provided value for scope " + form.Get("scope") + " is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI)."}
	}
	p := t.client(form.Get("client_id"))
	if p == nil {
		return answer{}, noApp(form.Get("client_id"), t)
	}
	if f := a.authenticate(p, form, t); f != nil {
		return answer{}, f
	}
	if p.disabled {
		return answer{}, &refusal{401, "unauthorized_client", 7000112, "Application '" + p.ClientID + "'(" + p.Name + ") is disabled."}
	}
	resource, f := resourceOf(scopes[i], t, e)
	return answer{who: p, tenant: t, resource: resource, client: p.ClientID}, f
}

func noApp(id string, t *Tenant) *refusal {
	return &refusal{400, "unauthorized_client", 700016, "Application with identifier '" + id + "' was not found in the directory '" + t.label() + "'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant."}
}

func (t *Tenant) label() string {
	if t.Domain != "" {
		return t.Domain
	}
	return t.ID
}

// resourceOf is the resource of RESOURCE/.default.
func resourceOf(scope string, t *Tenant, e Environment) (string, *refusal) {
	resource := strings.TrimSuffix(scope, defaultSuffix)
	switch strings.TrimSuffix(resource, "/") {
	case RegistryAudience, e.ARM:
		return resource, nil
	}
	return "", &refusal{400, "invalid_resource", 500011, "The resource principal named " + resource + " was not found in the tenant named " + t.label() + ". This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant."}
}

func (a *Azure) refreshGrant(form url.Values, t *Tenant, e Environment) (answer, *refusal) {
	g := a.refresh[form.Get("refresh_token")]
	if g == nil {
		return answer{}, &refusal{400, "invalid_grant", 9002313, "Invalid request. Request is malformed or invalid."}
	}
	if form.Get("client_id") != g.client {
		return answer{}, &refusal{400, "invalid_grant", 700005, "Provided Authorization Code is intended to use against other tenant or application, thus rejected."}
	}
	if t == nil {
		t = g.who.Tenant
	}
	if f := a.signIn(g, t, e); f != nil {
		return answer{}, f
	}
	return a.userAnswer(form, g.who, t, e, g.client, strings.Fields(form.Get("scope")))
}

// signIn tells whether a user's earlier consent still stands in t.
func (a *Azure) signIn(g *grant, t *Tenant, e Environment) *refusal {
	p := g.who
	switch {
	case p.disabled:
		return &refusal{400, "invalid_grant", 50057, "The user account is disabled."}
	case !g.since.After(p.notBefore):
		return &refusal{400, "invalid_grant", 50173, "The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have changed or reset their password."}
	case !a.Cloud.Now().Before(g.expires):
		return &refusal{400, "invalid_grant", 700082, "The refresh token has expired due to inactivity. The token was issued on " + g.since.UTC().Format(time.RFC3339) + " and was inactive for 90.00:00:00."}
	case p.interactAt != "":
		return &refusal{400, "interaction_required", 50076, "Due to a configuration change made by your administrator, or because you moved to a new location, you must use multi-factor authentication to access '" + RegistryAudience + "'."}
	case p.Tenant.Environment.Authority != e.Authority || p.objectID(t) == "":
		return &refusal{400, "invalid_grant", 50020, "User account '" + p.Name + "' from identity provider 'https://sts.windows.net/" + p.Tenant.ID + "/' does not exist in tenant '" + t.label() + "' and cannot access the application '" + g.client + "' in that tenant. The account needs to be added as an external user in the tenant first."}
	}
	return nil
}

func (a *Azure) userAnswer(form url.Values, p *Principal, t *Tenant, e Environment, client string, scopes []string) (answer, *refusal) {
	resource := ""
	for _, s := range scopes {
		if i := strings.LastIndexByte(s, '/'); i > 0 && strings.HasPrefix(s, "https://") {
			r, f := resourceOf(s[:i]+defaultSuffix, t, e)
			if f != nil {
				return answer{}, f
			}
			if resource != "" && r != resource {
				return answer{}, &refusal{400, "invalid_scope", 28000, "Provided value for the input parameter scope is not valid because it contains more than one resource."}
			}
			resource = r
		}
	}
	if resource == "" {
		return answer{}, &refusal{400, "invalid_scope", 70011, "The provided request must include a 'scope' input parameter."}
	}
	return answer{
		who: p, tenant: t, resource: resource, client: client, user: true, info: form.Get("client_info") == "1",
		openid: slices.Contains(scopes, "openid"), refresh: slices.Contains(scopes, "offline_access"), scopes: scopes,
	}, nil
}

func (a *Azure) answer(w http.ResponseWriter, ans answer) {
	life := a.lives().EntraLife
	out := map[string]any{
		"token_type": "Bearer", "expires_in": seconds(life), "ext_expires_in": seconds(life),
		"access_token": a.accessToken(ans, life),
	}
	if ans.user {
		resource := strings.TrimSuffix(ans.resource, "/")
		out["scope"] = resource + "/user_impersonation " + resource + defaultSuffix
		if ans.openid {
			oid := a.objectID(ans.who, ans.tenant)
			out["id_token"] = a.sign(jwt.MapClaims{
				"iss": "https://" + ans.tenant.Environment.Authority + "/" + ans.tenant.ID + "/v2.0", "aud": ans.client,
				"tid": ans.tenant.ID, "oid": oid, "sub": oid,
				"preferred_username": ans.who.Name, "name": ans.who.Name, "ver": "2.0",
			}, life)
		}
		if ans.info {
			b, _ := json.Marshal(map[string]string{"uid": ans.who.ObjectID, "utid": ans.who.Tenant.ID})
			out["client_info"] = base64.RawURLEncoding.EncodeToString(b)
		}
		if ans.refresh {
			out["refresh_token"] = a.newRefresh(ans.who, ans.client)
		}
	}
	w.Header().Set("Cache-Control", "no-store, no-cache")
	fakecloud.WriteJSON(w, http.StatusOK, out)
}

func (a *Azure) objectID(p *Principal, t *Tenant) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return p.objectID(t)
}

func (a *Azure) newRefresh(p *Principal, client string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	token := "1.AX" + rand.Text() + rand.Text() + "." + rand.Text()
	now := a.Cloud.Now()
	a.refresh[token] = &grant{who: p, client: client, since: now, expires: now.Add(a.options.UserLife)}
	return token
}

// accessToken signs a version 1 access token, which is what these resources get.
func (a *Azure) accessToken(ans answer, life time.Duration) string {
	oid := a.objectID(ans.who, ans.tenant)
	claims := jwt.MapClaims{
		"iss": ans.tenant.Environment.issuer + ans.tenant.ID + "/", "aud": ans.resource,
		"tid": ans.tenant.ID, "oid": oid, "sub": oid, "appid": ans.client, "ver": "1.0",
	}
	if ans.user {
		claims["upn"], claims["scp"], claims["idtyp"] = ans.who.Name, "user_impersonation", "user"
	} else {
		claims["idtyp"] = "app"
		if ans.who.kind == kindManaged {
			claims["xms_mirid"] = ans.who.ResourceID
		}
	}
	return a.sign(claims, life)
}

// EntraToken signs an access token of p for resource without any request, with
// claims added that win: for tests of what registries refuse.
func (a *Azure) EntraToken(p *Principal, resource string, claims map[string]any) string {
	c := jwt.MapClaims{}
	t := answer{who: p, tenant: p.Tenant, resource: resource, client: p.ClientID, user: p.kind == kindUser}
	_, _, _ = jwt.NewParser().ParseUnverified(a.accessToken(t, a.lives().EntraLife), c)
	for k, v := range claims {
		c[k] = v
	}
	return a.signAll(c)
}

func (a *Azure) sign(claims jwt.MapClaims, life time.Duration) string {
	now := a.Cloud.Now()
	claims["iat"], claims["nbf"], claims["exp"] = now.Unix(), now.Add(-5*time.Minute).Unix(), now.Add(life).Unix()
	claims["uti"] = rand.Text()
	return a.signAll(claims)
}

func (a *Azure) signAll(claims jwt.MapClaims) string {
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	t.Header["kid"] = entraKid
	s, err := t.SignedString(a.entraKey)
	if err != nil {
		panic(err)
	}
	return s
}
