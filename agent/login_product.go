// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"slices"

	"github.com/regmint/regmint/providers"
)

// generic is the provider of logins that belong to no product we know.
const generic = "generic"

// product is the provider that a login at h belongs to where nobody says one:
// the one that knows h by its name, else the one of which another account names
// h in full: a wildcard says nothing about what a host is, and a secret would go
// to that account's product. like is that account. nil: none, or two that
// disagree.
func (c *Core) product(s *snapshot, h providers.Host) (p providers.Provider, like providers.Account) {
	for _, p := range c.o.Providers {
		if _, keeps := p.(providers.LoginKeeper); keeps && p.Match(h) {
			return p, like
		}
	}
	for _, a := range s.cfg.Accounts {
		if a.Provider == generic || !slices.ContainsFunc(a.Hosts, func(pat providers.Pattern) bool { exact, ok := pat.Exact(); return ok && exact == h }) {
			continue
		}
		of := c.provider(a.Provider)
		if _, keeps := of.(providers.LoginKeeper); !keeps {
			continue
		}
		if p != nil && p.Name() != of.Name() {
			return nil, providers.Account{}
		}
		if p == nil {
			p, like = of, a
		}
	}
	return p, like
}

// NewLogin makes a, a new account for a login at h of which nobody says the
// provider, one of the product's own, or a generic one.
func (c *Core) NewLogin(h providers.Host, a providers.Account) providers.Account {
	a.Provider = generic
	p, like := c.product(c.state.Load(), h)
	switch {
	case p == nil:
		p = c.provider(generic)
	case like.Provider != "":
		a.Provider, a.Endpoint = p.Name(), like.Endpoint
		a.Options = p.(providers.LoginKeeper).LoginOptions(like)
		return a
	}
	if p != nil { // tests may have no generic one
		a.Provider, a.Options = p.Name(), p.Options()
	}
	return a
}

// FitLogin makes a, which NewLogin made, a generic one where its provider does
// not keep such a login.
func (c *Core) FitLogin(h providers.Host, a providers.Account, user string, secret providers.Secret) providers.Account {
	k, ok := c.provider(a.Provider).(providers.LoginKeeper)
	if !ok {
		return a
	}
	if keeps, err := k.KeepsLogin(h, user, secret); keeps || err != nil {
		return a
	}
	a.Provider, a.Endpoint, a.Options = generic, "", nil
	if p := c.provider(generic); p != nil {
		a.Options = p.Options()
	}
	return a
}

// RefusesLogin says why a login is not worth saving: its form alone tells that
// the registry takes none like it. provider is that of its account; "" = by the
// host.
func (c *Core) RefusesLogin(h providers.Host, provider, user string, secret providers.Secret) error {
	p := c.provider(provider)
	if provider == "" {
		p, _ = c.product(c.state.Load(), h)
	}
	k, ok := p.(providers.LoginKeeper)
	if !ok {
		return nil
	}
	_, err := k.KeepsLogin(h, user, secret)
	if e, is := errors.AsType[*providers.Error](err); is && e.Host.IsZero() {
		own := *e
		own.Host = h
		return &own
	}
	return err
}

// keptBy is the provider of the account that a login at k would be kept for, ""
// where there is none yet.
func (c *Core) keptBy(s *snapshot, k providers.Key, account string) string {
	if a, err := s.sel.Select(k.Host, "", account); err == nil {
		return a.Provider
	}
	return ""
}
