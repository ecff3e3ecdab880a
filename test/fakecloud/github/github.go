// SPDX-License-Identifier: Apache-2.0

// Package github is the fake GitHub of tests: one instance with its OAuth
// server, REST API and container registry, all on one fakecloud.Cloud under the
// real names.
//
//	c := fakecloud.Start(t)
//	gh := github.New(c, github.Options{})      // github.com, api.github.com, ghcr.io
//	jane := gh.User("jane")
//	acme := gh.Org("acme")                     // acme.Add(jane)
//	pat := jane.Classic(github.ReadPackages, github.WritePackages)
//	pat.Secret                                 // the password; any user name goes with it
//
// Other identities:
//
//	jane.FineGrained()                         // which the registry refuses
//	job := gh.Job("acme/app", jane, github.Write)  // job.Env(): GITHUB_TOKEN and the others; job.End()
//	app := gh.App("minter"); in := app.Install("acme", github.Write, "app") // app.Key, app.ID, app.ClientID
//	oa := gh.OAuthApp("tool")                  // oa.ClientID; app.ClientID has a device login too, with pairs
//	gh.Approve(code, jane)                     // ends a device login; see Codes
//	cli := gh.CLI(t)                           // cli.Path is gh; cli.LogIn(jane, scopes...)
//
// GitHub Enterprise Server and GHE.com are another New with Host set. What is
// refused is refused with the product's status and body. Every expiry goes by
// Cloud.Now. Half of the installation tokens have the dotted form of 520
// characters.
package github

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

// Options are the names of an instance and the lifetimes of what it hands out;
// zero values are github.com's.
type Options struct {
	Host     string // github.com; SUB.ghe.com; anything else is a GHES
	Registry string // ghcr.io, else containers. + Host; Host itself: a GHES without subdomain isolation
	API      string // api.github.com, api.SUB.ghe.com, else Host with the prefix /api/v3

	BearerLife       time.Duration // tokens of the registry; 5 min
	InstallationLife time.Duration // 1 h
	AccessLife       time.Duration // user tokens of Apps; 8 h
	Grace            time.Duration // those work on for so long after their end; 0
	RefreshLife      time.Duration // 183 days
	DeviceLife       time.Duration // device codes; 15 min
	DeviceInterval   time.Duration // what device code clients are told to wait; 5 s

	// InstallationsPull makes the registry serve private images to installation
	// tokens of Apps, which the real one is reported to deny.
	InstallationsPull bool
}

func (o Options) withDefaults() Options {
	if o.Host == "" {
		o.Host = "github.com"
	}
	registry, api := "containers."+o.Host, o.Host
	switch {
	case o.Host == "github.com":
		registry, api = "ghcr.io", "api.github.com"
	case strings.HasSuffix(o.Host, ".ghe.com"):
		api = "api." + o.Host
	}
	if o.Registry == "" {
		o.Registry = registry
	}
	if o.API == "" {
		o.API = api
	}
	for _, d := range []struct {
		at *time.Duration
		to time.Duration
	}{
		{&o.BearerLife, 5 * time.Minute},
		{&o.InstallationLife, time.Hour},
		{&o.AccessLife, 8 * time.Hour},
		{&o.RefreshLife, 15811200 * time.Second},
		{&o.DeviceLife, 15 * time.Minute},
		{&o.DeviceInterval, 5 * time.Second},
	} {
		if *d.at == 0 {
			*d.at = d.to
		}
	}
	return o
}

// Scopes of classic tokens and OAuth apps.
const (
	ReadPackages   = "read:packages"
	WritePackages  = "write:packages"
	DeletePackages = "delete:packages"
)

// Level is what somebody may do with packages.
type Level int

// The levels; each may what those below it may.
const (
	None Level = iota
	Read
	Write
	Admin
)

// String is how the API spells a level.
func (l Level) String() string { return [...]string{"", "read", "write", "admin"}[l] }

// GitHub is the state of one instance. All methods, and those of what they
// return, are safe for concurrent use.
type GitHub struct {
	Cloud *fakecloud.Cloud
	// Images is behind the registry: Images.Done lists what was let through, by
	// login, or as "app SLUG" and "actions OWNER/REPO".
	Images fakecloud.Registry

	mu       sync.Mutex
	options  Options
	last     int
	users    map[string]*User
	orgs     map[string]*Org
	packages map[string]*Package
	tokens   map[string]*Token
	bearers  map[string]*bearer
	clients  map[string]*client
	apps     []*App
	devices  []*device
	counts   Counts
	lost     int
	dotted   bool
}

// New serves an instance on c.
func New(c *fakecloud.Cloud, o Options) *GitHub {
	g := &GitHub{
		Cloud: c, options: o.withDefaults(), last: 1000, users: map[string]*User{}, orgs: map[string]*Org{},
		packages: map[string]*Package{}, tokens: map[string]*Token{}, bearers: map[string]*bearer{}, clients: map[string]*client{},
	}
	web, api := g.web(), g.api()
	if g.options.API == g.options.Host {
		web.Handle("/api/v3/", http.StripPrefix("/api/v3", api))
	} else {
		c.Handle(g.options.API, api)
	}
	registry := http.HandlerFunc(g.serveRegistry)
	if g.options.Registry == g.options.Host { // a GHES without subdomain isolation
		web.Handle("/v2/", registry)
		web.Handle("/token", registry)
	}
	c.Handle(g.options.Host, web)
	c.Handle(g.options.Registry, registry)
	return g
}

// Host is the name of the instance.
func (g *GitHub) Host() string { return g.now().Host }

// Registry is the name of its container registry.
func (g *GitHub) Registry() string { return g.now().Registry }

// Set changes the lifetimes and knobs from now on. Names stay.
func (g *GitHub) Set(change func(*Options)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	o := g.options
	change(&o)
	o.Host, o.Registry, o.API = g.options.Host, g.options.Registry, g.options.API
	g.options = o.withDefaults()
}

func (g *GitHub) now() Options {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.options
}

// Counts is how often something was done.
type Counts struct {
	Refreshes     int // pairs that were replaced
	ReusedRefresh int // refresh tokens that were used again
	Logins        int // device codes that became tokens
	SlowDowns     int // polls that came too early
	Installation  int // installation tokens made
	Revoked       int // installation tokens deleted
}

// Counts tells them.
func (g *GitHub) Counts() Counts {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.counts
}

// LoseRefreshes cuts the connection instead of answering the next n refreshes,
// after the pair was replaced.
func (g *GitHub) LoseRefreshes(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lost = n
}

// id makes the next number. Callers hold mu.
func (g *GitHub) id() int {
	g.last++
	return g.last
}

// random makes n characters of letters and digits.
func random(n int) string {
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(rand.Text())
	}
	return b.String()[:n]
}

// installationText is a token of an App: the short form, or the dotted one.
func (g *GitHub) installationText(app int, form string) string {
	dotted := g.dotted
	g.dotted = !g.dotted
	switch form {
	case "enabled":
		dotted = true
	case "disabled":
		dotted = false
	}
	if !dotted {
		return "ghs_" + random(36)
	}
	part := func(n int) string { return base64.RawURLEncoding.EncodeToString([]byte(random(n))) }
	s := fmt.Sprintf("ghs_%d_%s.%s.%s", app, part(27), part(150), part(192))
	return s + random(max(0, 520-len(s)))
}
