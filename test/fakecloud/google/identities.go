// SPDX-License-Identifier: Apache-2.0

package google

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash/fnv"
	"strings"
	"time"
)

// ServiceAccount is a service account.
type ServiceAccount struct {
	Email    string
	g        *Google
	disabled bool
	extended bool
	creators map[string]bool // may have its tokens
}

type key struct {
	account *ServiceAccount
	public  *rsa.PublicKey
	private string // PEM, as in the file
}

// ServiceAccount makes a service account; the same email gives the same one.
func (g *Google) ServiceAccount(email string) *ServiceAccount {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := g.accounts[email]; s != nil {
		return s
	}
	s := &ServiceAccount{Email: email, g: g, creators: map[string]bool{}}
	g.accounts[email] = s
	return s
}

// Member is "serviceAccount:EMAIL".
func (s *ServiceAccount) Member() string { return "serviceAccount:" + s.Email }

func (s *ServiceAccount) token(scopes []string) token {
	return token{who: s.Member(), members: []string{s.Member(), "allAuthenticatedUsers"}, email: s.Email, scopes: scopes}
}

// Key makes a key and returns its file.
func (s *ServiceAccount) Key() []byte {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		panic(err)
	}
	private := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	id := make([]byte, 20)
	_, _ = rand.Read(id)
	kid := hex.EncodeToString(id)
	s.g.mu.Lock()
	s.g.keys[kid] = &key{account: s, public: &k.PublicKey, private: private}
	s.g.mu.Unlock()
	return indent(map[string]any{
		"type": "service_account", "project_id": s.project(), "private_key_id": kid, "private_key": private,
		"client_email": s.Email, "client_id": numeric(s.Email),
		"auth_uri": "https://accounts.google.com/o/oauth2/auth", "token_uri": TokenURI,
		"auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
		"client_x509_cert_url":        "https://www.googleapis.com/robot/v1/metadata/x509/" + strings.ReplaceAll(s.Email, "@", "%40"),
		"universe_domain":             "googleapis.com",
	})
}

func (s *ServiceAccount) project() string {
	_, domain, _ := strings.Cut(s.Email, "@")
	return strings.TrimSuffix(domain, ".iam.gserviceaccount.com")
}

// DeleteKeys makes every key of the account useless.
func (s *ServiceAccount) DeleteKeys() {
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	for id, k := range s.g.keys {
		if k.account == s {
			delete(s.g.keys, id)
		}
	}
}

// Disable ends the account until Disable(false).
func (s *ServiceAccount) Disable(yes bool) {
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	s.disabled = yes
}

// AllowImpersonation lets members have tokens of the account
// (roles/iam.serviceAccountTokenCreator, and workloadIdentityUser for federated
// principals).
func (s *ServiceAccount) AllowImpersonation(members ...string) *ServiceAccount {
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	for _, m := range members {
		s.creators[m] = true
	}
	return s
}

// ExtendLifetime allows tokens of 12 h instead of 1 h, as the organisation
// policy iam.allowServiceAccountCredentialLifetimeExtension does.
func (s *ServiceAccount) ExtendLifetime() *ServiceAccount {
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	s.extended = true
	return s
}

// ImpersonationURL is the account's service_account_impersonation_url.
func (s *ServiceAccount) ImpersonationURL() string {
	return "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/" + s.Email + ":generateAccessToken"
}

// Impersonated returns an impersonated_service_account file: the account's
// tokens by way of source, the JSON of other credentials.
func (s *ServiceAccount) Impersonated(source []byte, delegates ...*ServiceAccount) []byte {
	out := map[string]any{
		"type": "impersonated_service_account", "service_account_impersonation_url": s.ImpersonationURL(),
		"source_credentials": json.RawMessage(source), "delegates": []string{},
	}
	if len(delegates) > 0 {
		names := make([]string, len(delegates))
		for i, d := range delegates {
			names[i] = "projects/-/serviceAccounts/" + d.Email
		}
		out["delegates"] = names
	}
	return indent(out)
}

// User is a person.
type User struct {
	Email  string
	g      *Google
	reauth bool
}

// The OAuth client of `gcloud auth application-default login`.
const (
	ClientID     = "123456789012-fake.apps.googleusercontent.com"
	ClientSecret = "public-client"
)

// User makes a person; the same email gives the same one.
func (g *Google) User(email string) *User {
	g.mu.Lock()
	defer g.mu.Unlock()
	if u := g.users[email]; u != nil {
		return u
	}
	u := &User{Email: email, g: g}
	g.users[email] = u
	return u
}

// Member is "user:EMAIL".
func (u *User) Member() string { return "user:" + u.Email }

func (u *User) token(scopes []string) token {
	return token{who: u.Member(), members: []string{u.Member(), "allAuthenticatedUsers"}, email: u.Email, scopes: scopes}
}

// Login logs in and returns an authorized_user file with a refresh token.
func (u *User) Login() []byte {
	return indent(map[string]any{
		"account": "", "client_id": ClientID, "client_secret": ClientSecret, "refresh_token": u.newRefreshToken(),
		"type": "authorized_user", "universe_domain": "googleapis.com",
	})
}

func (u *User) newRefreshToken() string {
	r := "1//0" + rand.Text() + rand.Text()
	u.g.mu.Lock()
	defer u.g.mu.Unlock()
	u.g.refresh[r] = u
	return r
}

// Logout revokes every refresh token of the person.
func (u *User) Logout() {
	u.g.mu.Lock()
	defer u.g.mu.Unlock()
	for r, owner := range u.g.refresh {
		if owner == u {
			u.g.refresh[r] = nil
		}
	}
}

// RequireReauth makes refreshes fail with invalid_rapt, as an organisation's
// session length does, until RequireReauth(false).
func (u *User) RequireReauth(yes bool) {
	u.g.mu.Lock()
	defer u.g.mu.Unlock()
	u.reauth = yes
}

// WorkloadProvider describes a provider of a workload identity pool.
type WorkloadProvider struct {
	Project  string // number; "" = 123456789012
	Pool     string // "" = ci
	Provider string // "" = oidc
	// Issuer is the issuer of the identity tokens that it accepts.
	Issuer string
	// AWSAccount makes it a provider for AWS identities of that account
	// instead: their signed GetCallerIdentity is sent to sts.REGION.amazonaws.com
	// on the same fakecloud.
	AWSAccount string
	// AllowedAudiences replaces the default: Audience, with or without https:.
	AllowedAudiences []string
	// Attributes maps attribute names to claims, for principalSets. google.subject
	// is sub.
	Attributes map[string]string
	// Condition is the attribute condition over the claims; nil = none.
	Condition func(claims map[string]any) bool
}

// Provider is a provider of a workload identity pool.
type Provider struct {
	WorkloadProvider
	g *Google
}

// Provider makes a pool and a provider in it.
func (g *Google) Provider(w WorkloadProvider) *Provider {
	for _, d := range []struct{ field, is *string }{{&w.Project, ptr("123456789012")}, {&w.Pool, ptr("ci")}, {&w.Provider, ptr("oidc")}} {
		if *d.field == "" {
			*d.field = *d.is
		}
	}
	p := &Provider{WorkloadProvider: w, g: g}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.providers[p.Audience()] = p
	return p
}

func (p *Provider) pool() string {
	return "iam.googleapis.com/projects/" + p.Project + "/locations/global/workloadIdentityPools/" + p.Pool
}

// Audience is the provider's name for STS:
// //iam.googleapis.com/projects/N/locations/global/workloadIdentityPools/POOL/providers/PROVIDER.
func (p *Provider) Audience() string {
	return "//" + p.pool() + "/providers/" + p.WorkloadProvider.Provider
}

// Principal is the member of one subject.
func (p *Provider) Principal(sub string) string { return "principal://" + p.pool() + "/subject/" + sub }

// PrincipalSet is the member of a set: "*" or "attribute.NAME/VALUE".
func (p *Provider) PrincipalSet(set string) string { return "principalSet://" + p.pool() + "/" + set }

// Credentials returns an external_account file. source is its
// credential_source (FileSource, URLSource or one of your own); impersonate may
// be nil; life 0 leaves the lifetime out.
func (p *Provider) Credentials(source map[string]any, impersonate *ServiceAccount, life time.Duration) []byte {
	out := map[string]any{
		"type": "external_account", "universe_domain": "googleapis.com", "audience": p.Audience(),
		"subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": "https://sts.googleapis.com/v1/token",
		"token_info_url": "https://sts.googleapis.com/v1/introspect", "credential_source": source,
	}
	if p.AWSAccount != "" {
		out["subject_token_type"] = awsTokenType
	}
	if impersonate != nil {
		out["service_account_impersonation_url"] = impersonate.ImpersonationURL()
		if life > 0 {
			out["service_account_impersonation"] = map[string]any{"token_lifetime_seconds": int(life / time.Second)}
		}
	}
	return indent(out)
}

// FileSource reads the identity token from a file.
func FileSource(path string) map[string]any { return map[string]any{"file": path} }

// URLSource asks a GitHub Actions runner, as google-github-actions/auth writes it.
func URLSource(url, requestToken string) map[string]any {
	return map[string]any{
		"url": url, "headers": map[string]string{"Authorization": "Bearer " + requestToken},
		"format": map[string]string{"type": "json", "subject_token_field_name": "value"},
	}
}

func ptr[T any](v T) *T { return &v }

func indent(v any) []byte {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err)
	}
	return append(b, '\n')
}

// numeric makes the unique id that goes with a name.
func numeric(s string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return fmt.Sprintf("1%020d", h.Sum64())
}
