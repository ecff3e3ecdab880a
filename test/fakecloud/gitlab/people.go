// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"path"
	"strings"
)

// User is a person, or the bot that comes with a project or group token.
type User struct {
	ID       int
	Username string
	Bot      bool

	g         *GitLab
	password  string
	twoFactor bool
	blocked   bool
	admin     bool
}

// User makes a user of this name, or finds it.
func (g *GitLab) User(username string) *User {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.user(username)
}

func (g *GitLab) user(username string) *User {
	u := g.users[username]
	if u == nil {
		u = &User{ID: g.id(), Username: username, g: g}
		g.users[username] = u
	}
	return u
}

// SetPassword lets the user log in with a password.
func (u *User) SetPassword(p string) { u.change(func() { u.password = p }) }

// TwoFactor makes the user's password useless to clients (on).
func (u *User) TwoFactor(on bool) { u.change(func() { u.twoFactor = on }) }

// Block blocks the user (on): nothing of theirs works.
func (u *User) Block(on bool) { u.change(func() { u.blocked = on }) }

// SetAdmin makes the user an administrator of the instance (on).
func (u *User) SetAdmin(on bool) { u.change(func() { u.admin = on }) }

func (u *User) change(f func()) {
	u.g.mu.Lock()
	defer u.g.mu.Unlock()
	f()
}

// Group holds groups and projects.
type Group struct {
	ID   int
	Path string

	g       *GitLab
	members map[*User]Level
}

// Group makes a group with those above it, or finds it.
func (g *GitLab) Group(fullPath string) *Group {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.group(fullPath)
}

func (g *GitLab) group(fullPath string) *Group {
	if gr := g.groups[fullPath]; gr != nil {
		return gr
	}
	if up := path.Dir(fullPath); up != "." {
		g.group(up)
	}
	gr := &Group{ID: g.id(), Path: fullPath, g: g, members: map[*User]Level{}}
	g.groups[fullPath] = gr
	return gr
}

// Add gives u a role in the group and everything below it.
func (gr *Group) Add(u *User, l Level) {
	gr.g.mu.Lock()
	defer gr.g.mu.Unlock()
	gr.members[u] = l
}

// Project has a container registry: its images are at its path and below it.
type Project struct {
	ID   int
	Path string

	g          *GitLab
	members    map[*User]Level
	visibility Visibility
	noRegistry bool
	allowed    map[*Project]bool // whose jobs may pull
	protected  []protection
	repos      []*repository
}

type protection struct {
	pattern string
	least   Level
}

// Project makes a private project with the groups above it, or finds it.
func (g *GitLab) Project(fullPath string) *Project {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.projects[fullPath]; p != nil {
		return p
	}
	g.group(path.Dir(fullPath))
	p := &Project{ID: g.id(), Path: fullPath, g: g, members: map[*User]Level{}, visibility: Private, allowed: map[*Project]bool{}}
	g.projects[fullPath] = p
	return p
}

// Add gives u a role in the project.
func (p *Project) Add(u *User, l Level) { p.change(func() { p.members[u] = l }) }

// Remove takes it.
func (p *Project) Remove(u *User) { p.change(func() { delete(p.members, u) }) }

// SetVisibility changes who sees the project, and so who pulls from it.
func (p *Project) SetVisibility(v Visibility) { p.change(func() { p.visibility = v }) }

// DisableRegistry turns the project's container registry off.
func (p *Project) DisableRegistry() { p.change(func() { p.noRegistry = true }) }

// AllowJobsOf puts another project on the job token allow-list of this one.
func (p *Project) AllowJobsOf(other *Project) { p.change(func() { p.allowed[other] = true }) }

// ProtectPush lets only those with a role push to the repositories that the
// pattern fits: acme/app/prod*.
func (p *Project) ProtectPush(pattern string, least Level) {
	p.change(func() { p.protected = append(p.protected, protection{pattern, least}) })
}

func (p *Project) change(f func()) {
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	f()
}

// level is the role of u in p. Callers hold mu.
func (g *GitLab) level(u *User, p *Project) Level {
	if u == nil {
		return 0
	}
	return max(p.members[u], g.groupLevel(u, path.Dir(p.Path)))
}

// groupLevel is the role of u in the group, its own or from above.
func (g *GitLab) groupLevel(u *User, fullPath string) Level {
	var l Level
	for at := fullPath; at != "." && at != "/"; at = path.Dir(at) {
		if gr := g.groups[at]; gr != nil {
			l = max(l, gr.members[u])
		}
	}
	return l
}

// projectOf is the project that an image is in: the longest path.
func (g *GitLab) projectOf(image string) *Project {
	for at := strings.ToLower(image); at != "." && at != "/"; at = path.Dir(at) {
		for name, p := range g.projects {
			if strings.ToLower(name) == at {
				return p
			}
		}
	}
	return nil
}

// within tells whether a path is at or below another.
func within(fullPath, above string) bool {
	return fullPath == above || strings.HasPrefix(fullPath, above+"/")
}
