// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

const cleanedOnce = "This request has already been made. You can run this at most once an hour for a given container repository"

// projectFor finds a project whose images the caller may do something with.
// Callers hold mu.
func (g *GitLab) projectFor(c *call, id string, least Level) (*Project, *refusal) {
	p := g.findProject(c, id)
	switch {
	case p == nil:
		return nil, errNoProject
	case c.job != nil && c.job.Project != p:
		return nil, says(403, "Forbidden - This project's CI/CD job token cannot be used to authenticate with the container registry of a different project.")
	case !g.may(c.user, p, canRead), least > Reporter && g.level(c.user, p) < least && !c.admin:
		return nil, errForbidden
	}
	return p, nil
}

// repositoryFor finds a repository of such a project by its number. Callers hold mu.
func (g *GitLab) repositoryFor(c *call, args []string, least Level) (*Project, *repository, *refusal) {
	p, f := g.projectFor(c, args[0], least)
	if f != nil {
		return nil, nil, f
	}
	for _, x := range p.repos {
		if strconv.Itoa(x.id) == args[1] {
			return p, x, nil
		}
	}
	return nil, nil, errNotFound
}

func (g *GitLab) showTags(x *repository) []map[string]any {
	out := []map[string]any{}
	for _, name := range sortedKeys(x.tags) {
		out = append(out, map[string]any{"name": name, "path": x.path + ":" + name, "location": g.options.Registry + "/" + x.path + ":" + name})
	}
	return out
}

func (g *GitLab) listRepositories(c *call, args []string) *refusal {
	g.mu.Lock()
	p, f := g.projectFor(c, args[0], Reporter)
	if f != nil {
		g.mu.Unlock()
		return f
	}
	out := []map[string]any{}
	for _, x := range p.repos {
		name := ""
		if len(x.path) > len(p.Path) {
			name = x.path[len(p.Path)+1:]
		}
		m := map[string]any{
			"id": x.id, "name": name, "path": x.path, "project_id": p.ID, "location": g.options.Registry + "/" + x.path,
			"created_at": stamp(x.created), "status": nil, "cleanup_policy_started_at": stamp(x.cleaned),
		}
		if c.form.Get("tags") == "true" {
			m["tags"] = g.showTags(x)
		}
		if c.form.Get("tags_count") == "true" {
			m["tags_count"] = len(x.tags)
		}
		out = append(out, m)
	}
	g.mu.Unlock()
	page(c, out)
	return nil
}

func (g *GitLab) deleteRepository(c *call, args []string) *refusal {
	g.mu.Lock()
	p, x, f := g.repositoryFor(c, args, Maintainer)
	var names []string
	if f == nil {
		names = sortedKeys(x.tags)
	}
	g.mu.Unlock()
	if f != nil {
		return f
	}
	for _, name := range names {
		g.deleteTag(x.path, name, c.user.Username)
	}
	g.mu.Lock()
	for i, y := range p.repos {
		if y == x {
			p.repos = append(p.repos[:i:i], p.repos[i+1:]...)
			break
		}
	}
	g.mu.Unlock()
	fakecloud.WriteJSON(c.w, http.StatusAccepted, http.StatusAccepted)
	return nil
}

func (g *GitLab) listTags(c *call, args []string) *refusal {
	g.mu.Lock()
	_, x, f := g.repositoryFor(c, args, Reporter)
	var out []map[string]any
	if f == nil {
		out = g.showTags(x)
	}
	g.mu.Unlock()
	if f != nil {
		return f
	}
	page(c, out)
	return nil
}

func (g *GitLab) showTag(c *call, args []string) *refusal {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, x, f := g.repositoryFor(c, args, Reporter)
	if f != nil {
		return f
	}
	t, ok := x.tags[args[2]]
	if !ok {
		return says(404, "Tag Not Found")
	}
	fakecloud.WriteJSON(c.w, http.StatusOK, map[string]any{
		"name": args[2], "path": x.path + ":" + args[2], "location": g.options.Registry + "/" + x.path + ":" + args[2],
		"digest": t.digest, "created_at": stamp(t.created), "total_size": t.size,
	})
	return nil
}

func (g *GitLab) removeTag(c *call, args []string) *refusal {
	g.mu.Lock()
	_, x, f := g.repositoryFor(c, args, Developer)
	g.mu.Unlock()
	if f != nil {
		return f
	}
	if !g.deleteTag(x.path, args[2], c.user.Username) {
		c.w.WriteHeader(http.StatusBadRequest)
		return nil
	}
	fakecloud.WriteJSON(c.w, http.StatusOK, http.StatusOK)
	return nil
}

// deleteTags is the clean-up in bulk, which never takes latest.
func (g *GitLab) deleteTags(c *call, args []string) *refusal {
	expr := c.form.Get("name_regex_delete")
	if expr == "" {
		expr = c.form.Get("name_regex")
	}
	if expr == "" {
		return invalid("name_regex, name_regex_delete are missing, at least one parameter must be provided")
	}
	away, err := regexp.Compile("^(?:" + expr + ")$")
	if err != nil {
		return invalid("name_regex_delete is an invalid regexp: " + err.Error())
	}
	keep, err := regexp.Compile("^(?:" + c.form.Get("name_regex_keep") + ")$")
	if err != nil {
		return invalid("name_regex_keep is an invalid regexp: " + err.Error())
	}
	g.mu.Lock()
	_, x, f := g.repositoryFor(c, args, Maintainer)
	if f == nil && !x.cleaned.IsZero() && g.Cloud.Now().Sub(x.cleaned) < time.Hour {
		f = &refusal{400, map[string]string{"message": cleanedOnce}}
	}
	var names []string
	if f == nil {
		x.cleaned = g.Cloud.Now()
		for _, name := range sortedKeys(x.tags) {
			if name != "latest" && away.MatchString(name) && !keep.MatchString(name) {
				names = append(names, name)
			}
		}
	}
	g.mu.Unlock()
	if f != nil {
		return f
	}
	for _, name := range names {
		g.deleteTag(x.path, name, c.user.Username)
	}
	fakecloud.WriteJSON(c.w, http.StatusAccepted, http.StatusAccepted)
	return nil
}
