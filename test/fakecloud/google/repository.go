// SPDX-License-Identifier: Apache-2.0

package google

import (
	"fmt"
	"regexp"
	"strings"
)

// Repository is a repository of images, and who may do what in it.
type Repository struct {
	// Resource is its name in IAM: projects/P/locations/L/repositories/R.
	Resource string
	g        *Google
	may      map[string]map[string]bool // by permission
}

// Permissions of a repository.
const (
	permissionPull   = "artifactregistry.repositories.downloadArtifacts"
	permissionPush   = "artifactregistry.repositories.uploadArtifacts"
	permissionDelete = "artifactregistry.repositories.deleteArtifacts"
)

// Repository makes a repository, named as in an image reference:
// "LOCATION-docker.pkg.dev/PROJECT/REPOSITORY" or "gcr.io/PROJECT". The same
// resource gives the same one. Nobody may do anything in it yet.
func (g *Google) Repository(name string) *Repository {
	host, path, _ := strings.Cut(name, "/")
	s, ok := siteOf(host)
	resource := ""
	if ok {
		resource, _ = s.resource(path + "/image")
	}
	if resource == "" {
		panic("google: not the name of a repository: " + name)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.repos[resource]
	if r == nil {
		r = &Repository{Resource: resource, g: g, may: map[string]map[string]bool{}}
		g.repos[resource] = r
	}
	return r
}

// Readers gives roles/artifactregistry.reader; "allUsers" makes it public.
func (r *Repository) Readers(members ...string) *Repository {
	return r.allow(members, permissionPull)
}

// Writers gives roles/artifactregistry.writer, which cannot delete.
func (r *Repository) Writers(members ...string) *Repository {
	return r.allow(members, permissionPull, permissionPush)
}

// Admins gives roles/artifactregistry.repoAdmin.
func (r *Repository) Admins(members ...string) *Repository {
	return r.allow(members, permissionPull, permissionPush, permissionDelete)
}

// Nobody takes every role away.
func (r *Repository) Nobody() *Repository {
	r.g.mu.Lock()
	defer r.g.mu.Unlock()
	clear(r.may)
	return r
}

func (r *Repository) allow(members []string, permissions ...string) *Repository {
	r.g.mu.Lock()
	defer r.g.mu.Unlock()
	for _, p := range permissions {
		if r.may[p] == nil {
			r.may[p] = map[string]bool{}
		}
		for _, m := range members {
			r.may[p][m] = true
		}
	}
	return r
}

// site is what a registry's host stands for.
type site struct {
	name     string // under which its images are kept
	location string
	gcr      bool
}

var (
	hostAR  = regexp.MustCompile(`^([a-z]+(?:-[a-z]+[0-9]+)?)-docker\.pkg\.dev$`)
	hostREP = regexp.MustCompile(`^docker\.([a-z]+-[a-z]+[0-9]+)\.rep\.pkg\.dev$`)
	hostGCR = map[string]string{"gcr.io": "us", "us.gcr.io": "us", "eu.gcr.io": "europe", "asia.gcr.io": "asia", "marketplace.gcr.io": "us"}
)

func siteOf(host string) (site, bool) {
	if l := hostGCR[host]; l != "" {
		return site{name: host, location: l, gcr: true}, true
	}
	for _, re := range []*regexp.Regexp{hostAR, hostREP} {
		if m := re.FindStringSubmatch(host); m != nil {
			return site{name: m[1] + "-docker.pkg.dev", location: m[1]}, true
		}
	}
	return site{}, false
}

// resource is the repository of an image's path; "" and the number of parts
// where the path is too short. A first part with a dot is the domain of a
// domain-scoped project.
func (s site) resource(image string) (string, int) {
	parts := strings.Split(image, "/")
	n := len(parts)
	if strings.Contains(parts[0], ".") && n > 1 {
		parts = append([]string{parts[0] + ":" + parts[1]}, parts[2:]...)
	}
	repo := s.name
	if !s.gcr {
		if len(parts) < 3 {
			return "", n
		}
		repo = parts[1]
	} else if len(parts) < 2 {
		return "", n
	}
	return "projects/" + parts[0] + "/locations/" + s.location + "/repositories/" + repo, n
}

func permissionOf(action string) string {
	switch action {
	case "push":
		return permissionPush
	case "delete", "*":
		return permissionDelete
	}
	return permissionPull
}

// denied says why a token may not do something; "" = it may.
func (g *Google) denied(t *token, resource, permission string) string {
	g.mu.Lock()
	r := g.repos[resource]
	allowed := r != nil && t.in(r.may[permission])
	g.mu.Unlock()
	where := fmt.Sprintf(`%q on resource %q (or it may not exist)`, permission, resource)
	switch {
	case !allowed && t.who == "":
		return "Unauthenticated request. Unauthenticated requests do not have permission " + where
	case !allowed:
		return fmt.Sprintf(`Permission %q denied on resource %q (or it may not exist)`, permission, resource)
	case t.who == "":
		return ""
	case t.has(ScopeCloudPlatform, scopeStorageFull), permission == permissionPull && t.has(ScopeReadOnly, scopeStorageRO, scopeStorageRW),
		permission == permissionPush && t.has(scopeStorageRW):
		return ""
	}
	return "Request had insufficient authentication scopes."
}
