// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"path"
	"strings"
)

// Connection is an OIDC connection of an organisation: who may be it, and what
// it may do.
type Connection struct {
	ID      string // a UUID, made by Connect
	Subject string // of the identity token; * stands for anything
	Scope   Scope

	org      *Org
	inactive bool
}

// Connect makes a connection.
func (o *Org) Connect(c Connection) *Connection {
	o.hub.mu.Lock()
	defer o.hub.mu.Unlock()
	c.ID, c.org = guid(), o
	o.hub.connects[c.ID] = &c
	return &c
}

// Deactivate switches the connection off.
func (c *Connection) Deactivate() {
	c.org.hub.mu.Lock()
	defer c.org.hub.mu.Unlock()
	c.inactive = true
}

func (c *Connection) admits(subject string) bool {
	// path.Match's * stops at slashes, Docker Hub's does not.
	ok, err := path.Match(strings.ReplaceAll(c.Subject, "/", "\x00"), strings.ReplaceAll(subject, "/", "\x00"))
	return err == nil && ok
}

// identity is who a secret or token proves.
type identity struct {
	name  string
	user  *User
	org   *Org
	scope Scope  // "" = all that user or org may
	kind  string // password, pat, oat, oidc, web
}

// role is what an identity may do in a repository. Callers hold mu.
func (h *Hub) role(id identity, repo string) Role {
	namespace, _, _ := strings.Cut(repo, "/")
	var r Role
	switch {
	case id.org != nil:
		if id.org.Name == namespace {
			r = Admin
		}
	case id.user != nil && id.user.Name == namespace:
		r = Admin
	case id.user != nil:
		if o := h.orgs[namespace]; o != nil {
			r = o.members[id.user]
		}
	}
	if id.scope != "" {
		r = min(r, id.scope.role())
	}
	if known := h.repos[repo]; r == 0 && known != nil && known.visibility == Public {
		r = Reader
	}
	return r
}

// password checks a user name and a secret. passwords says whether a person's
// password is taken without a second factor. Callers hold mu.
func (h *Hub) password(name, secret string) (identity, string) {
	if t := h.living(secret); t != nil {
		switch {
		case t.user != nil && t.user.Name == name:
			return identity{name: name, user: t.user, scope: t.Scope, kind: "pat"}, ""
		case t.org != nil && t.org.Name == name:
			return identity{name: name, org: t.org, scope: t.Scope, kind: "oat"}, ""
		}
		return identity{}, "wrong"
	}
	if claims, ok := h.verify(secret, "https://"+IdentityHost, "docker"); ok {
		con := h.connects[text(claims["connection_id"])]
		if con == nil || con.inactive || con.org.Name != name {
			return identity{}, "wrong"
		}
		return identity{name: name, org: con.org, scope: con.Scope, kind: "oidc"}, ""
	}
	u := h.users[name]
	if u == nil || secret == "" || u.password != secret {
		return identity{}, "wrong"
	}
	for _, o := range h.orgs {
		if _, member := o.members[u]; member && o.sso {
			return identity{}, "sso"
		}
	}
	if u.code != "" {
		return identity{name: name, user: u, kind: "password"}, "2fa"
	}
	return identity{name: name, user: u, kind: "password"}, ""
}

func text(v any) string { s, _ := v.(string); return s }
