// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"time"

	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/providers"
)

// settle brings an interrupted rotation to its end, under the lock. It returns
// what it finished; nil where there was nothing, or nothing had happened. The
// old secret is never used for a rotation again before it is known to live.
func (r *rotation) settle(ctx context.Context) (*Rotated, error) {
	in, damaged := r.c.readIntent(r.ref)
	if damaged != nil {
		r.c.o.Log.Warn("what was written down about a rotation cannot be read; the product is asked how it ended", "account", r.account.Name, "err", damaged.Error())
	}
	next, err := r.kept(ctx, in)
	if err != nil || in == nil && next.IsZero() {
		return nil, err
	}
	now, err := r.current(ctx)
	if err != nil && (!r.unusable(err) || next.IsZero() || in.isOld(next)) {
		return nil, err // nothing is known, and nothing is forgotten
	}
	done := &Rotated{Account: r.account.Name, Finished: true, Where: r.where()}
	if in == nil || in.Step == stepDamaged {
		return r.settleUnknown(ctx, in, now, next, done)
	}
	if in.isOld(next) {
		next = providers.Secret{} // a rehearsal
	}
	switch {
	case !now.IsZero() && now.Equal(next): // all but written down
		r.done(done)
		r.clean(ctx)
		return done, nil
	case !now.IsZero() && !in.isOld(now) && (r.name != "" || next.IsZero()): // a login
		r.clean(ctx)
		return nil, nil
	case !next.IsZero():
		return done, r.finish(ctx, in, next, done)
	}
	return nil, r.settleOld(ctx, in, now)
}

// early is what to say while the request of an interrupted rotation may still
// be under way; nil: it is not.
func (r *rotation) early(in *intent) error {
	age := r.c.now().Sub(in.Begun)
	if in.Step == stepLost || age < 0 || age >= settleAfter {
		return nil
	}
	return &providers.Error{
		Kind: providers.Unavailable, Host: r.host, RetryAfter: settleAfter - age,
		Err:  errors.New("a rotation was interrupted, and its request may still be under way"),
		Hint: "in half a minute run: " + commandAt("rotate", r.host, r.account.Name),
	}
}

// settleOld asks whether the old secret lives: then nothing has happened.
func (r *rotation) settleOld(ctx context.Context, in *intent, old providers.Secret) error {
	if old.IsZero() { // logged out
		r.clean(ctx)
		return nil
	}
	if err := r.early(in); err != nil {
		return err
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

// settleUnknown deals with a rotation of which nothing is known: the state
// directory did not outlive the store, or what it says is damaged. The product
// knows which secret lives. in is nil where there is not even a file.
func (r *rotation) settleUnknown(ctx context.Context, in *intent, now, next providers.Secret, done *Rotated) (*Rotated, error) {
	if in != nil {
		if err := r.early(in); err != nil {
			return nil, err
		}
	}
	if now.IsZero() && next.IsZero() || in == nil && now.Equal(next) {
		r.clean(ctx)
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
	if next.IsZero() || now.Equal(next) {
		lost := r.newIntent(now)
		lost.Begun = in.Begun.UTC()
		return nil, r.lost(lost)
	}
	if err := r.alive(ctx, next); err != nil {
		if providers.KindOf(err) == providers.LoginRequired {
			r.clean(ctx)
		}
		return nil, err
	}
	if r.name == "" { // now is dead: nobody's login
		return done, r.finish(ctx, nil, next, done)
	}
	return done, r.finish(ctx, r.newIntent(now), next, done)
}

// settleWait is how long a get waits for a rotation under way.
const settleWait = 5 * time.Second

// settleHere answers, without asking anybody, for a secret whose rotation was
// interrupted: with the new one, where it has become durable. zero: what there
// is counts.
func (c *Core) settleHere(ctx context.Context, a providers.Account, ref providers.SecretRef) (providers.Secret, error) {
	if !c.interrupted(ref) {
		return providers.Secret{}, nil
	}
	r, err := c.localRotation(a)
	if err != nil || config.RefKey(r.ref) != config.RefKey(ref) {
		return providers.Secret{}, nil
	}
	unlock := r.lockWithin(ctx, settleWait)
	if unlock == nil {
		return providers.Secret{}, nil // still under way
	}
	defer unlock()
	return r.settleLocal(ctx)
}

// lockEvery is how often a lock is tried that is not waited for in the kernel's
// queue: a rotation may hold it for long, and gets come and go.
const lockEvery = 50 * time.Millisecond

// lockWithin is nil where the lock is not free in time.
func (r *rotation) lockWithin(ctx context.Context, limit time.Duration) (unlock func()) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(lockEvery)
	defer tick.Stop()
	for {
		unlock, err := config.TryLock(r.c.o.Saved.StateDir, r.lock())
		if err != nil || unlock != nil {
			return unlock
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// settleLocal is settle as far as it goes without the product. It runs no
// program either: a get is not the time for it.
func (r *rotation) settleLocal(ctx context.Context) (providers.Secret, error) {
	in, damaged := r.c.readIntent(r.ref)
	if in == nil || damaged != nil {
		return providers.Secret{}, nil
	}
	next, err := r.kept(ctx, in)
	if err != nil {
		return providers.Secret{}, nil // the caller finds the same, or needs no store
	}
	if in.isOld(next) {
		next = providers.Secret{} // a rehearsal
	}
	now, err := r.current(ctx)
	switch {
	case err != nil && !r.unusable(err), r.name != "" && now.IsZero():
		return providers.Secret{}, nil // the caller finds the same
	case r.name != "" && !in.isOld(now): // in its place, or a login
		if now.Equal(next) {
			r.done(&Rotated{})
		}
		r.clean(ctx)
		return now, nil
	case !next.IsZero() && (now.IsZero() || in.isOld(now)):
		if r.name != "" && r.put(ctx, r.store, r.name, next) == nil {
			r.done(&Rotated{})
			r.clean(ctx)
		}
		return next, nil // in its place or not: it is durable
	case in.Step == stepLost && in.isOld(now):
		return providers.Secret{}, in.lostError(r.host)
	}
	return providers.Secret{}, nil // the old one is tried: the registry knows
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
	unlock := r.lockWithin(ctx, time.Second)
	if unlock == nil {
		return nil // under way
	}
	defer unlock()
	done, err := r.settle(ctx)
	if done != nil && err == nil {
		r.c.replaced(r.ref, sourceKey{})
		r.c.o.Log.Info("an interrupted rotation was finished", "account", r.account.Name)
	}
	return err
}

// settleEvery is the least time between two questions about one rotation.
const settleEvery = time.Minute

// maySettle spaces the questions; one that is lost asks nothing any more.
func (c *Core) maySettle(ref providers.SecretRef) bool {
	in, _ := c.readIntent(ref)
	if in == nil || in.Step == stepLost {
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
