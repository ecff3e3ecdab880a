// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"crypto/rand"
	"time"
)

// Role is what a member may do in an organisation's repositories.
type Role int

// The roles; each may what those below it may.
const (
	Reader Role = iota + 1 // pulls
	Writer                 // pushes
	Admin                  // deletes
)

// Scope is the scope of a token; each includes those below it.
type Scope string

// The scopes of access tokens.
const (
	RepoAdmin      Scope = "repo:admin"
	RepoWrite      Scope = "repo:write"
	RepoRead       Scope = "repo:read"
	RepoPublicRead Scope = "repo:public_read"
)

// role is the most that a scope allows in private repositories.
func (s Scope) role() Role {
	switch s {
	case RepoAdmin:
		return Admin
	case RepoWrite:
		return Writer
	case RepoRead:
		return Reader
	}
	return 0
}

// Visibility is who may pull from a repository.
type Visibility bool

// The visibilities.
const (
	Public  Visibility = false
	Private Visibility = true
)

// Repository is one of Docker Hub's.
type Repository struct {
	Name       string // acme/app
	visibility Visibility
}

// Repository makes a repository, or changes its visibility.
func (h *Hub) Repository(name string, v Visibility) *Repository {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := &Repository{Name: name, visibility: v}
	h.repos[name] = r
	return r
}

// User is a person or a robot with an account.
type User struct {
	Name string
	UUID string

	hub      *Hub
	password string
	code     string // of 2FA; "" = off
	session  int    // how many OAuth access tokens were made
	ended    int    // those of them that have ended before their time
}

// User makes an account.
func (h *Hub) User(name, password string) *User {
	h.mu.Lock()
	defer h.mu.Unlock()
	u := &User{Name: name, UUID: guid(), hub: h, password: password}
	h.users[name] = u
	return u
}

// SetPassword changes the password.
func (u *User) SetPassword(password string) {
	u.hub.mu.Lock()
	defer u.hub.mu.Unlock()
	u.password = password
}

// TwoFactor switches two-factor authentication on: code is what the
// authenticator shows.
func (u *User) TwoFactor(code string) {
	u.hub.mu.Lock()
	defer u.hub.mu.Unlock()
	u.code = code
}

// SignOut ends the person's OAuth sessions.
func (u *User) SignOut() {
	u.hub.mu.Lock()
	defer u.hub.mu.Unlock()
	for _, g := range u.hub.grants {
		if g.user == u {
			g.revoked = true
		}
	}
}

// EndAccess ends the person's OAuth access tokens before their time; refresh
// tokens go on.
func (u *User) EndAccess() {
	u.hub.mu.Lock()
	defer u.hub.mu.Unlock()
	u.ended = u.session
}

// Sessions counts the person's OAuth logins that can be refreshed.
func (u *User) Sessions() int {
	u.hub.mu.Lock()
	defer u.hub.mu.Unlock()
	n := 0
	for _, g := range u.hub.grants {
		if g.user == u && !g.used && !g.revoked && !g.family.dead {
			n++
		}
	}
	return n
}

// Org is an organisation.
type Org struct {
	Name string

	hub     *Hub
	members map[*User]Role
	sso     bool
}

// Org makes an organisation.
func (h *Hub) Org(name string) *Org {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := &Org{Name: name, hub: h, members: map[*User]Role{}}
	h.orgs[name] = o
	return o
}

// Add makes a user a member.
func (o *Org) Add(u *User, r Role) {
	o.hub.mu.Lock()
	defer o.hub.mu.Unlock()
	o.members[u] = r
}

// EnforceSSO refuses members' passwords everywhere.
func (o *Org) EnforceSSO() {
	o.hub.mu.Lock()
	defer o.hub.mu.Unlock()
	o.sso = true
}

// Token is a personal or an organisation access token.
type Token struct {
	Secret  string
	UUID    string
	Label   string
	Scope   Scope
	Expires time.Time // zero: never

	hub       *Hub
	user      *User // of a PAT
	org       *Org  // of an OAT
	generated bool
	made      time.Time
	revoked   bool
}

// PAT makes a personal access token.
func (u *User) PAT(s Scope) *Token {
	u.hub.mu.Lock()
	defer u.hub.mu.Unlock()
	return u.hub.token("dckr_pat_", &Token{Label: "test", Scope: s, user: u})
}

// OAT makes an organisation access token for all of its repositories.
func (o *Org) OAT(s Scope) *Token {
	o.hub.mu.Lock()
	defer o.hub.mu.Unlock()
	return o.hub.token("dckr_oat_", &Token{Label: "test", Scope: s, org: o})
}

// Revoke ends the token.
func (t *Token) Revoke() {
	t.hub.mu.Lock()
	defer t.hub.mu.Unlock()
	t.revoked = true
}

// Expire ends the token at a time.
func (t *Token) Expire(at time.Time) {
	t.hub.mu.Lock()
	defer t.hub.mu.Unlock()
	t.Expires = at
}

// Generated lists a user's living tokens that desktop-generate made, the
// oldest first.
func (u *User) Generated() []*Token {
	u.hub.mu.Lock()
	defer u.hub.mu.Unlock()
	return u.generated()
}

func (u *User) generated() []*Token {
	var out []*Token
	for _, t := range u.hub.tokens {
		if t.generated && t.user == u && !t.revoked {
			at := len(out)
			for at > 0 && out[at-1].made.After(t.made) {
				at--
			}
			out = append(out[:at], append([]*Token{t}, out[at:]...)...)
		}
	}
	return out
}

// token registers t. Callers hold mu.
func (h *Hub) token(prefix string, t *Token) *Token {
	t.Secret, t.UUID, t.hub, t.made = prefix+rand.Text(), guid(), h, h.Cloud.Now()
	h.tokens[t.Secret] = t
	return t
}

// living finds an access token. Callers hold mu.
func (h *Hub) living(secret string) *Token {
	t := h.tokens[secret]
	if t == nil || t.revoked || !t.Expires.IsZero() && !h.Cloud.Now().Before(t.Expires) {
		return nil
	}
	return t
}
