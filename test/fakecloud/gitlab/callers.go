// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"slices"
	"time"
)

// caller is who a credential is, and what it opens at the registry.
type caller struct {
	kind   string // auth_type
	user   *User
	job    *Job
	deploy *DeployToken
	token  *Token
	raw    string // the access token
	can    []string
}

// Abilities, as the product calls them.
const (
	canRead         = "read_container_image"
	canCreate       = "create_container_image"
	canAdmin        = "admin_container_image"
	canBuildRead    = "build_read_container_image"
	canBuildCreate  = "build_create_container_image"
	canBuildDestroy = "build_destroy_container_image"
	canProxyRead    = "read_dependency_proxy"
	canProxyWrite   = "write_dependency_proxy"
)

// Kinds of callers.
const (
	byToken    = "personal_access_token"
	byJob      = "build"
	byDeploy   = "deploy_token"
	byOAuth    = "oauth"
	byPassword = "gitlab_or_ldap"
	byNobody   = "none"
)

var (
	fullAbilities  = []string{canRead, canCreate, canAdmin}
	scopeAbilities = map[string][]string{
		API: fullAbilities, ReadAPI: {canRead}, ReadRegistry: {canRead}, WriteRegistry: {canCreate},
		ReadVirtualRegistry: {canProxyRead}, WriteVirtualRegistry: {canProxyWrite},
	}
	knownScopes = []string{
		API, ReadAPI, ReadUser, ReadRegistry, WriteRegistry, ReadVirtualRegistry, WriteVirtualRegistry, ReadRepository, WriteRepository,
		SelfRotate, "create_runner", "manage_runner", "ai_features", "k8s_proxy", "read_observability", "write_observability",
	}
)

func abilities(scopes []string) []string {
	var out []string
	for _, s := range scopes {
		out = append(out, scopeAbilities[s]...)
	}
	return out
}

// basic is who a user name and a password are; nil: nobody. Callers hold mu.
// The order is the product's: access tokens do not look at the user name, but
// there is to be one.
func (g *GitLab) basic(login, pass string) *caller {
	if login == "" || pass == "" {
		return nil
	}
	if j := g.job(pass); j != nil && login == JobUser {
		return &caller{kind: byJob, user: j.User, job: j, can: []string{canBuildRead, canBuildCreate, canBuildDestroy}}
	}
	if gr := g.grantOf(pass); gr != nil && gr.valid(g) {
		return &caller{kind: byOAuth, user: gr.user, can: abilities(gr.scopes)}
	}
	if t := g.token(pass); t != nil && t.active() && !t.User.blocked {
		t.used = g.Cloud.Now()
		return &caller{kind: byToken, user: t.User, token: t, raw: pass, can: abilities(t.Scopes)}
	}
	for _, d := range g.deploys {
		if d.Secret == pass && d.Username == login && d.active() {
			return &caller{kind: byDeploy, deploy: d, can: abilities(d.Scopes)}
		}
	}
	if u := g.users[login]; u != nil && u.password == pass && !u.blocked && !u.twoFactor {
		return &caller{kind: byPassword, user: u, can: fullAbilities}
	}
	return nil
}

func (c *caller) has(ability string) bool { return slices.Contains(c.can, ability) }

// sees tells whether u may look at p at all. Callers hold mu.
func (g *GitLab) sees(u *User, p *Project) bool {
	return p.visibility == Public || u != nil && (p.visibility == Internal && !u.Bot || u.admin || g.level(u, p) > 0)
}

// may tells whether u may do something with the images of p. Callers hold mu.
func (g *GitLab) may(u *User, p *Project, ability string) bool {
	if p.noRegistry {
		return false
	}
	if u != nil && u.admin {
		return true
	}
	switch ability {
	case canRead:
		return p.visibility != Private && g.sees(u, p) || g.level(u, p) >= Reporter
	case canCreate:
		return g.level(u, p) >= Developer
	case canAdmin:
		return g.level(u, p) >= Maintainer
	}
	return false
}

// allowed tells whether c may do an action of a scope with p. Callers hold mu.
func (g *GitLab) allowed(c *caller, p *Project, action string) bool {
	if p.noRegistry {
		return false
	}
	own := c.job != nil && c.job.Project == p
	switch action {
	case "pull":
		return c.has(canBuildRead) && (own || g.jobReads(c, p)) || c.has(canRead) && (g.may(c.user, p, canRead) || c.deploy.covers(p))
	case "push":
		return c.has(canBuildCreate) && own || c.has(canCreate) && (g.may(c.user, p, canCreate) || c.deploy.covers(p))
	case "delete":
		return c.has(canBuildDestroy) && own || c.has(canAdmin) && g.may(c.user, p, canAdmin)
	case "*":
		return c.has(canAdmin) && g.may(c.user, p, canAdmin)
	}
	return false
}

// jobReads: another project's images are for jobs whose project is on its
// list and whose user is a member there.
func (g *GitLab) jobReads(c *caller, p *Project) bool {
	return p.visibility == Public || p.allowed[c.job.Project] && g.may(c.user, p, canRead)
}

func (d *DeployToken) covers(p *Project) bool {
	switch {
	case d == nil:
		return false
	case d.project != nil:
		return d.project == p
	}
	return within(p.Path, d.group.Path)
}

func (gr *grant) valid(g *GitLab) bool {
	return !gr.revoked && !gr.over(g) && !gr.user.blocked
}

// over tells whether the access token has ended.
func (gr *grant) over(g *GitLab) bool {
	return !g.Cloud.Now().Before(gr.expires.Add(g.options.Grace))
}

// grantOf finds the pair with an access token, valid or not. Callers hold mu.
func (g *GitLab) grantOf(access string) *grant {
	for _, gr := range g.grants {
		if gr.access == access {
			return gr
		}
	}
	return nil
}

const banTime, banWindow = time.Hour, 3 * time.Minute

// banned tells whether clients are kept out. Callers hold mu.
func (g *GitLab) banned(login string) bool {
	return login != JobUser && g.Cloud.Now().Before(g.bannedUntil)
}

// tried counts failures and forgets them after a success. Callers hold mu.
func (g *GitLab) tried(login string, ok bool) {
	if g.options.BanAfter <= 0 || login == JobUser {
		return
	}
	if ok {
		g.failures = nil
		return
	}
	now := g.Cloud.Now()
	g.failures = append(slices.DeleteFunc(g.failures, func(t time.Time) bool { return now.Sub(t) > banWindow }), now)
	if len(g.failures) >= g.options.BanAfter {
		g.bannedUntil, g.failures = now.Add(banTime), nil
	}
}
