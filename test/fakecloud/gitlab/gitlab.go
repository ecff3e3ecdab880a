// SPDX-License-Identifier: Apache-2.0

// Package gitlab is the fake GitLab of tests: one instance with its API, OAuth2
// server, token endpoint of the registry, container registry and Dependency
// Proxy, all on one fakecloud.Cloud under the real names.
//
//	c := fakecloud.Start(t)
//	gl := gitlab.New(c, gitlab.Options{})         // gitlab.com and registry.gitlab.com
//	jane := gl.User("jane")
//	app := gl.Project("acme/app")                 // registry.gitlab.com/acme/app, and below it
//	app.Add(jane, gitlab.Developer)
//	pat := jane.Token(gitlab.TokenSpec{Scopes: []string{gitlab.ReadRegistry, gitlab.WriteRegistry}})
//	pat.Secret                                    // the password; any user name goes with it
//
// Other identities:
//
//	bot := app.Token(gitlab.TokenSpec{Level: gitlab.Developer, Scopes: ...}) // or a Group's
//	dep := app.DeployToken(gitlab.DeploySpec{Scopes: ...})   // dep.Username, dep.Secret
//	job := app.Job(jane)                          // job.Env(): CI_JOB_TOKEN and the others; job.End()
//	gl.Application("tool", gitlab.API)            // OAuth2 client; gitlab.com knows GlabClient
//	gl.Approve(code, jane)                        // ends a device login; see Codes
//	cli := gl.Glab(t)                             // cli.Path is glab; cli.LogIn(t, dir, jane)
//
// A second instance, with names of its own, is another New on the same Cloud.
// An Issuer of the Cloud for the same instance is to be made after New.
//
// What is refused is refused with the product's status and body. Every expiry
// goes by Cloud.Now: access tokens and deploy tokens end at midnight UTC.
// Lose and Delay act after what was asked for is done.
package gitlab

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

// Options are the names of an instance and the lifetimes of what it hands out;
// zero values are gitlab.com's. Negative lifetimes hand out what is over.
type Options struct {
	Host     string // gitlab.com
	Registry string // registry.gitlab.com; registry.example.com of gitlab.example.com

	BearerLife     time.Duration // tokens of /jwt/auth; 15 min on gitlab.com, else 5 min
	AccessLife     time.Duration // OAuth2 access tokens; 2 h
	Grace          time.Duration // those work on for so long after their end; 0
	DeviceLife     time.Duration // device codes; 5 min
	DeviceInterval time.Duration // what device code clients are told to wait; 5 s

	// BanAfter keeps all clients away from /jwt/auth for an hour after so many
	// failures within 3 min; 0 = never, as the product comes.
	BanAfter int

	// MaxDays is how many days from today the instance lets tokens live; 365.
	MaxDays int

	// NoRegistry, NoDevices and Free are an instance whose container registry
	// is off, one older than 17.2, which knows no device codes, and a namespace
	// of gitlab.com that pays nothing: nobody makes project and group tokens there.
	NoRegistry, NoDevices, Free bool
}

func (o Options) withDefaults() Options {
	if o.Host == "" {
		o.Host = "gitlab.com"
	}
	bearer, domain := 5*time.Minute, strings.TrimPrefix(o.Host, "gitlab.")
	if o.Host == "gitlab.com" {
		bearer, domain = 15*time.Minute, o.Host
	}
	if o.Registry == "" {
		o.Registry = "registry." + domain
	}
	if o.MaxDays == 0 {
		o.MaxDays = 365
	}
	for _, d := range []struct {
		at *time.Duration
		to time.Duration
	}{
		{&o.BearerLife, bearer},
		{&o.AccessLife, 2 * time.Hour},
		{&o.DeviceLife, 5 * time.Minute},
		{&o.DeviceInterval, 5 * time.Second},
	} {
		if *d.at == 0 {
			*d.at = d.to
		}
	}
	return o
}

// Scopes of tokens.
const (
	API                  = "api"
	ReadAPI              = "read_api"
	ReadUser             = "read_user"
	ReadRegistry         = "read_registry"
	WriteRegistry        = "write_registry"
	ReadVirtualRegistry  = "read_virtual_registry"
	WriteVirtualRegistry = "write_virtual_registry"
	ReadRepository       = "read_repository"
	WriteRepository      = "write_repository"
	SelfRotate           = "self_rotate"
)

// Level is a role in a project or group.
type Level int

// The roles; each may what those below it may.
const (
	Guest      Level = 10
	Planner    Level = 15
	Reporter   Level = 20 // pulls
	Developer  Level = 30 // pushes, and deletes by the API
	Maintainer Level = 40 // deletes at the registry, makes tokens
	Owner      Level = 50
)

// Visibility is who sees a project.
type Visibility string

// The visibilities.
const (
	Private  Visibility = "private"
	Internal Visibility = "internal"
	Public   Visibility = "public"
)

// GitLab is the state of one instance. All methods, and those of what they
// return, are safe for concurrent use.
type GitLab struct {
	Cloud *fakecloud.Cloud
	// Images is behind the registry: Images.Done lists what was let through, by
	// user name. See Proxied for the Dependency Proxy.
	Images fakecloud.Registry

	mu       sync.Mutex
	options  Options
	key      *rsa.PrivateKey // of the registry's tokens; all instances have one
	issuer   string          // of them, and of no other instance
	proxyKey []byte          // of the Dependency Proxy's
	last     int             // id
	users    map[string]*User
	groups   map[string]*Group
	projects map[string]*Project
	tokens   []*Token
	deploys  []*DeployToken
	jobs     []*Job
	apps     map[string]*Application
	grants   []*grant
	devices  []*device
	slow     int
	counts   Counts
	revoked  []Revocation
	after    []*afterwards
	hub      fakecloud.Registry // what the Dependency Proxy fetches
	proxied  []fakecloud.Done

	failures    []time.Time
	bannedUntil time.Time
}

// signingKey is made once: it takes longer than most tests.
var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// New serves an instance on c.
func New(c *fakecloud.Cloud, o Options) *GitLab {
	g := &GitLab{
		Cloud: c, options: o.withDefaults(), key: signingKey(), issuer: "gitlab-issuer-" + rand.Text(), proxyKey: []byte(rand.Text()), last: 100,
		users: map[string]*User{}, groups: map[string]*Group{}, projects: map[string]*Project{}, apps: map[string]*Application{},
	}
	if g.options.Host == "gitlab.com" {
		g.apps[GlabClient] = &Application{ClientID: GlabClient, Name: "GitLab CLI", scopes: glabScopes}
	}
	c.Handle(g.options.Host, http.HandlerFunc(g.serveHost))
	c.Handle(g.options.Registry, http.HandlerFunc(g.serveRegistry))
	return g
}

// Host is the name of the instance.
func (g *GitLab) Host() string { return g.lives().Host }

// Registry is the name of its container registry.
func (g *GitLab) Registry() string { return g.lives().Registry }

// Set changes the lifetimes of what is handed out from now on. Names stay.
func (g *GitLab) Set(change func(*Options)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	o := g.options
	change(&o)
	o.Host, o.Registry = g.options.Host, g.options.Registry
	g.options = o.withDefaults()
}

func (g *GitLab) lives() Options {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.options
}

// id makes the next number. Callers hold mu.
func (g *GitLab) id() int {
	g.last++
	return g.last
}

// hexText makes a random word such as OAuth2 tokens are: 64 hex digits.
func hexText() string {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 256))
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("%064x", n)
}
