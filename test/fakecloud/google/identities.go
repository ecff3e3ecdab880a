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

// The OAuth client that refresh tokens are bound to.
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

// workforcePool is the pool that people log in to with an identity provider of
// their organisation.
const workforcePool = "iam.googleapis.com/locations/global/workforcePools/acme"

// WorkforceLogin logs in through a workforce pool and returns an
// external_account_authorized_user file, as `gcloud auth application-default
// login --login-config` writes it. Its tokens are WorkforceMember's.
func (u *User) WorkforceLogin() []byte {
	return indent(map[string]any{
		"type": "external_account_authorized_user", "universe_domain": "googleapis.com",
		"audience":  "//" + workforcePool + "/providers/okta",
		"client_id": ClientID, "client_secret": ClientSecret, "refresh_token": u.newRefreshToken(),
		"token_url": "https://sts.googleapis.com/v1/oauthtoken", "token_info_url": "https://sts.googleapis.com/v1/introspect",
	})
}

// WorkforceMember is "principal://…/workforcePools/acme/subject/EMAIL".
func (u *User) WorkforceMember() string {
	return "principal://" + workforcePool + "/subject/" + u.Email
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
