// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/regmint/regmint/test/fakecloud"
)

// resource is a project or a group that tokens belong to.
type resource struct {
	kind    Kind
	project *Project
	group   *Group
	level   Level // of the caller
}

func (x resource) has(t *Token) bool {
	return x.project != nil && t.project == x.project || x.group != nil && t.group == x.group
}

// manages tells whether the caller may see and end the tokens of x.
func (x resource) manages(c *call) bool {
	least := Maintainer
	if x.group != nil {
		least = Owner
	}
	return c.admin || x.level >= least
}

// resource finds what a path names. Callers do not hold mu.
func (g *GitLab) resource(c *call, source, id string) (resource, *refusal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if source == "groups" {
		gr := g.findGroup(c, id)
		if gr == nil {
			return resource{}, errNoGroup
		}
		return resource{kind: GroupToken, group: gr, level: g.groupLevel(c.user, gr.Path)}, nil
	}
	p := g.findProject(c, id)
	if p == nil {
		return resource{}, errNoProject
	}
	return resource{kind: ProjectToken, project: p, level: g.level(c.user, p)}, nil
}

// resourceToken finds a token of a resource by its number; nil: none.
func (g *GitLab) resourceToken(x resource, id string) *Token {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range g.tokens {
		if x.has(t) && strconv.Itoa(t.ID) == id {
			return t
		}
	}
	return nil
}

func noToken(x resource, id string) *refusal {
	return says(404, "Could not find "+string(x.kind)+" access token with token_id: "+id+" Not Found")
}

func (g *GitLab) listResource(c *call, args []string) *refusal {
	x, f := g.resource(c, args[0], args[1])
	switch {
	case f != nil:
		return f
	case !x.manages(c):
		return errUnauthorized
	}
	g.list(c, x.has)
	return nil
}

func (g *GitLab) showResource(c *call, args []string) *refusal {
	x, f := g.resource(c, args[0], args[1])
	switch {
	case f != nil:
		return f
	case !x.manages(c):
		return errUnauthorized
	}
	t := g.resourceToken(x, args[2])
	if t == nil {
		return noToken(x, args[2])
	}
	g.mu.Lock()
	m := t.show(false)
	g.mu.Unlock()
	fakecloud.WriteJSON(c.w, http.StatusOK, m)
	return nil
}

func (g *GitLab) createResource(c *call, args []string) *refusal {
	x, f := g.resource(c, args[0], args[1])
	if f != nil {
		return f
	}
	s := TokenSpec{Name: c.form.Get("name"), Scopes: c.form["scopes"], Level: Maintainer}
	switch {
	case s.Name == "":
		return invalid("name is missing")
	case len(s.Scopes) == 0:
		return invalid("scopes is missing")
	case slices.ContainsFunc(s.Scopes, func(s string) bool { return !slices.Contains(knownScopes, s) }):
		return invalid("scopes does not have a valid value")
	}
	if v := c.form.Get("access_level"); v != "" {
		n, err := strconv.Atoi(v)
		s.Level = Level(n)
		if err != nil || !slices.Contains([]Level{Guest, Planner, Reporter, Developer, Maintainer, Owner}, s.Level) {
			return invalid("access_level does not have a valid value")
		}
	}
	if v := c.form.Get("expires_at"); v != "" {
		g.mu.Lock()
		s.Expires, f = g.date(v)
		g.mu.Unlock()
		if f != nil {
			return f
		}
	}
	switch {
	case !x.manages(c) || c.user.Bot || g.lives().Free:
		return badRequest("User does not have permission to create " + string(x.kind) + " access token")
	case !c.admin && s.Level > x.level:
		return badRequest("Access level of the token can't be greater the access level of the user who created the token")
	}
	g.mu.Lock()
	t := g.makeToken(s, &Token{Kind: x.kind, project: x.project, group: x.group, text: c.form.Get("description")})
	g.counts.Created++
	m := t.show(true)
	g.mu.Unlock()
	g.answer(c.w, c.Request, CreateToken, http.StatusCreated, m)
	return nil
}

func (g *GitLab) deleteResource(c *call, args []string) *refusal {
	x, f := g.resource(c, args[0], args[1])
	if f != nil {
		return f
	}
	t := g.resourceToken(x, args[2])
	switch {
	case t == nil || !t.Active():
		return noToken(x, args[2])
	case !x.manages(c):
		return badRequest(c.user.Username + " cannot delete " + t.User.Username)
	}
	return g.end(c, t)
}

// rotateOwn is a project or group token rotating itself.
func (g *GitLab) rotateOwn(c *call, args []string) *refusal {
	if c.token == nil || c.token.Kind == PersonalToken {
		return errNotAllowed
	}
	x, f := g.resource(c, args[0], args[1])
	switch {
	case f != nil:
		return f
	case !x.has(c.token):
		return errUnauthorized
	}
	return g.rotated(c, c.token)
}

func (g *GitLab) rotateResource(c *call, args []string) *refusal {
	x, f := g.resource(c, args[0], args[1])
	if f != nil {
		return f
	}
	t := g.resourceToken(x, args[2])
	if t == nil || !x.manages(c) {
		if c.admin {
			return errNotFound
		}
		return errUnauthorized
	}
	return g.rotated(c, t)
}
