// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/agent/store"
	"github.com/regmint/regmint/providers"
)

// settle brings an interrupted rotation to its end, under the lock. It returns
// what it finished; nil where there was nothing, or nothing had happened. The
// old secret is never used for a rotation again before it is known to live.
func (r *rotation) settle(ctx context.Context) (*Rotated, error) {
	in, err := r.c.readIntent(r.ref)
	if err != nil {
		return nil, err
	}
	next, err := r.item(ctx, r.next)
	if err != nil {
		return nil, err
	}
	if in == nil && next.IsZero() {
		return nil, nil
	}
	now, err := r.current(ctx)
	if err != nil && r.name != "" {
		return nil, err
	}
	if in == nil {
		return r.settleUnnamed(ctx, now, next)
	}
	if in.isOld(next) {
		next = providers.Secret{} // a rehearsal
	}
	done := &Rotated{Account: r.account.Name, Finished: true, Where: r.where()}
	switch {
	case !now.IsZero() && !in.isOld(now): // replaced, by us or by a login
		r.clean(ctx)
		if now.Equal(next) {
			return done, nil
		}
		return nil, nil
	case !next.IsZero():
		if err := r.finish(ctx, in, next); err != nil {
			return nil, err
		}
		return done, nil
	case r.source == nil && in.Step == stepLost:
		return nil, in.lostError(r.host)
	case r.source == nil:
		return nil, nil // the old one is tried: the registry knows
	}
	return nil, r.settleOld(ctx, in, now)
}

// settleOld asks whether the old secret lives: then nothing has happened.
func (r *rotation) settleOld(ctx context.Context, in *intent, old providers.Secret) error {
	if old.IsZero() { // logged out
		r.clean(ctx)
		return nil
	}
	if age := r.c.now().Sub(in.Begun); in.Step == stepAsk && age >= 0 && age < settleAfter {
		return &providers.Error{
			Kind: providers.Unavailable, Host: r.host, RetryAfter: settleAfter - age,
			Err:  errors.New("a rotation was interrupted, and its request may still be under way"),
			Hint: "in half a minute run: regmint rotate " + r.host.String(),
		}
	}
	err := r.alive(ctx, old)
	switch {
	case err == nil:
		r.clean(ctx)
		return nil
	case providers.KindOf(err) == providers.LoginRequired:
		return r.lost(in)
	}
	return err
}

// settleUnnamed deals with a second secret whose intent is gone: the state
// directory did not outlive the store.
func (r *rotation) settleUnnamed(ctx context.Context, now, next providers.Secret) (*Rotated, error) {
	done := &Rotated{Account: r.account.Name, Finished: true, Where: r.where()}
	if now.Equal(next) {
		r.clean(ctx)
		return nil, nil
	}
	if r.source == nil {
		return nil, nil
	}
	if !now.IsZero() {
		err := r.alive(ctx, now)
		if err == nil {
			r.clean(ctx)
			return nil, nil
		}
		if providers.KindOf(err) != providers.LoginRequired {
			return nil, err
		}
	}
	if err := r.alive(ctx, next); err != nil {
		if providers.KindOf(err) == providers.LoginRequired {
			r.clean(ctx)
		}
		return nil, err
	}
	if err := r.finish(ctx, nil, next); err != nil {
		return nil, err
	}
	return done, nil
}

// settleWait is how long a get waits for a rotation under way.
const settleWait = 5 * time.Second

// settleHere finishes, without asking anybody, a rotation that was interrupted
// after the new secret had become durable. It runs before a secret is read.
func (c *Core) settleHere(ctx context.Context, a providers.Account, ref providers.SecretRef) error {
	if !c.interrupted(ref) {
		return nil
	}
	r, err := c.localRotation(a)
	if err != nil || r.ref.String() != ref.String() {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, settleWait)
	defer cancel()
	unlock, err := config.Lock(limited, c.o.Saved.StateDir, r.lock())
	if err != nil {
		return nil // still under way: what there is counts
	}
	defer unlock()
	done, err := r.settle(ctx)
	if done != nil {
		r.note(done, nil)
	}
	return err
}

// settleAll asks for every interrupted rotation how it ended.
func (c *Core) settleAll(ctx context.Context) {
	if len(c.intentsOpen()) == 0 {
		return
	}
	for _, a := range c.state.Load().cfg.Accounts {
		ref, err := rotateRef(a)
		if err != nil || !c.interrupted(ref) || !c.maySettle(ref) {
			continue
		}
		r, err := c.newRotation(a, map[string]string{})
		if err == nil {
			err = r.settleOnce(ctx)
		}
		if err != nil {
			c.o.Log.Warn("an interrupted rotation is not settled", "account", a.Name, "err", err.Error())
		}
	}
}

func (r *rotation) settleOnce(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	unlock, err := config.Lock(limited, r.c.o.Saved.StateDir, r.lock())
	if err != nil {
		return nil // under way
	}
	defer unlock()
	done, err := r.settle(ctx)
	if done != nil {
		r.note(done, nil)
		r.c.replaced(r.ref, sourceKey{})
		r.c.o.Log.Info("an interrupted rotation was finished", "account", r.account.Name)
	}
	return err
}

// settleEvery is the least time between two questions about one rotation.
const settleEvery = time.Minute

// maySettle spaces the questions; one that is lost asks nothing any more.
func (c *Core) maySettle(ref providers.SecretRef) bool {
	in, err := c.readIntent(ref)
	if err != nil || in == nil || in.Step == stepLost {
		return false
	}
	if age := c.now().Sub(in.Begun); age >= 0 && age < settleAfter {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	id := rotationID(ref)
	if last, ok := c.settled[id]; ok && c.now().Sub(last) < settleEvery && !c.now().Before(last) {
		return false
	}
	c.settled[id] = c.now()
	return true
}

// loggedIn forgets a rotation that was lost: whoever logs in has answered it.
func (c *Core) loggedIn(ctx context.Context, st store.Store, name string) {
	ref := providers.SecretRef{Scheme: "keyring", Value: name}
	if in, err := c.readIntent(ref); err == nil && in != nil && in.Step == stepLost && st.Delete(ctx, name+nextSuffix) == nil {
		_ = os.Remove(c.intentPath(ref))
	}
}

// intentsOpen lists the ids of rotations that have not ended.
func (c *Core) intentsOpen() []string {
	entries, err := os.ReadDir(c.rotateDir())
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), ".json"); ok && filepath.Ext(id) == "" {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}
