// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"os"

	"github.com/regmint/regmint/agent/store"
	"github.com/regmint/regmint/providers"
)

// SecretSaved forgets, with a login that was put into the store, a rotation that
// was lost: whoever logs in has answered it. A schedule begins anew.
func (c *Core) SecretSaved(ctx context.Context, name string) {
	st, err := c.state.Load().secrets()
	if err != nil {
		return
	}
	r := c.rotationOf(st, name)
	if in, _ := c.readIntent(r.ref); in != nil && in.Step == stepLost {
		r.clean(ctx)
	}
	c.begunAnew(r)
}

// rotationOf is that of an item of the store, whosever it is.
func (c *Core) rotationOf(st store.Store, name string) *rotation {
	ref := providers.SecretRef{Scheme: "keyring", Value: name}
	return &rotation{c: c, ref: ref, store: st, name: name, next: nextPrefix + rotationID(ref)}
}

// begunAnew forgets what was known of a secret that another one replaced.
func (c *Core) begunAnew(r *rotation) {
	rec, err := r.record()
	if err != nil {
		return // none, or one that the schedule writes anew
	}
	*rec = record{Schema: 1, Account: rec.Account, Host: rec.Host, Since: c.now().UTC()}
	if err := writeRecord(c.recordPath(r.ref), rec); err != nil {
		c.o.Log.Warn("a schedule does not begin anew", "account", rec.Account, "err", err.Error())
	}
}

// SecretRemoved forgets, with a secret that was removed from the store, what is
// known of its rotations and the second secret that an interrupted one left.
func (c *Core) SecretRemoved(ctx context.Context, name string) {
	st, err := c.state.Load().secrets()
	if err != nil {
		return
	}
	r := c.rotationOf(st, name)
	if c.interrupted(r.ref) {
		r.clean(ctx)
	}
	_ = os.Remove(c.recordPath(r.ref))
}
