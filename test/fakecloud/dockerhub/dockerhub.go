// SPDX-License-Identifier: Apache-2.0

// Package dockerhub is the fake Docker Hub of tests: its registry, token server,
// API, OAuth tenant and OIDC federation, all on one fakecloud.Cloud under the
// real names.
//
//	c := fakecloud.Start(t)
//	hub := dockerhub.New(c, dockerhub.Options{})
//	bot := hub.User("acme-bot", "correct-horse")  // their namespace is acme-bot/…
//	acme := hub.Org("acme")                       // acme/…
//	acme.Add(bot, dockerhub.Admin)                // bot may do all in acme
//	hub.Repository("acme/app", dockerhub.Private) // the first push makes a public one
//	pat := bot.PAT(dockerhub.RepoWrite)           // pat.Secret goes with the user's name
//	oat := acme.OAT(dockerhub.RepoAdmin)          // oat.Secret goes with the organisation's name
//
// Other identities:
//
//	bot.TwoFactor("123456")                       // passwords need this code at the API, and do not log in to the registry
//	acme.EnforceSSO()                             // members' passwords are refused
//	hub.Approve(code, bot)                        // ends a device login; see Codes
//	con := acme.Connect(dockerhub.Connection{Subject: "repo:acme/app:*", Scope: dockerhub.RepoWrite}) // con.ID
//
// What is refused is refused with the product's status and body; where those
// are not known for certain a comment says so. Every expiry goes by Cloud.Now.
package dockerhub

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/regmint/regmint/test/fakecloud"
)

// The hosts of Docker Hub.
const (
	RegistryHost = "registry-1.docker.io"
	AuthHost     = "auth.docker.io"
	APIHost      = "hub.docker.com"
	LoginHost    = "login.docker.com"
	IdentityHost = "identity.docker.com"
)

// CLIClient is the public client of the docker command.
const CLIClient = "L4v0dmlNBpYUjGGab0C2JtgTgXr1Qz4d"

// audience is the resource of the OAuth tenant's access tokens.
const audience = "https://hub.docker.com"

// Options are the lifetimes of what is handed out; zero values are the
// product's, negative ones hand out what is already over.
type Options struct {
	BearerLife     time.Duration // tokens of auth.docker.io; 300 s
	APILife        time.Duration // tokens of /v2/auth/token and /v2/users/login; 10 min
	AccessLife     time.Duration // OAuth access tokens; 1 h
	Grace          time.Duration // those and federated ones work on for so long after their end; 0
	DeviceLife     time.Duration // device codes; 15 min
	DeviceInterval time.Duration // what device code clients are told to wait; 5 s
	// FederatedLife is what federated tokens live whatever was asked for; 0 = as
	// asked, 5 min by default.
	FederatedLife time.Duration
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		at *time.Duration
		to time.Duration
	}{
		{&o.BearerLife, 300 * time.Second},
		{&o.APILife, 10 * time.Minute},
		{&o.AccessLife, time.Hour},
		{&o.DeviceLife, 15 * time.Minute},
		{&o.DeviceInterval, 5 * time.Second},
	} {
		if *d.at == 0 {
			*d.at = d.to
		}
	}
	return o
}

// Counts is how often something was done.
type Counts struct {
	Bearers       int // tokens of auth.docker.io
	Generated     int // PATs made by desktop-generate
	Refreshes     int // OAuth refresh tokens used
	ReusedRefresh int // OAuth refresh tokens used again: their family died
	Federated     int // identity tokens exchanged
	APITokens     int // of /v2/auth/token, /v2/users/login and 2fa-login
}

// Hub is the state of Docker Hub. All methods, and those of what they return,
// are safe for concurrent use.
type Hub struct {
	Cloud *fakecloud.Cloud
	// Images is behind the registry: Images.Done lists what was let through.
	Images fakecloud.Registry

	mu       sync.Mutex
	options  Options
	key      *rsa.PrivateKey
	users    map[string]*User
	orgs     map[string]*Org
	repos    map[string]*Repository
	tokens   map[string]*Token // PATs and OATs by secret
	connects map[string]*Connection
	devices  []*device
	grants   map[string]*grant // OAuth refresh tokens
	mfa      map[string]*User  // login_2fa_token
	offline  map[string]identity
	slow     int
	counts   Counts
	deleted  []string
	limits   limits
}

// signingKey is of all Hubs of a process: it takes long to make one.
var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// New serves Docker Hub on c.
func New(c *fakecloud.Cloud, o Options) *Hub {
	h := &Hub{
		Cloud: c, options: o.withDefaults(), key: signingKey(),
		users: map[string]*User{}, orgs: map[string]*Org{}, repos: map[string]*Repository{}, tokens: map[string]*Token{},
		connects: map[string]*Connection{}, grants: map[string]*grant{}, mfa: map[string]*User{}, offline: map[string]identity{},
	}
	h.limits.used = map[string]int{}
	h.serve()
	return h
}

// Set changes the lifetimes of what is handed out from now on.
func (h *Hub) Set(change func(*Options)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(&h.options)
	h.options = h.options.withDefaults()
}

// Counts tells what was done.
func (h *Hub) Counts() Counts {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.counts
}

// Deleted lists the tags and repositories deleted by the API: "acme/app:1",
// "acme/app".
func (h *Hub) Deleted() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.deleted...)
}

// sign makes a JWT. Callers hold mu or need not.
func (h *Hub) sign(claims jwt.MapClaims, life time.Duration) string {
	now := h.Cloud.Now()
	claims["iat"], claims["nbf"], claims["exp"], claims["jti"] = now.Unix(), now.Unix(), now.Add(life).Unix(), rand.Text()
	s, err := jwt.NewWithClaims(jwt.SigningMethodRS256, claims).SignedString(h.key)
	if err != nil {
		panic(err)
	}
	return s
}

// verify reads a JWT of this Hub for an audience.
func (h *Hub) verify(token, issuer, audience string) (jwt.MapClaims, bool) {
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return h.key.Public(), nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithTimeFunc(h.Cloud.Now), jwt.WithExpirationRequired(),
		jwt.WithIssuer(issuer), jwt.WithAudience(audience))
	return claims, err == nil
}

func guid() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
