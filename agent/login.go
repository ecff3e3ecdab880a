// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/agent/minter"
	"github.com/regmint/regmint/agent/store"
	"github.com/regmint/regmint/providers"
)

// Store keeps a login a client gives us (DESIGN rule 4).
func (c *Core) Store(ctx context.Context, j *job, l api.Login) *api.Reply {
	s := c.state.Load()
	k, err := providers.ParseKey(l.ServerURL)
	if err != nil {
		return failed(k.Host, &providers.Error{Kind: providers.Misconfigured, Err: err})
	}
	secret := providers.NewSecret(l.Secret)
	if secret.IsZero() {
		return failed(k.Host, &providers.Error{Kind: providers.Misconfigured, Host: k.Host, Err: errors.New("no credentials secret")})
	}
	if c.wasHandedOut(s, j, k, l, secret) {
		c.o.Log.Info("a secret we handed out was stored back; nothing to do", "host", k.Host.String())
		return &api.Reply{Outcome: api.OK, Message: "nothing to store: regmint handed this secret out"}
	}
	if k.Item == "" {
		if err := c.RefusesLogin(k.Host, c.keptBy(s, k, l.Account), l.Username, secret); err != nil {
			return failed(k.Host, err)
		}
	}
	life, fetched := c.fetched(s, k, l.Username, secret)
	if miss := c.unsaid(j, k.Host, l); fetched && len(miss) > 0 {
		return &api.Reply{Outcome: api.NeedEnv, NeedEnv: miss}
	}
	if fetched && c.mintsFor(s, j, k, l) {
		c.o.Log.Info("a token that another tool fetched is not kept: regmint mints for this host itself", "host", k.Host.String())
		return &api.Reply{Outcome: api.OK, Message: "nothing to store: regmint mints for this host itself"}
	}
	if j != nil {
		if why := j.closedReason(); why != "" {
			return failed(k.Host, &providers.Error{Kind: providers.Denied, Host: k.Host, Err: errors.New(why)})
		}
		if err := c.storeInside(ctx, j, k, l); err != nil {
			return failed(k.Host, err)
		}
		return &api.Reply{Outcome: api.OK, Message: "kept for this job"}
	}
	if k.Item != "" {
		if err := c.setSecret(ctx, s, itemName(k), secret); err != nil {
			return failed(k.Host, storeError(k.Host, err))
		}
		return &api.Reply{Outcome: api.OK}
	}
	if fetched {
		if err := c.saveSpare(ctx, s, k.Host, l, life); err != nil {
			return failed(k.Host, err)
		}
		return &api.Reply{Outcome: api.OK, Message: "kept until it expires"}
	}
	if r := c.passBehind(s, k.Host); r != nil {
		return r
	}
	return c.storeOutside(ctx, s, k, l, secret)
}

// storeInside keeps a login in the job and with its wrapper, which gives it to
// the next agent: what is acknowledged outlives this one.
func (c *Core) storeInside(ctx context.Context, j *job, k providers.Key, l api.Login) error {
	return j.inOrder(func() error {
		if err := j.take(l); err != nil {
			return err
		}
		c.dropJobLogin(j, k)
		if !j.tell(ctx, api.JobEvent{Login: &l}) {
			return errJobEnds(k.Host)
		}
		return nil
	})
}

func errJobEnds(h providers.Host) error {
	return &providers.Error{Kind: providers.Unavailable, Host: h, Err: errors.New("the job is ending")}
}

// storeOutside makes or changes a saved login, or refuses what would be
// thrown away.
func (c *Core) storeOutside(ctx context.Context, s *snapshot, k providers.Key, l api.Login, secret providers.Secret) *api.Reply {
	a, err := s.sel.Select(k.Host, "", l.Account)
	switch {
	case err == nil && a.Layer == providers.LayerConfigured && a.Password.Scheme == "keyring" && (a.Username == "" || a.Username == l.Username):
		// The account keeps its secret in our store: this is its login.
		if err := c.setSecret(ctx, s, a.Password.Value, secret); err != nil {
			return failed(k.Host, storeError(k.Host, err))
		}
		c.changed(k.Host)
		return &api.Reply{Outcome: api.OK, Message: "saved for account " + a.Name}
	case err == nil && a.Layer == providers.LayerConfigured:
		return failed(k.Host, &providers.Error{
			Kind: providers.Misconfigured, Host: k.Host,
			Err:  errors.New("configured as account " + a.Name + " (" + a.Source + "); a login as " + oneLine(l.Username) + " would not be used"),
			Hint: "remove the account or log in inside regmint run",
		})
	case err != nil && providers.KindOf(err) != providers.NoAccount && l.Account == "":
		return failed(k.Host, err)
	}
	name := l.Account
	if name == "" && err == nil {
		name = a.Name
	}
	login := SavedLogin{Host: k.Host, Username: l.Username, Secret: secret, Name: name}
	if err == nil && a.Layer == providers.LayerSaved && a.Name == name {
		login.Account = renewed(a)
	}
	if _, err := c.SaveLogin(ctx, login); err != nil {
		return failed(k.Host, err)
	}
	return &api.Reply{Outcome: api.OK, Message: "saved"}
}

// renewed is what stays of a saved account whose login is replaced: the way to
// the registry, and that somebody chose to have it generic.
func renewed(a providers.Account) providers.Account {
	out := providers.Account{Default: a.Default, PlainHTTP: a.PlainHTTP, CAFile: a.CAFile, HTTPSProxy: a.HTTPSProxy, NoProxy: a.NoProxy}
	if a.Provider == generic {
		out.Provider = generic
	}
	return out
}

// SavedLogin is a login to keep.
type SavedLogin struct {
	Host     providers.Host
	Username string
	Secret   providers.Secret
	Name     string // account name, "" = NewAccountName
	// Account, when set, is the template: CA, realm hosts, plain http. Where it
	// has no provider the host and the secret decide (NewLogin, FitLogin).
	Account providers.Account
}

// SaveLogin writes the secret, then the account that names it. The note is a
// sentence about where the secret went, or "".
func (c *Core) SaveLogin(ctx context.Context, l SavedLogin) (note string, err error) {
	s := c.state.Load()
	st, err := s.secrets()
	if err != nil {
		return "", storeError(l.Host, err)
	}
	pat, err := providers.ParsePattern(l.Host.String())
	if err != nil {
		return "", err
	}
	a := l.Account
	if a.Name = l.Name; a.Name == "" {
		a.Name = NewAccountName(l.Host, s.cfg.Accounts)
	}
	if a.Provider == "" {
		a = c.FitLogin(l.Host, c.NewLogin(l.Host, a), l.Username, l.Secret)
	}
	a.Hosts, a.Username, a.Layer = []providers.Pattern{pat}, l.Username, providers.LayerSaved
	ref := l.Host.String()
	if a.Name != AccountName(l.Host) {
		ref += "#" + a.Name
	}
	a.Password = providers.SecretRef{Scheme: "keyring", Value: ref}
	if note, err = store.SetNoted(ctx, st, ref, l.Secret); err != nil {
		return "", storeError(l.Host, err)
	}
	c.SecretSaved(ctx, ref)
	return note, c.put(ctx, l.Host, a)
}

// SaveAccount writes an account that a product's own login made, and before it
// the secret, where there is one, that ref names.
func (c *Core) SaveAccount(ctx context.Context, h providers.Host, a providers.Account, ref providers.SecretRef, secret providers.Secret) (note string, err error) {
	if !secret.IsZero() {
		st, err := c.state.Load().secrets()
		if err == nil {
			note, err = store.SetNoted(ctx, st, ref.Value, secret)
		}
		if err != nil {
			return "", storeError(h, err)
		}
		c.SecretSaved(ctx, ref.Value)
	}
	a.Layer = providers.LayerSaved
	return note, c.put(ctx, h, a)
}

// put writes an account and makes it count.
func (c *Core) put(ctx context.Context, h providers.Host, a providers.Account) error {
	err := c.o.Saved.Update(ctx, func(sv *config.Saved) error { sv.Put(a); return nil })
	if err == nil {
		err = c.Reload()
	}
	if err != nil {
		return &providers.Error{Kind: providers.Misconfigured, Host: h, Err: err}
	}
	c.changed(h)
	return nil
}

func (c *Core) setSecret(ctx context.Context, s *snapshot, name string, secret providers.Secret) error {
	st, err := s.secrets()
	if err != nil {
		return err
	}
	if err = st.Set(ctx, name, secret); err == nil {
		c.SecretSaved(ctx, name)
	}
	return err
}

// changed drops all that was cached or remembered for a host.
func (c *Core) changed(h providers.Host) int {
	closed := map[uint64]bool{}
	c.mu.Lock()
	maps.DeleteFunc(c.failures, func(k failKey, _ failure) bool { return k.host == h })
	for k, src := range c.sources {
		if slices.ContainsFunc(src.account.Hosts, func(p providers.Pattern) bool { return p.MatchHost(h) }) {
			delete(c.sources, k)
			closed[src.opened] = true
		}
	}
	c.mu.Unlock()
	c.forgetHanded(func(k handedKey) bool { return k.host == h })
	c.mint.ForgetFailures(func(id minter.ID) bool { return id.Host == h })
	n := c.mint.Drop(func(id minter.ID) bool { return id.Host == h })
	c.mint.Drop(func(id minter.ID) bool { return closed[id.Opened] })
	return n
}

// dropJobLogin drops what was minted from logins of this job to a host.
func (c *Core) dropJobLogin(j *job, k providers.Key) {
	login := idPrefix(providers.LayerJobLogin, j.id) + k.Host.String() + "#"
	carried := idPrefix(providers.LayerCarried, j.id) + carriedPrefix + k.Host.String() + "#"
	old := func(id string) bool { return strings.HasPrefix(id, login) || strings.HasPrefix(id, carried) }
	c.dropSources(old)
	c.forgetHanded(func(h handedKey) bool { return old(h.account) })
}

func failed(h providers.Host, err error) *api.Reply {
	return &api.Reply{Outcome: api.Failed, Kind: string(providers.KindOf(err)), Message: message(h, err)}
}
