// SPDX-License-Identifier: Apache-2.0

package gar

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// purpose is an entry of narrow_to.
type purpose struct {
	repository string // "" = every one
	access     providers.Access
	account    string
}

func (p *plan) checkPurposes() error {
	for k, account := range p.NarrowTo {
		repository, access, named := strings.Cut(k, "=")
		w := purpose{repository: strings.Trim(repository, "/"), access: providers.Pull, account: account}
		if w.repository == "*" {
			w.repository = ""
		}
		if named {
			var err error
			if w.access, err = providers.ParseAccess(access); err != nil {
				return fmt.Errorf("narrow_to: %q: %w", httpx.Printable(k, 80), err)
			}
		}
		if strings.ContainsAny(w.repository, "*@:") {
			return fmt.Errorf("narrow_to: %q: write PROJECT/REPOSITORY or *, and =pull, =push or =delete", httpx.Printable(k, 80))
		}
		if !isAddress(account) {
			return fmt.Errorf("narrow_to: %q is no address of a service account", httpx.Printable(account, 80))
		}
		p.purposes = append(p.purposes, w)
	}
	// The most particular first.
	slices.SortFunc(p.purposes, func(a, b purpose) int {
		return cmp.Or(cmp.Compare(len(b.repository), len(a.repository)), cmp.Compare(a.access, b.access), cmp.Compare(a.repository, b.repository))
	})
	return nil
}

// choice is what a request is minted with.
type choice struct {
	scopes     []string
	account    string // to impersonate in place of service_account; "" = none
	everywhere bool   // account is for every repository
	readOnly   bool   // scopes are the read-only one
}

// choose finds the least that covers the grants.
func (p *plan) choose(gs []providers.Grant) choice {
	c := choice{scopes: p.Scopes}
	if len(gs) == 0 {
		c.scopes = cmpOr(p.Scopes, scopeAll)
		return c
	}
	pull := !slices.ContainsFunc(gs, func(g providers.Grant) bool { return g.Access != providers.Pull })
	if len(c.scopes) == 0 {
		c.scopes, c.readOnly = []string{scopeAll}, pull
		if pull {
			c.scopes = []string{scopeRead}
		}
	}
	for _, w := range p.purposes {
		if !slices.ContainsFunc(gs, func(g providers.Grant) bool { return !w.covers(g) }) {
			c.account, c.everywhere = w.account, w.repository == ""
			break
		}
	}
	return c
}

func cmpOr(list []string, one string) []string {
	if len(list) > 0 {
		return list
	}
	return []string{one}
}

// covers reports whether the purpose's account may do what g says. "As the
// account is" is pull and push.
func (w purpose) covers(g providers.Grant) bool {
	access := g.Access
	if access == 0 {
		access = providers.Push
	}
	rest, under := strings.CutPrefix(g.Repository, w.repository)
	return w.access.Has(access) && (w.repository == "" || under && (rest == "" || rest[0] == '/'))
}

// wider says whether the token may do more than the grants. Google narrows to
// no repository; the account of a purpose is what narrow_to says it is, which
// for "*" is one for every repository.
func wider(gs []providers.Grant, c choice, scoped bool) bool {
	everywhere := !slices.ContainsFunc(gs, func(g providers.Grant) bool { return g.Repository != "" })
	switch {
	case len(gs) == 0:
		return false
	case c.account != "":
		return c.everywhere && !everywhere
	}
	return !everywhere || !c.readOnly || !scoped
}
