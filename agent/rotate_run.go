// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/agent/store"
	"github.com/regmint/regmint/providers"
)

// at marks a step; tests end the process there.
func (r *rotation) at(step string) {
	if r.c.failpoint != nil {
		r.c.failpoint(step)
	}
}

// run rotates. The lock is held and nothing is left of an earlier rotation.
func (r *rotation) run(ctx context.Context) (*Rotated, error) {
	old, err := r.current(ctx)
	if err != nil {
		return nil, err
	}
	if old.IsZero() {
		return nil, storeError(r.host, store.ErrNotFound)
	}
	in := r.newIntent(old)
	if err := r.c.writeIntent(r.ref, in); err != nil {
		return nil, err
	}
	r.at("intent")
	// What cannot take the old secret a second time would lose the new one.
	if err := r.put(ctx, r.next, old); err != nil {
		r.clean(ctx)
		return nil, err
	}
	r.at("rehearsed")
	rot, err := r.ask(ctx, old)
	if err == nil && (rot.Secret.IsZero() || rot.Secret.Equal(old)) {
		err = &providers.Error{Kind: providers.Unavailable, Host: r.host, Err: errors.New("the product answered without a new secret")}
	}
	if err != nil {
		return nil, r.refused(ctx, in, old, err)
	}
	r.at("answered")
	if err := r.insist(ctx, insistFor, func() error { return r.put(ctx, r.next, rot.Secret) }); err != nil {
		return nil, fmt.Errorf("the new secret of account %s could not be saved: %w", r.account.Name, err)
	}
	r.at("next")
	if err := r.finish(ctx, in, rot.Secret); err != nil {
		return nil, err
	}
	return &Rotated{Account: r.account.Name, ExpiresAt: rot.ExpiresAt, Where: r.where()}, nil
}

// ask asks the product, once.
func (r *rotation) ask(ctx context.Context, old providers.Secret) (rot providers.Rotated, err error) {
	ctx, cancel := context.WithTimeout(ctx, rotateLimit)
	defer cancel()
	defer r.rescue(&err)
	return r.source.Rotate(ctx, old)
}

func (r *rotation) alive(ctx context.Context, s providers.Secret) (err error) {
	ctx, cancel := context.WithTimeout(ctx, rotateLimit)
	defer cancel()
	defer r.rescue(&err)
	return r.source.Alive(ctx, s)
}

// rescue turns the panic of a provider into an answer that was lost.
func (r *rotation) rescue(err *error) {
	p := recover()
	if p == nil {
		return
	}
	if r.c.failpoint != nil {
		panic(p)
	}
	r.c.o.Log.Error("a provider failed", "provider", r.account.Provider, "panic", oneLine(fmt.Sprint(p)))
	*err = &providers.Error{Kind: providers.Unavailable, Host: r.host, Err: errors.New("provider " + r.account.Provider + " failed inside; the agent's log says more")}
}

// refused is the end of a rotation that brought nothing. A product that said no
// did nothing, if the old secret still lives; where its answer was lost, only
// time tells.
func (r *rotation) refused(ctx context.Context, in *intent, old providers.Secret, err error) error {
	if providers.KindOf(err) == providers.Unavailable {
		return &providers.Error{
			Kind: providers.Unavailable, Host: r.host, Err: fmt.Errorf("whether the secret was replaced is not known: %w", err),
			Hint: "in a minute run: regmint rotate " + r.host.String(),
		}
	}
	switch alive := r.alive(ctx, old); {
	case alive == nil:
		r.clean(ctx)
		return err
	case providers.KindOf(alive) == providers.LoginRequired:
		return r.lost(in)
	default:
		return err // the intent stays: the next one asks again whether it lives
	}
}

// The pace at which a store is tried that does not take a new secret: it is the
// only copy.
const (
	insistFor   = 10 * time.Minute
	insistBrief = 3 * time.Second // where the second name has it already
	insistFirst = 100 * time.Millisecond
	insistMost  = 15 * time.Second
)

func (r *rotation) insist(ctx context.Context, limit time.Duration, do func() error) error {
	err := do()
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for wait := insistFirst; err != nil; wait = min(2*wait, insistMost) {
		r.c.o.Log.Error("a new secret is not in its place yet; trying again", "account", r.account.Name, "err", err.Error())
		t := time.NewTimer(wait)
		select {
		case <-t.C:
			err = do()
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
	return nil
}

// finish puts the new secret, which the store has under its second name, where
// the account looks for it.
func (r *rotation) finish(ctx context.Context, in *intent, secret providers.Secret) error {
	if err := r.insist(ctx, insistBrief, func() error { return r.replace(ctx, in, secret) }); err != nil {
		return &providers.Error{
			Kind: providers.KindOf(err), Host: r.host, Err: fmt.Errorf("the new secret is safe, but not in its place yet: %w", err),
			Hint: "run again: regmint rotate " + r.host.String(),
		}
	}
	r.at("replaced")
	r.clean(ctx)
	return nil
}

// replace writes over the old secret, and over nothing else: somebody may have
// logged in meanwhile.
func (r *rotation) replace(ctx context.Context, in *intent, secret providers.Secret) error {
	now, err := r.current(ctx)
	if err != nil && r.name != "" {
		return err
	}
	switch {
	case now.Equal(secret):
		return nil
	case in != nil && !now.IsZero() && !in.isOld(now):
		r.c.o.Log.Warn("somebody logged in during a rotation; that login stays", "account", r.account.Name)
		return nil
	case r.name != "":
		return r.put(ctx, r.name, secret)
	}
	if err := config.Feed(ctx, r.c.o.ExecEnv, r.account.RotateTo, secret); err != nil {
		return err
	}
	back, err := r.current(ctx)
	if err != nil {
		return err
	}
	if !back.Equal(secret) {
		return &providers.Error{
			Kind: providers.Misconfigured, Host: r.host,
			Err: errors.New("rotate_to ended well, but " + r.ref.String() + " does not give the new secret"),
		}
	}
	return nil
}

// clean ends a rotation: the second name first, so that whatever has it is
// known to be a rotation's.
func (r *rotation) clean(ctx context.Context) {
	if err := r.store.Delete(ctx, r.next); err != nil {
		r.c.o.Log.Warn("what a rotation left is not removed yet", "account", r.account.Name, "err", err.Error())
		return // the intent stays: the next one tries again
	}
	r.at("cleaned")
	_ = os.Remove(r.c.intentPath(r.ref))
}

// lost keeps the intent until somebody logs in again: it says what happened.
func (r *rotation) lost(in *intent) error {
	if in.Step != stepLost {
		in.Step = stepLost
		if err := r.c.writeIntent(r.ref, in); err != nil {
			r.c.o.Log.Error("not written down", "err", err.Error())
		}
	}
	return in.lostError(r.host)
}

func (in *intent) lostError(h providers.Host) error {
	return &providers.Error{
		Kind: providers.LoginRequired, Host: h,
		Err:  errors.New("a rotation at " + in.Begun.Local().Format("2006-01-02 15:04") + " was interrupted: the old secret is dead and the new one never came"),
		Hint: "run: regmint login " + h.String(),
	}
}
