// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/regmint/regmint/agent"
	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/agent/store"
	"github.com/regmint/regmint/providers"
)

// write puts the secret where the account looks for it.
func (r *loginRun) write(ctx context.Context, t *trial) (note string, err error) {
	if t.account.Layer == providers.LayerConfigured {
		if note, err = store.SetNoted(ctx, r.local.store, t.ref.Value, t.secret); err == nil {
			r.local.SecretSaved(ctx, t.ref.Value)
		}
		return note, err
	}
	base, err := r.asSaved(t.account)
	if err != nil {
		return "", err
	}
	return r.local.SaveLogin(ctx, agent.SavedLogin{
		Host: t.host, Username: t.account.Username, Secret: t.secret, Name: t.account.Name, Account: base,
	})
}

// asSaved is an account as its file has it: what the policy and accepted
// realms add holds without being written down.
func (r *loginRun) asSaved(acc providers.Account) (providers.Account, error) {
	saved, err := r.a.savedFile(r.local.files).Read()
	if err != nil {
		return acc, err
	}
	for _, s := range saved.Accounts {
		if s.Name == acc.Name {
			s.Provider, s.Options = acc.Provider, acc.Options
			return s, nil
		}
	}
	acc.RealmHosts = nil
	return acc, nil
}

// keepDefault marks the account that answered before a second one came to the
// same host, so that nothing changes for clients that name none.
func (r *loginRun) keepDefault(ctx context.Context, t *trial) error {
	others := []providers.Account{}
	for _, acc := range r.local.sel.Owners(t.host) {
		if acc.Name == t.account.Name || acc.Layer != t.account.Layer {
			continue
		}
		if acc.Default {
			return nil
		}
		others = append(others, acc)
	}
	if len(others) != 1 || t.account.Default || t.account.Layer != providers.LayerSaved {
		return nil
	}
	first := others[0]
	err := r.a.savedFile(r.local.files).Update(ctx, func(s *config.Saved) error {
		for i := range s.Accounts {
			if s.Accounts[i].Name == first.Name {
				s.Accounts[i].Default = true
			}
		}
		return nil
	})
	if err == nil {
		r.a.say("account %s stays the one for %s; choose the new one with REGMINT_ACCOUNT=%s or --account %s", first.Name, t.host, t.account.Name, t.account.Name)
	}
	return err
}
