// SPDX-License-Identifier: Apache-2.0

package github

import (
	"slices"
	"strings"
	"time"
)

// User is a person.
type User struct {
	ID    int
	Login string
	g     *GitHub
}

// User makes a person of this login, or finds them.
func (g *GitHub) User(login string) *User {
	g.mu.Lock()
	defer g.mu.Unlock()
	u := g.users[login]
	if u == nil {
		u = &User{ID: g.id(), Login: login, g: g}
		g.users[login] = u
	}
	return u
}

// Org owns packages; its members may do everything with them.
type Org struct {
	Login   string
	g       *GitHub
	members map[*User]bool
	sso     bool
}

// Org makes an organisation, or finds it.
func (g *GitHub) Org(login string) *Org {
	g.mu.Lock()
	defer g.mu.Unlock()
	o := g.orgs[login]
	if o == nil {
		o = &Org{Login: login, g: g, members: map[*User]bool{}}
		g.orgs[login] = o
	}
	return o
}

// Add makes u a member.
func (o *Org) Add(u *User) { o.g.change(func() { o.members[u] = true }) }

// RequireSSO makes tokens need an authorisation for the organisation.
func (o *Org) RequireSSO() { o.g.change(func() { o.sso = true }) }

func (g *GitHub) change(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

// kind is what a token is.
type kind int

const (
	classic kind = iota
	fineGrained
	oauthToken   // gho_
	userToken    // ghu_
	installation // ghs_ of an App
	actions      // ghs_ of a job
)

// Token is a secret of any kind.
type Token struct {
	Secret string

	g       *GitHub
	kind    kind
	user    *User
	scopes  []string
	expires time.Time
	revoked bool
	sso     map[string]bool
	client  *client
	in      *Installation
	level   Level
	repos   []string // of an installation token, "" none: all; of a job, its own OWNER/REPO
}

func (g *GitHub) keep(t *Token) *Token {
	t.g = g
	t.sso = map[string]bool{}
	g.tokens[t.Secret] = t
	return t
}

// Classic makes a classic personal access token.
func (u *User) Classic(scopes ...string) *Token {
	u.g.mu.Lock()
	defer u.g.mu.Unlock()
	return u.g.keep(&Token{Secret: "ghp_" + random(36), kind: classic, user: u, scopes: scopes})
}

// FineGrained makes a fine-grained personal access token.
func (u *User) FineGrained() *Token {
	u.g.mu.Lock()
	defer u.g.mu.Unlock()
	return u.g.keep(&Token{Secret: "github_pat_" + random(22) + "_" + random(59), kind: fineGrained, user: u})
}

// OAuth makes a token of an OAuth app, as gh has it.
func (u *User) OAuth(scopes ...string) *Token {
	u.g.mu.Lock()
	defer u.g.mu.Unlock()
	return u.g.keep(&Token{Secret: "gho_" + random(36), kind: oauthToken, user: u, scopes: scopes})
}

// Expire makes the token end at a time.
func (t *Token) Expire(at time.Time) *Token {
	t.g.change(func() { t.expires = at })
	return t
}

// Revoke ends it.
func (t *Token) Revoke() { t.g.change(func() { t.revoked = true }) }

// AuthorizeSSO lets it into an organisation that wants that.
func (t *Token) AuthorizeSSO(org string) { t.g.change(func() { t.sso[org] = true }) }

// live reports a token that is good. Callers hold mu.
func (t *Token) live() bool {
	return t != nil && !t.revoked && (t.expires.IsZero() || t.expires.After(t.g.Cloud.Now()))
}

// has reports a scope; write:packages includes read:packages.
func (t *Token) has(scope string) bool {
	return slices.Contains(t.scopes, scope) || scope == ReadPackages && slices.Contains(t.scopes, WritePackages)
}

// who is a name for what a token did.
func (t *Token) who() string {
	switch {
	case t == nil:
		return "anonymous"
	case t.kind == installation:
		return "app " + t.in.app.Slug
	case t.kind == actions:
		return "actions " + t.repos[0]
	}
	return t.user.Login
}

// Job is a job of GitHub Actions.
type Job struct {
	Token      *Token
	Repository string
	Actor      string
	g          *GitHub
}

// Job starts a job of a repository (OWNER/REPO) with `permissions: packages`.
func (g *GitHub) Job(repository string, actor *User, packages Level) *Job {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.keep(&Token{Secret: g.installationText(15368, ""), kind: actions, level: packages, repos: []string{repository}, expires: g.Cloud.Now().Add(24 * time.Hour)})
	return &Job{Token: t, Repository: repository, Actor: actor.Login, g: g}
}

// Env is the job's environment, with GITHUB_TOKEN passed on by its author.
func (j *Job) Env() []string {
	return []string{"GITHUB_ACTIONS=true", "GITHUB_TOKEN=" + j.Token.Secret, "GITHUB_ACTOR=" + j.Actor, "GITHUB_REPOSITORY=" + j.Repository, "GITHUB_SERVER_URL=https://" + j.g.Host()}
}

// End ends the job and its token.
func (j *Job) End() { j.Token.Revoke() }

// Package is a container package, OWNER/NAME with NAME of any depth.
type Package struct {
	Name     string
	g        *GitHub
	public   bool
	linked   map[string]Level // repositories under "Manage Actions access"
	versions []*version
}

type version struct {
	id     int
	digest string
	tags   []string
}

// Package makes a private package, or finds it.
func (g *GitHub) Package(name string) *Package {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pkg(name)
}

func (g *GitHub) pkg(name string) *Package {
	p := g.packages[name]
	if p == nil {
		p = &Package{Name: name, g: g, linked: map[string]Level{}}
		g.packages[name] = p
	}
	return p
}

// Public changes its visibility.
func (p *Package) Public(on bool) { p.g.change(func() { p.public = on }) }

// Link gives the jobs of a repository access.
func (p *Package) Link(repository string, l Level) { p.g.change(func() { p.linked[repository] = l }) }

// owner is the first part of a package's name.
func owner(name string) string {
	o, _, _ := strings.Cut(name, "/")
	return o
}
