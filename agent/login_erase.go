// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"strings"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/agent/minter"
	"github.com/regmint/regmint/providers"
)

// Erase removes the login the caller could have read, and no more.
func (c *Core) Erase(ctx context.Context, j *job, l api.Login) *api.Reply {
	s := c.state.Load()
	k, err := providers.ParseKey(l.ServerURL)
	if err != nil {
		return failed(k.Host, &providers.Error{Kind: providers.Misconfigured, Err: err})
	}
	if j != nil {
		err := j.inOrder(func() error {
			if !j.drop(k) {
				return nil
			}
			c.dropJobLogin(j, k)
			if !j.tell(ctx, api.JobEvent{Erase: l.ServerURL}) {
				return errJobEnds(k.Host)
			}
			return nil
		})
		if err != nil {
			return failed(k.Host, err)
		}
		return &api.Reply{Outcome: api.OK}
	}
	if k.Item != "" {
		if st, err := s.secrets(); err == nil {
			err = st.Delete(ctx, itemName(k))
			if err != nil {
				return failed(k.Host, storeError(k.Host, err))
			}
		}
		return &api.Reply{Outcome: api.OK}
	}
	if sp, ok := s.spareOf(k.Host); ok {
		if err := c.RemoveLogin(ctx, sp.Account); err != nil {
			return failed(k.Host, err)
		}
		s = c.state.Load()
	}
	a, err := s.sel.Select(k.Host, k.Repository, l.Account)
	if err != nil {
		if providers.KindOf(err) != providers.NoAccount {
			return &api.Reply{Outcome: api.OK, Message: message(k.Host, err)}
		}
		if r := c.passBehind(s, k.Host); r != nil {
			return r
		}
		return &api.Reply{Outcome: api.OK}
	}
	if a.Layer != providers.LayerSaved {
		c.eraseMinted(k.Host)
		return &api.Reply{Outcome: api.OK, Message: "account " + a.Name + " is configured in " + a.Source + "; its cached credential was dropped"}
	}
	gone, err := c.Remove(ctx, a)
	text := c.EndLogin(context.WithoutCancel(ctx), gone, eraseLimit)
	if err != nil {
		return failed(k.Host, err)
	}
	return &api.Reply{Outcome: api.OK, Message: strings.TrimSuffix("removed "+a.Name+"; "+text, "; ")}
}

// eraseMinted drops a minted credential, at most once in 5 s: docker logout
// erases four spellings, and a loop must not become a storm of mints.
func (c *Core) eraseMinted(h providers.Host) {
	c.mu.Lock()
	last, ok := c.erased[h]
	now := c.now()
	if ok && now.Sub(last) < 5*time.Second && now.After(last) {
		c.mu.Unlock()
		return
	}
	c.erased[h] = now
	c.mu.Unlock()
	c.mint.Drop(func(id minter.ID) bool { return id.Host == h && id.Job == "" })
}

// RemoveLogin removes a saved login and its secret.
func (c *Core) RemoveLogin(ctx context.Context, a providers.Account) error {
	h := hostOf(a)
	if err := c.o.Saved.Update(ctx, func(sv *config.Saved) error { sv.Remove(a.Name); return nil }); err != nil {
		return &providers.Error{Kind: providers.Misconfigured, Host: h, Err: err}
	}
	var storeErr error
	if a.Password.Scheme == "keyring" {
		st, err := c.state.Load().secrets()
		if err == nil {
			err = st.Delete(ctx, a.Password.Value)
		}
		if err == nil {
			c.SecretRemoved(ctx, a.Password.Value)
		}
		if err != nil {
			storeErr = storeError(h, err)
		}
	}
	if err := c.Reload(); err != nil {
		return err
	}
	c.changed(h)
	return storeErr
}
