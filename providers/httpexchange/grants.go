// SPDX-License-Identifier: Apache-2.0

package httpexchange

import (
	"slices"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/registryauth"
)

// everywhere is the index of a grant on every repository, -1 if there is none.
func everywhere(gs []providers.Grant) int {
	return slices.IndexFunc(gs, func(g providers.Grant) bool { return g.Repository == "" })
}

// scopes are the grants as docker scopes. A grant on every repository has no
// scope; naming the others beside it would take it away.
func scopes(gs []providers.Grant) []string {
	if everywhere(gs) >= 0 {
		return nil
	}
	return registryauth.Scopes(gs)
}

// repositories are the names in the grants; none where one means them all.
func repositories(gs []providers.Grant) []string {
	if everywhere(gs) >= 0 {
		return nil
	}
	var out []string
	for _, g := range gs {
		if !slices.Contains(out, g.Repository) {
			out = append(out, g.Repository)
		}
	}
	return out
}

// access reads "as the account is" as push: delete is never asked for unasked.
func access(g providers.Grant) providers.Access {
	if g.Access == 0 {
		return providers.Push
	}
	return g.Access
}

// union is what the grants allow together.
func union(gs []providers.Grant) (a providers.Access) {
	for _, g := range gs {
		a |= access(g)
	}
	return a
}

func names(a providers.Access) []string {
	var out []string
	for _, x := range []struct {
		has  providers.Access
		name string
	}{{providers.Pull, "pull"}, {providers.Push, "push"}, {providers.Delete, "delete"}} {
		if a.Has(x.has) {
			out = append(out, x.name)
		}
	}
	return out
}

// wider reports that the endpoint was not told all of the grants.
func wider(u fields, gs []providers.Grant) bool {
	if len(gs) == 0 {
		return false
	}
	all := union(gs)
	if i := everywhere(gs); i >= 0 {
		return !u.Access || access(gs[i]) != all
	}
	if u.Scope {
		return false
	}
	// One list of accesses stands for all repositories.
	mixed := u.Access && slices.ContainsFunc(gs, func(g providers.Grant) bool { return access(g) != all })
	return !u.Repository || mixed
}
