// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/agent/minter"
	"github.com/regmint/regmint/providers"
)

// Deps are the surroundings of an account that the agent would give its
// provider, without Env and Resolve: those are the caller's to fill.
func (c *Core) Deps(a providers.Account) providers.Deps {
	return c.deps(c.state.Load(), a, sourceKey{})
}

// deps are the surroundings of the source key of account a.
func (c *Core) deps(s *snapshot, a providers.Account, key sourceKey) providers.Deps {
	return providers.Deps{
		Env:     map[string]string{},
		Network: s.cfg.Network,
		Run: func(ctx context.Context, p providers.Command) ([]byte, error) {
			return config.Run(ctx, c.o.ExecEnv, p)
		},
		Save: func(ctx context.Context, ref providers.SecretRef, secret providers.Secret) error {
			return c.save(ctx, a, key, ref, secret)
		},
		Lock: func(ctx context.Context, name string) (func(), error) {
			return config.Lock(ctx, c.o.Saved.StateDir, name)
		},
		Home: c.o.Home,
		Log:  c.o.Log.With("account", a.Name),
		Now:  c.now,
	}
}

// save replaces the secret that ref names. Whoever else lives by it learns of
// it: what was remembered against the old one is forgotten, and what was minted
// from it elsewhere. The source that saves keeps what it has: it is about to
// answer with what the new secret is good for.
func (c *Core) save(ctx context.Context, a providers.Account, from sourceKey, ref providers.SecretRef, secret providers.Secret) error {
	if ref.Scheme != "keyring" {
		return &providers.Error{
			Kind: providers.Misconfigured, Host: hostOf(a),
			Err:  errors.New(ref.String() + " cannot be replaced: only a keyring: reference takes a new secret"),
			Hint: "keep it in the keyring: regmint login",
		}
	}
	st, err := c.state.Load().secrets()
	if err == nil {
		err = st.Set(ctx, ref.Value, secret)
	}
	if err != nil {
		return storeError(hostOf(a), err)
	}
	c.replaced(ref, from)
	return nil
}

// replaced forgets what was minted from the former secret of ref, but for the
// source that replaced it.
func (c *Core) replaced(ref providers.SecretRef, from sourceKey) {
	others, users := map[uint64]bool{}, map[string]bool{}
	c.mu.Lock()
	for k, src := range c.sources {
		if !slices.ContainsFunc(config.SecretRefs(src.account), func(r providers.SecretRef) bool { return r.String() == ref.String() }) {
			continue
		}
		users[k.account] = true
		if k != from {
			others[src.opened] = true
			src.verify.replaced()
		}
	}
	maps.DeleteFunc(c.failures, func(k failKey, _ failure) bool { return users[k.account] })
	c.mu.Unlock()
	c.mint.ForgetFailures(func(id minter.ID) bool { return users[id.Account] })
	c.mint.Drop(func(id minter.ID) bool { return others[id.Opened] })
}
