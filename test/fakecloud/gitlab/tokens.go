// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kind is whose a token is.
type Kind string

// The kinds of access tokens.
const (
	PersonalToken Kind = "personal"
	ProjectToken  Kind = "project"
	GroupToken    Kind = "group"
)

// TokenSpec is a token to make.
type TokenSpec struct {
	Name    string // "" = one of its own
	Scopes  []string
	Level   Level     // of the bot of project and group tokens; Maintainer
	Expires time.Time // the token ends at midnight UTC of that day; zero = in 365 days
	Never   bool      // no expiry
}

// Token is a personal, project or group access token.
type Token struct {
	ID     int
	Kind   Kind
	Name   string
	Secret string // the first one is there; Rotate makes other Tokens
	Scopes []string
	User   *User // the bot of project and group tokens

	g       *GitLab
	text    string // description
	project *Project
	group   *Group
	level   Level
	created time.Time
	expires time.Time // midnight UTC; zero = never
	used    time.Time
	revoked bool
	family  int // id of its first
}

// Token makes a personal access token.
func (u *User) Token(s TokenSpec) *Token {
	u.g.mu.Lock()
	defer u.g.mu.Unlock()
	return u.g.makeToken(s, &Token{Kind: PersonalToken, User: u})
}

// Token makes a project access token with a bot of its own.
func (p *Project) Token(s TokenSpec) *Token {
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	return p.g.makeToken(s, &Token{Kind: ProjectToken, project: p})
}

// Token makes a group access token with a bot of its own.
func (gr *Group) Token(s TokenSpec) *Token {
	gr.g.mu.Lock()
	defer gr.g.mu.Unlock()
	return gr.g.makeToken(s, &Token{Kind: GroupToken, group: gr})
}

// Token finds the access token that a secret is or was; nil: none.
func (g *GitLab) Token(secret string) *Token {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.token(secret)
}

// Tokens are all access tokens that work now, oldest first.
func (g *GitLab) Tokens() []*Token {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(g.tokens), func(t *Token) bool { return !t.active() })
}

// Active tells whether the token works.
func (t *Token) Active() bool {
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	return t.active()
}

// Expires is the midnight at which the token ends; zero = never.
func (t *Token) Expires() time.Time {
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	return t.expires
}

// Revoke ends the token.
func (t *Token) Revoke() {
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	t.g.revoke(t, ByTest)
}

func (t *Token) active() bool { return !t.revoked && !t.expired() }

func (t *Token) expired() bool { return !t.expires.IsZero() && !t.g.Cloud.Now().Before(t.expires) }

func (g *GitLab) token(secret string) *Token {
	for _, t := range g.tokens {
		if t.Secret == secret {
			return t
		}
	}
	return nil
}

// makeToken fills in t and keeps it. Callers hold mu.
func (g *GitLab) makeToken(s TokenSpec, t *Token) *Token {
	now := g.Cloud.Now()
	t.g, t.ID, t.Secret, t.created = g, g.id(), newSecret("glpat-"), now
	t.Name, t.Scopes, t.level, t.family = s.Name, slices.Clone(s.Scopes), s.Level, t.ID
	if t.Name == "" {
		t.Name = fmt.Sprintf("token-%d", t.ID)
	}
	if t.level == 0 {
		t.level = Maintainer
	}
	if s.Expires.IsZero() {
		s.Expires = now.AddDate(0, 0, 365)
	}
	if !s.Never {
		t.expires = midnight(s.Expires)
	}
	switch t.Kind {
	case ProjectToken:
		t.User = g.user(fmt.Sprintf("project_%d_bot_%s", t.project.ID, strings.ToLower(rand.Text()[:12])))
		t.project.members[t.User] = t.level
	case GroupToken:
		t.User = g.user(fmt.Sprintf("group_%d_bot_%s", t.group.ID, strings.ToLower(rand.Text()[:12])))
		t.group.members[t.User] = t.level
	}
	if t.Kind != PersonalToken {
		t.User.Bot = true
	}
	g.tokens = append(g.tokens, t)
	return t
}

func newSecret(prefix string) string { return prefix + rand.Text()[:20] }

func midnight(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// DeploySpec is a deploy token to make.
type DeploySpec struct {
	Name     string // gitlab-deploy-token is the one that jobs get
	Username string // "" = gitlab+deploy-token-N
	Scopes   []string
	Expires  time.Time // it ends at midnight UTC of that day; zero = never
}

// DeployToken is a deploy token of a project or of a group.
type DeployToken struct {
	ID       int
	Name     string
	Username string
	Secret   string
	Scopes   []string

	g       *GitLab
	project *Project
	group   *Group
	expires time.Time // as given
	revoked bool
}

// DeployToken makes a deploy token of the project.
func (p *Project) DeployToken(s DeploySpec) *DeployToken {
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	return p.g.makeDeploy(s, &DeployToken{project: p})
}

// DeployToken makes a deploy token of the group.
func (gr *Group) DeployToken(s DeploySpec) *DeployToken {
	gr.g.mu.Lock()
	defer gr.g.mu.Unlock()
	return gr.g.makeDeploy(s, &DeployToken{group: gr})
}

// Active tells whether the token works.
func (d *DeployToken) Active() bool {
	d.g.mu.Lock()
	defer d.g.mu.Unlock()
	return d.active()
}

// Revoke ends the token.
func (d *DeployToken) Revoke() {
	d.g.mu.Lock()
	defer d.g.mu.Unlock()
	d.revoked = true
}

func (d *DeployToken) active() bool { return !d.revoked && !d.expired() }

func (d *DeployToken) expired() bool {
	return !d.expires.IsZero() && !d.g.Cloud.Now().Before(midnight(d.expires))
}

func (g *GitLab) makeDeploy(s DeploySpec, d *DeployToken) *DeployToken {
	d.g, d.ID, d.Secret = g, g.id(), newSecret("gldt-")
	d.Name, d.Username, d.Scopes, d.expires = s.Name, s.Username, slices.Clone(s.Scopes), s.Expires
	if d.Name == "" {
		d.Name = fmt.Sprintf("deploy-%d", d.ID)
	}
	if d.Username == "" {
		d.Username = fmt.Sprintf("gitlab+deploy-token-%d", d.ID)
	}
	g.deploys = append(g.deploys, d)
	return d
}

// revoke ends t. Callers hold mu.
func (g *GitLab) revoke(t *Token, why Why) {
	if t.revoked {
		return
	}
	t.revoked = true
	g.revoked = append(g.revoked, Revocation{ID: t.ID, Name: t.Name, Why: why, Time: g.Cloud.Now()})
}
