// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// Scopes of tokens (docs.gitlab.com/user/profile/personal_access_tokens).
const (
	scopeAPI          = "api"
	scopeReadAPI      = "read_api"
	scopeRead         = "read_registry"
	scopeWrite        = "write_registry"
	scopeVirtualRead  = "read_virtual_registry"
	scopeVirtualWrite = "write_virtual_registry"
	scopeSelf         = "self_rotate"
	scopeGranular     = "granular" // of a token whose rights are listed elsewhere
)

// need is what something takes: one of several sets of scopes.
type need struct {
	what string
	make string // what to make, for a hint
	sets [][]string
}

// What the registry lets a token do, scope by scope: write_registry alone does
// not read, and a push reads (gitlab-org/gitlab lib/gitlab/auth.rb,
// abilities_for_scopes).
var (
	toPull   = need{"pull needs read_registry", "a token with that scope", [][]string{{scopeAPI}, {scopeReadAPI}, {scopeRead}}}
	toPush   = need{"push needs read_registry and write_registry", "a token with both scopes", [][]string{{scopeAPI}, {scopeRead, scopeWrite}, {scopeReadAPI, scopeWrite}}}
	toDelete = need{"delete needs api", "a token with that scope", [][]string{{scopeAPI}}}
	// docs.gitlab.com/user/packages/dependency_proxy, authenticate
	toProxy = need{"the Dependency Proxy needs read_registry and write_registry", "a token with both scopes", [][]string{{scopeAPI}, {scopeRead, scopeWrite}, {scopeVirtualRead, scopeVirtualWrite}}}
)

func (n need) met(scopes []string) bool {
	return slices.ContainsFunc(n.sets, func(set []string) bool {
		return !slices.ContainsFunc(set, func(x string) bool { return !slices.Contains(scopes, x) })
	})
}

// accessOf is everything that r asks for.
func accessOf(r providers.Request) (a providers.Access) {
	for _, g := range r.Grants {
		a |= g.Access
	}
	return a
}

// allows refuses what the scopes of a token are known not to do.
func (s *source) allows(ctx context.Context, r providers.Request, t token) error {
	if t.scopes == nil || slices.Contains(t.scopes, scopeGranular) {
		return nil
	}
	n, a := toPull, accessOf(r)
	switch {
	case a.Has(providers.Delete):
		n = toDelete
	case a.Has(providers.Push):
		n = toPush
	}
	if n.met(t.scopes) && toProxy.met(t.scopes) {
		return nil
	}
	if s.isProxy(ctx, r.Host) {
		n = toProxy
	}
	if n.met(t.scopes) {
		return nil
	}
	return s.fail(r.Host, providers.Denied, s.widen(r.Host, n), fmt.Errorf("%s, and the token has %s", n.what, scopeList(t.scopes)))
}

// widen is how the account gets what n takes.
func (s *source) widen(h providers.Host, n need) string {
	switch s.plan.kind {
	case byDevice:
		return "add to scopes, here and in the application, and run: regmint login " + h.String()
	case byGlab:
		return "use " + n.make + " in place of glab = true"
	}
	return "make " + n.make
}

var errProjectProxy = errors.New("a project's token does not open the Dependency Proxy")

func scopeList(scopes []string) string {
	if len(scopes) == 0 {
		return "no scope"
	}
	return httpx.Printable(strings.Join(scopes, ", "), 120)
}
