// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/agent/store"
	"github.com/regmint/regmint/providers"
)

// What a product is asked to end is bounded: the login is removed from this
// machine by then, and somebody waits, a client of the helper for less than ten
// seconds.
const (
	EndLimit   = 15 * time.Second // of a person at `regmint logout`
	eraseLimit = 8 * time.Second
)

// Removed is a login that this machine has no more.
type Removed struct {
	host    providers.Host
	account providers.Account
	secret  providers.Secret
	unread  bool // there was one, and it could not be read
	removed bool // the secret is gone from the store
}

// Host is the registry.
func (r Removed) Host() providers.Host { return r.host }

// Remove removes a saved login, or the saved secret of a configured account, and
// keeps in memory what EndLogin needs. The error says what is left here; what
// was removed can be ended all the same.
func (c *Core) Remove(ctx context.Context, a providers.Account) (Removed, error) {
	r := Removed{host: hostOf(a), account: a}
	ref, keeps := storedRef(a)
	st, err := c.state.Load().secrets()
	if keeps && err == nil && c.ends(a) {
		r.secret, err = st.Get(ctx, ref.Value)
		r.unread = err != nil && !errors.Is(err, store.ErrNotFound)
	} else if keeps && c.ends(a) {
		r.unread = true
	}
	switch {
	case a.Layer == providers.LayerSaved:
		err = c.RemoveLogin(ctx, a)
	case keeps && st != nil:
		if err = st.Delete(ctx, ref.Value); err != nil {
			err = storeError(r.host, err)
		} else {
			c.SecretRemoved(ctx, ref.Value)
		}
		c.changed(r.host)
	}
	r.removed = err == nil
	return r, err
}

// storedRef is the one place in our store that an account has its secret in.
func storedRef(a providers.Account) (out providers.SecretRef, ok bool) {
	for _, ref := range config.SecretRefs(a) {
		if ref.Scheme != "keyring" {
			continue
		}
		if ok {
			return providers.SecretRef{}, false
		}
		out, ok = ref, true
	}
	return out, ok
}

// ends reports an account whose product may know of its login.
func (c *Core) ends(a providers.Account) bool {
	_, ok := c.provider(a.Provider).(providers.Ender)
	return ok
}

// EndLogin ends at its product what a login of regmint's own made there, within
// limit, and says in a sentence for people what became of
// it; "" where there is nothing to say.
func (c *Core) EndLogin(ctx context.Context, r Removed, limit time.Duration) string {
	e, ok := c.provider(r.account.Provider).(providers.Ender)
	if !ok {
		return ""
	}
	if r.unread {
		return "its secret could not be read: what was made with it at the product, if anything, lives on"
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	text := said(c.endOnce(ctx, e, r))
	// A refresh under way may have put another secret in the place of the one
	// that was removed.
	if ref, keeps := storedRef(r.account); keeps && r.removed {
		if st, err := c.state.Load().secrets(); err == nil {
			if again, err := st.Get(ctx, ref.Value); err == nil && !again.Equal(r.secret) && !c.inUse(ref) {
				_ = st.Delete(ctx, ref.Value)
				r.secret = again
				text = said(c.endOnce(ctx, e, r))
			}
		}
	}
	if text != "" {
		c.o.Log.Info("a login was removed", "host", r.host.String(), "account", r.account.Name, "at the product", text)
	}
	return text
}

// inUse reports that an account keeps its secret in the place of ref: somebody
// has logged in again meanwhile.
func (c *Core) inUse(ref providers.SecretRef) bool {
	for _, a := range c.state.Load().cfg.Accounts {
		if own, ok := storedRef(a); ok && own.Value == ref.Value {
			return true
		}
	}
	return false
}

func (c *Core) endOnce(ctx context.Context, e providers.Ender, r Removed) (out providers.Ended) {
	defer func() {
		if p := recover(); p != nil {
			c.o.Log.Error("a provider failed", "provider", r.account.Provider, "panic", oneLine(fmt.Sprint(p)))
			out = providers.Ended{Left: "what was made with it at the product"}
		}
	}()
	d := c.Deps(r.account)
	d.Resolve = func(context.Context, providers.SecretRef) (providers.Secret, error) { return r.secret, nil }
	d.Save = func(context.Context, providers.SecretRef, providers.Secret) error {
		return errors.New("the login was removed")
	}
	return e.EndLogin(ctx, providers.EndRequest{Host: r.host, Account: r.account, Secret: r.secret, Deps: d})
}

// said is what became of a login, in one line.
func said(e providers.Ended) string {
	var parts []string
	if e.What != "" {
		parts = append(parts, "ended "+oneLine(e.What))
	}
	if e.Left != "" {
		parts = append(parts, "still alive: "+oneLine(e.Left))
	}
	return strings.Join(parts, "; ")
}
