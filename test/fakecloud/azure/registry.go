// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Role is a role on a registry.
type Role string

// The roles; none contains another. A repository-scoped assignment stands for
// a repository role with a condition: it does not open the catalog.
const (
	AcrPull       Role = "AcrPull"
	AcrPush       Role = "AcrPush"
	AcrDelete     Role = "AcrDelete"
	CatalogLister Role = "Container Registry Repository Catalog Lister"
)

// Actions of access claims and challenges.
const (
	actionPull          = "pull"
	actionPush          = "push"
	actionDelete        = "delete"
	actionMetadataRead  = "metadata_read"
	actionMetadataWrite = "metadata_write"
	actionCatalog       = "*"
)

var roleActions = map[Role][]string{
	AcrPull:   {actionPull, actionMetadataRead},
	AcrPush:   {actionPull, actionPush, actionMetadataRead},
	AcrDelete: {actionDelete},
}

// Registry is an Azure Container Registry.
type Registry struct {
	Name   string // of the resource
	Host   string // login server
	Tenant *Tenant

	az        *Azure
	assigned  []assignment
	tokens    []*Token
	admin     [2]string // passwords; the user is Name
	armOff    bool
	anonymous bool
	blocked   bool
	stored    map[string]map[string]bool // digests of the manifests of each repository
}

type assignment struct {
	object       string
	role         Role
	repositories []string
}

// Token is a token of the registry with a scope map: a user of its own.
type Token struct {
	Name    string
	Actions map[string][]string // by repository: content/read, content/write, content/delete, metadata/read, metadata/write
	Expires time.Time           // of both passwords; zero = never
	// Passwords are made by AddToken.
	Passwords [2]string
	disabled  bool
}

// Registry makes a registry with the login server NAME.azurecr.io (.us, .cn)
// and regional login servers on any region: NAME.REGION.geo.azurecr.io.
func (t *Tenant) Registry(name string) *Registry {
	return t.RegistryOn(name, strings.ToLower(name)+"."+t.Environment.Registry)
}

// RegistryOn makes a registry with another login server: one with a domain
// name label (acme-b7f2ckd9.azurecr.io), or acme.azurecr.de.
func (t *Tenant) RegistryOn(name, host string) *Registry {
	r := &Registry{Name: name, Host: host, Tenant: t, az: t.az, stored: map[string]map[string]bool{}}
	t.az.mu.Lock()
	defer t.az.mu.Unlock()
	t.az.registries[host] = r
	t.az.Cloud.Handle(host, http.HandlerFunc(t.az.serveRegistry))
	t.az.Cloud.Handle(r.Regional("*"), http.HandlerFunc(t.az.serveRegistry))
	return r
}

// Regional is the registry's login server in a region.
func (r *Registry) Regional(region string) string {
	label, rest, _ := strings.Cut(r.Host, ".")
	return label + "." + region + ".geo." + rest
}

// Assign gives p a role, on the repositories only where there are any.
func (r *Registry) Assign(p *Principal, role Role, repositories ...string) {
	r.az.mu.Lock()
	defer r.az.mu.Unlock()
	id := p.objectID(r.Tenant)
	if id == "" {
		panic(fmt.Sprintf("azure: %s is unknown in the tenant of %s: Invite first", p.Name, r.Name))
	}
	r.assigned = append(r.assigned, assignment{id, role, slices.Clone(repositories)})
}

// Unassign takes every role from p. Tokens that were handed out keep what they carry.
func (r *Registry) Unassign(p *Principal) {
	r.az.mu.Lock()
	defer r.az.mu.Unlock()
	id := p.objectID(r.Tenant)
	r.assigned = slices.DeleteFunc(r.assigned, func(a assignment) bool { return a.object == id })
}

// AdminUser turns the admin user on and gives its name and passwords.
func (r *Registry) AdminUser() (name string, passwords [2]string) {
	r.az.mu.Lock()
	defer r.az.mu.Unlock()
	if r.admin[0] == "" {
		r.admin = [2]string{rand.Text(), rand.Text()}
	}
	return r.Name, r.admin
}

// AddToken adds a token and makes its passwords.
func (r *Registry) AddToken(t Token) *Token {
	r.az.mu.Lock()
	defer r.az.mu.Unlock()
	t.Passwords = [2]string{rand.Text(), rand.Text()}
	r.tokens = append(r.tokens, &t)
	return &t
}

// DisableToken turns a token off.
func (r *Registry) DisableToken(name string) {
	r.az.mu.Lock()
	defer r.az.mu.Unlock()
	for _, t := range r.tokens {
		if t.Name == name {
			t.disabled = true
		}
	}
}

// AuthenticationAsARM is the policy azureADAuthenticationAsArmPolicy: whether
// tokens for the Resource Manager are accepted (as they are at first), or
// those for RegistryAudience alone.
func (r *Registry) AuthenticationAsARM(on bool) {
	r.az.mu.Lock()
	defer r.az.mu.Unlock()
	r.armOff = !on
}

// AnonymousPull lets everybody pull.
func (r *Registry) AnonymousPull(on bool) {
	r.az.mu.Lock()
	defer r.az.mu.Unlock()
	r.anonymous = on
}

// Firewall refuses every client by its address (on).
func (r *Registry) Firewall(on bool) {
	r.az.mu.Lock()
	defer r.az.mu.Unlock()
	r.blocked = on
}

// Delete removes the registry. Its name still leads here, unlike those that
// never were: connections end without an answer.
func (r *Registry) Delete() {
	r.az.mu.Lock()
	defer r.az.mu.Unlock()
	delete(r.az.registries, r.Host)
}

// find is the registry with a login server. Callers hold mu.
func (a *Azure) find(host string) *Registry {
	if r := a.registries[host]; r != nil {
		return r
	}
	l := strings.Split(host, ".")
	if len(l) == 5 && l[2] == "geo" {
		return a.registries[l[0]+"."+l[3]+"."+l[4]]
	}
	return nil
}

// digests are the manifests of a repository, tagged or not.
func (r *Registry) digests(repo string) []string {
	r.az.mu.Lock()
	defer r.az.mu.Unlock()
	return slices.Sorted(maps.Keys(r.stored[repo]))
}

func (r *Registry) repositories() []string {
	r.az.mu.Lock()
	defer r.az.mu.Unlock()
	return slices.Sorted(maps.Keys(r.stored))
}

func (r *Registry) keep(repo, digest string, there bool) {
	r.az.mu.Lock()
	defer r.az.mu.Unlock()
	if there {
		if r.stored[repo] == nil {
			r.stored[repo] = map[string]bool{}
		}
		r.stored[repo][digest] = true
		return
	}
	delete(r.stored[repo], digest)
	if len(r.stored[repo]) == 0 {
		delete(r.stored, repo)
	}
}
