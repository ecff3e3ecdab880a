// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"net/http"
	"slices"
	"strconv"
	"time"
)

var deployScopes = []string{"read_repository", ReadRegistry, WriteRegistry, ReadVirtualRegistry, WriteVirtualRegistry, "read_package_registry", "write_package_registry"}

func (d *DeployToken) show(secret bool) map[string]any {
	m := map[string]any{
		"id": d.ID, "name": d.Name, "username": d.Username, "expires_at": stamp(d.expires), "revoked": d.revoked, "expired": d.expired(), "scopes": d.Scopes,
	}
	if secret {
		m["token"] = d.Secret
	}
	return m
}

func (x resource) hasDeploy(d *DeployToken) bool {
	return x.project != nil && d.project == x.project || x.group != nil && d.group == x.group
}

func (g *GitLab) listDeploy(c *call, args []string) *refusal {
	x, f := g.resource(c, args[0], args[1])
	switch {
	case f != nil:
		return f
	case !x.manages(c):
		return errForbidden
	}
	g.mu.Lock()
	out := []map[string]any{}
	for _, d := range g.deploys {
		if x.hasDeploy(d) && (c.form.Get("active") != "true" || d.active()) {
			out = append(out, d.show(false))
		}
	}
	g.mu.Unlock()
	page(c, out)
	return nil
}

func (g *GitLab) createDeploy(c *call, args []string) *refusal {
	x, f := g.resource(c, args[0], args[1])
	s := DeploySpec{Name: c.form.Get("name"), Username: c.form.Get("username"), Scopes: c.form["scopes"]}
	switch {
	case f != nil:
		return f
	case !x.manages(c):
		return errForbidden
	case s.Name == "":
		return invalid("name is missing")
	case len(s.Scopes) == 0:
		return invalid("scopes is missing")
	case slices.ContainsFunc(s.Scopes, func(s string) bool { return !slices.Contains(deployScopes, s) }):
		return invalid("scopes does not have a valid value")
	}
	if v := c.form.Get("expires_at"); v != "" {
		var err error
		if s.Expires, err = time.Parse(time.RFC3339, v); err != nil {
			if s.Expires, err = time.Parse(dateForm, v); err != nil {
				return invalid("expires_at is invalid")
			}
		}
	}
	g.mu.Lock()
	d := g.makeDeploy(s, &DeployToken{project: x.project, group: x.group})
	g.counts.Created++
	m := d.show(true)
	g.mu.Unlock()
	g.answer(c.w, c.Request, CreateToken, http.StatusCreated, m)
	return nil
}

func (g *GitLab) deleteDeploy(c *call, args []string) *refusal {
	x, f := g.resource(c, args[0], args[1])
	switch {
	case f != nil:
		return f
	case !x.manages(c):
		return errForbidden
	}
	g.mu.Lock()
	i := slices.IndexFunc(g.deploys, func(d *DeployToken) bool { return x.hasDeploy(d) && strconv.Itoa(d.ID) == args[2] && !d.revoked })
	if i >= 0 {
		g.deploys[i].revoked = true
		g.revoked = append(g.revoked, Revocation{ID: g.deploys[i].ID, Name: g.deploys[i].Name, Why: ByAPI, Time: g.Cloud.Now()})
	}
	g.mu.Unlock()
	if i < 0 {
		return errNotFound
	}
	g.answer(c.w, c.Request, RevokeToken, http.StatusNoContent, nil)
	return nil
}
