// SPDX-License-Identifier: Apache-2.0

// Package google is a fake Google Cloud for tests: token endpoints, service
// account credentials, workload identity federation, metadata servers, a gcloud
// program, and Container Registry and Artifact Registry, on fakecloud's real
// https names. It verifies what it is given (signatures, audiences, expiry,
// scopes, grants) and refuses with Google's own statuses and bodies.
//
//	c := fakecloud.Start(t)
//	g := google.New(c, google.Options{})
//	ci := g.ServiceAccount("ci@acme.iam.gserviceaccount.com")
//	g.Repository("europe-west1-docker.pkg.dev/acme/images").Writers(ci.Member())
//	key := ci.Key()                      // a key file with the real token_uri
//	user := g.User("jane@example.com")
//	adc := user.Login()                  // authorized_user JSON
//
//	i := c.Issuer(fakecloud.GitHubIssuer)
//	p := g.Provider(google.WorkloadProvider{Issuer: i.URL, Attributes: map[string]string{"repository": "repository"}})
//	ci.AllowImpersonation(p.PrincipalSet("attribute.repository/acme/app"))
//	wif := p.Credentials(google.URLSource(runner.URL+"&audience="+url.QueryEscape(p.Audience()), runner.Token), ci, 900*time.Second)
//	token := i.Sign("repo:acme/app:ref:refs/heads/main", p.Audience(), map[string]any{"repository": "acme/app"})
//
//	m := g.Metadata(google.MetadataOptions{Account: ci})   // m.Host() for GCE_METADATA_HOST, m.URL
//	path := g.Gcloud(t)                                    // a fake gcloud in a directory of its own
//
// Members are IAM's: "user:…", "serviceAccount:…", "principal://…",
// "principalSet://…", "allUsers", "allAuthenticatedUsers". Everything expires by
// the cloud's clock (Cloud.Now).
//
// Hosts: oauth2.googleapis.com (/token, /tokeninfo), sts.googleapis.com
// (/v1/token, /v1/oauthtoken, /v1/introspect), iamcredentials.googleapis.com (:generateAccessToken), gcr.io with
// us, eu, asia and marketplace, LOCATION-docker.pkg.dev and
// docker.LOCATION.rep.pkg.dev (two names of the same repositories).
package google

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

// Scopes of access tokens.
const (
	ScopeCloudPlatform = "https://www.googleapis.com/auth/cloud-platform"
	ScopeReadOnly      = "https://www.googleapis.com/auth/cloud-platform.read-only"
	ScopeEmail         = "https://www.googleapis.com/auth/userinfo.email"
	scopeStorageRW     = "https://www.googleapis.com/auth/devstorage.read_write"
	scopeStorageFull   = "https://www.googleapis.com/auth/devstorage.full_control"
	scopeStorageRO     = "https://www.googleapis.com/auth/devstorage.read_only"
)

// TokenURI is the token endpoint, as key files name it.
const TokenURI = "https://oauth2.googleapis.com/token"

// Options of a fake Google Cloud.
type Options struct {
	// TokenLife is the life of tokens of the token endpoint and of STS; 0 =
	// 3599 s, as Google's.
	TokenLife time.Duration
}

// Google is a fake Google Cloud. All methods are safe for concurrent use.
type Google struct {
	c        *fakecloud.Cloud
	o        Options
	registry fakecloud.Registry

	mu        sync.Mutex
	accounts  map[string]*ServiceAccount
	users     map[string]*User
	refresh   map[string]*User // by refresh token
	keys      map[string]*key  // by key id
	providers map[string]*Provider
	tokens    map[string]*token
	repos     map[string]*Repository
	done      []fakecloud.Done
}

// New serves Google's hosts on c.
func New(c *fakecloud.Cloud, o Options) *Google {
	if o.TokenLife == 0 {
		o.TokenLife = 3599 * time.Second
	}
	g := &Google{
		c: c, o: o, accounts: map[string]*ServiceAccount{}, users: map[string]*User{}, refresh: map[string]*User{},
		keys: map[string]*key{}, providers: map[string]*Provider{}, tokens: map[string]*token{}, repos: map[string]*Repository{},
	}
	c.Handle("oauth2.googleapis.com", g.oauth2Handler())
	c.Handle("sts.googleapis.com", g.stsHandler())
	c.Handle("iamcredentials.googleapis.com", g.iamHandler())
	for _, h := range []string{"gcr.io", "us.gcr.io", "eu.gcr.io", "asia.gcr.io", "marketplace.gcr.io", "*.pkg.dev", "docker.*.rep.pkg.dev"} {
		c.Handle(h, http.HandlerFunc(g.serveRegistry))
	}
	return g
}

// Done lists the operations that the registries let through, each once, in
// order; Who is the member.
func (g *Google) Done() []fakecloud.Done {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.done)
}

// token is an access token, or a registry's bearer.
type token struct {
	value   string
	who     string   // the member it speaks for; "" = nobody (anonymous)
	members []string // everything it counts as in a policy
	email   string   // of users and service accounts
	scopes  []string
	expires time.Time
	bearer  bool // made by /v2/token: accepted by registries alone
}

func (t *token) has(scopes ...string) bool {
	return slices.ContainsFunc(scopes, func(s string) bool { return slices.Contains(t.scopes, s) })
}

// in reports whether one of the members is in the policy.
func (t *token) in(policy map[string]bool) bool {
	return policy["allUsers"] || slices.ContainsFunc(t.members, func(m string) bool { return policy[m] })
}

// issue makes a token that lives for life.
func (g *Google) issue(t token, prefix string, life time.Duration) *token {
	t.value = prefix + rand.Text() + rand.Text()
	t.expires = g.c.Now().Add(life).Truncate(time.Second)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tokens[t.value] = &t
	return &t
}

// lookup finds a token that lives.
func (g *Google) lookup(value string) *token {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.tokens[value]
	if t == nil || !g.c.Now().Before(t.expires) {
		return nil
	}
	return t
}

// RevokeTokens ends every access token of a member, as when a key leaks.
func (g *Google) RevokeTokens(member string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for k, t := range g.tokens {
		if t.who == member {
			delete(g.tokens, k)
		}
	}
}

// Who is the member that a live access token speaks for, and its scopes; "" for
// a token that is expired or unknown.
func (g *Google) Who(accessToken string) (member string, scopes []string) {
	t := g.lookup(accessToken)
	if t == nil {
		return "", nil
	}
	return t.who, slices.Clone(t.scopes)
}

// Token issues an access token for a user, a service account or a federated
// principal, as if it had been minted; no scope = cloud-platform.
func (g *Google) Token(member string, life time.Duration, scopes ...string) string {
	if len(scopes) == 0 {
		scopes = []string{ScopeCloudPlatform}
	}
	_, email, _ := strings.Cut(member, ":")
	return g.issue(token{who: member, members: []string{member, "allAuthenticatedUsers"}, email: email, scopes: scopes}, "ya29.t.", life).value
}
