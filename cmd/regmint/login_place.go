// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/regmint/regmint/agent"
	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/providers"
)

// place chooses the account that the login is for: an existing one, or a new
// one without a layer of its own.
func (r *loginRun) place(host providers.Host) (providers.Account, error) {
	if r.o.provider != "" && r.a.provider(r.o.provider) == nil {
		return providers.Account{}, usage("see: regmint providers", "there is no provider %q", r.o.provider)
	}
	acc, found, err := r.existing(host)
	if err != nil {
		return acc, err
	}
	if !found {
		return r.newAccount(host)
	}
	if _, ok := loginRef(acc); !ok {
		from := "by provider " + acc.Provider
		if refs := config.SecretRefs(acc); len(refs) > 0 {
			from = "from " + refs[0].String()
		}
		return acc, &providers.Error{
			Kind: providers.Misconfigured, Host: host,
			Err:  fmt.Errorf("account %s (%s) gets its secret %s; a login would not be used", acc.Name, acc.Source, from),
			Hint: "save another account with: regmint login " + host.String() + " --as NAME",
		}
	}
	if r.o.provider != "" && r.o.provider != acc.Provider {
		if acc.Layer == providers.LayerConfigured {
			return acc, usage("", "account %s (%s) is of provider %s", acc.Name, acc.Source, acc.Provider)
		}
		acc.Provider, acc.Options = r.o.provider, r.a.provider(r.o.provider).Options()
	}
	switch {
	case acc.Layer != providers.LayerConfigured:
	case acc.Username == "" && acc.Provider == "generic":
		return acc, &providers.Error{
			Kind: providers.Misconfigured, Host: host, Hint: "set username there",
			Err: fmt.Errorf("account %s (%s) does not say whose password it is for", acc.Name, acc.Source),
		}
	case acc.Username != "" && r.o.user != "" && r.o.user != acc.Username:
		return acc, usage("log in as "+acc.Username+", or save another account with --as NAME",
			"account %s (%s) is for user %s", acc.Name, acc.Source, acc.Username)
	}
	return acc, nil
}

// loginRef is the one place in our store where the account looks for a secret:
// what login writes. An account without one, or with several, has no login.
func loginRef(acc providers.Account) (providers.SecretRef, bool) {
	var found []providers.SecretRef
	for _, ref := range config.SecretRefs(acc) {
		if ref.Scheme == "keyring" {
			found = append(found, ref)
		}
	}
	if len(found) != 1 {
		return providers.SecretRef{}, false
	}
	return found[0], true
}

// existing finds the account to log in: by --as, else the one that answers for
// the host.
func (r *loginRun) existing(host providers.Host) (acc providers.Account, found bool, err error) {
	if r.o.as != "" {
		for _, acc := range r.local.sel.Owners(host) {
			if acc.Name == r.o.as {
				return acc, true, nil
			}
		}
		for _, acc := range r.local.cfg.Accounts {
			if acc.Name == r.o.as {
				return acc, false, usage("choose another name", "account %s (%s) is not for %s", acc.Name, acc.Source, host)
			}
		}
		return acc, false, nil
	}
	acc, err = r.local.sel.Select(host, "", "")
	switch {
	case err == nil:
		return acc, true, nil
	case providers.KindOf(err) == providers.NoAccount:
		return acc, false, nil
	}
	if e, ok := errors.AsType[*providers.Error](err); ok {
		e.Hint = "say which one with --as NAME"
	}
	return acc, false, err
}

func (r *loginRun) newAccount(host providers.Host) (providers.Account, error) {
	pat, err := providers.ParsePattern(host.String())
	if err != nil {
		return providers.Account{}, err
	}
	acc := providers.Account{
		Name: r.o.as, Provider: r.o.provider, Hosts: []providers.Pattern{pat},
		PlainHTTP: host.IsLoopback(), RealmHosts: r.local.cfg.Realms[host.String()], Layer: providers.LayerSaved,
	}
	if acc.Name == "" {
		acc.Name = agent.NewAccountName(host, r.local.cfg.Accounts)
	}
	if acc.Provider == "" {
		return r.local.NewLogin(host, acc), nil
	}
	acc.Options = r.a.provider(acc.Provider).Options()
	return acc, nil
}

// fit settles the provider of the account once the login is known, and refuses
// what is certain not to work.
func (r *loginRun) fit(host providers.Host, acc providers.Account, user string, secret providers.Secret) (providers.Account, error) {
	if err := r.local.RefusesLogin(host, acc.Provider, user, secret); err != nil {
		return acc, err
	}
	known := slices.ContainsFunc(r.local.cfg.Accounts, func(a providers.Account) bool { return a.Name == acc.Name })
	if r.o.provider != "" || known {
		return acc, nil
	}
	return r.local.FitLogin(host, acc, user, secret), nil
}

// jobPlace is where a login inside a job goes: it wins there for its host,
// whatever is configured; only the way to the registry is the same.
func (r *loginRun) jobPlace(host providers.Host) (providers.Account, error) {
	if r.o.as != "" || r.o.provider != "" {
		return providers.Account{}, usage("", "a login inside a job is for that job alone: --as and --provider have no meaning there")
	}
	acc, err := r.newAccount(host)
	if err != nil {
		return acc, err
	}
	acc.Provider, acc.Endpoint, acc.Options = "generic", "", r.a.provider("generic").Options()
	if known, found, err := r.existing(host); err == nil && found {
		acc.CAFile, acc.HTTPSProxy, acc.NoProxy = known.CAFile, known.HTTPSProxy, known.NoProxy
		acc.PlainHTTP, acc.RealmHosts = known.PlainHTTP, known.RealmHosts
	}
	return acc, nil
}
