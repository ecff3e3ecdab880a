// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

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
	// A dead secret is never used for a rotation: another machine may have
	// rotated it, and the product would kill what that one got.
	if _, err := r.plan(ctx, old); err != nil {
		return nil, r.notBegun(err)
	}
	if err := r.alive(ctx, old); err != nil {
		return nil, r.notBegun(err)
	}
	in := r.newIntent(old)
	if err := r.c.writeIntent(r.ref, in); err != nil {
		return nil, err
	}
	r.at("intent")
	// What cannot take the old secret a second time would lose the new one.
	if err := r.put(ctx, r.store, r.next, old); err != nil {
		r.clean(ctx)
		return nil, err
	}
	r.at("rehearsed")
	rot, err := r.ask(ctx, old)
	if rot.Secret = storable(rot.Secret); err == nil && (rot.Secret.IsZero() || rot.Secret.Equal(old)) {
		err = &providers.Error{Kind: providers.Unavailable, Host: r.host, Err: errors.New("the product answered without a new secret")}
	}
	if err != nil {
		return nil, r.refused(ctx, in, old, err)
	}
	r.at("answered")
	if err := r.keep(ctx, in, rot.Secret); err != nil {
		return nil, fmt.Errorf("the new secret of account %s could not be saved: %w", r.account.Name, err)
	}
	r.at("next")
	done := &Rotated{Account: r.account.Name, ExpiresAt: rot.ExpiresAt, Where: r.where()}
	return done, r.finish(ctx, in, rot.Secret, done)
}

// storable is a secret as stores keep it, a JSON key on one line; zero where none
// does.
func storable(s providers.Secret) providers.Secret {
	text := s.Reveal()
	if !strings.ContainsAny(text, "\n\r\x00") {
		return s
	}
	var line bytes.Buffer
	if strings.HasPrefix(strings.TrimSpace(text), "{") && json.Compact(&line, []byte(text)) == nil {
		return providers.NewSecret(line.String())
	}
	return providers.Secret{}
}

// notBegun is an old secret that cannot be used to ask.
func (r *rotation) notBegun(err error) error {
	if providers.KindOf(err) != providers.LoginRequired {
		return err
	}
	return &providers.Error{
		Kind: providers.LoginRequired, Host: r.host,
		Err:  fmt.Errorf("the present secret is dead already (another machine may have rotated it): %w", err),
		Hint: "run: " + commandAt("login", r.host, r.account.Name),
	}
}

// plan asks the product what a rotation would do.
func (r *rotation) plan(ctx context.Context, old providers.Secret) (p providers.RotationPlan, err error) {
	ctx, cancel := context.WithTimeout(ctx, rotateLimit)
	defer cancel()
	defer r.rescue(&err)
	return r.source.RotationPlan(ctx, old)
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
			Hint: "in a minute run: " + commandAt("rotate", r.host, r.account.Name),
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

// finish puts the new secret, which the store has under its second name, where
// the account looks for it, and writes down that it is done.
func (r *rotation) finish(ctx context.Context, in *intent, secret providers.Secret, done *Rotated) error {
	if err := r.insist(ctx, insistBrief, func() error { return r.replace(ctx, in, secret) }); err != nil {
		return &providers.Error{
			Kind: providers.KindOf(err), Host: r.host, Err: fmt.Errorf("the new secret is safe, but not in its place yet: %w", err),
			Hint: "run again: " + commandAt("rotate", r.host, r.account.Name),
		}
	}
	r.at("replaced")
	r.done(done)
	r.clean(ctx)
	return nil
}

// replace writes over the old secret, and over nothing else: somebody may have
// logged in meanwhile.
func (r *rotation) replace(ctx context.Context, in *intent, secret providers.Secret) error {
	now, err := r.current(ctx)
	if err != nil && !r.unusable(err) {
		return err
	}
	if now.Equal(secret) {
		return nil
	}
	if in != nil && !now.IsZero() && !in.isOld(now) {
		if stays, err := r.stays(ctx, now); stays || err != nil {
			return err
		}
	}
	if r.name != "" {
		return r.put(ctx, r.store, r.name, secret)
	}
	return r.feed(ctx, secret)
}

// stays reports a secret that is neither old nor new, and is to stay. A login
// always is. What a file or program gives may be a copy that is behind: it is
// only if it lives.
func (r *rotation) stays(ctx context.Context, now providers.Secret) (bool, error) {
	if r.name == "" {
		err := r.alive(ctx, now)
		if providers.KindOf(err) == providers.LoginRequired {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	r.c.o.Log.Warn("somebody put another secret there during a rotation; it stays", "account", r.account.Name)
	return true, nil
}

// feed has the program of rotate_to take the new secret, and sees whether the
// account has it then: a program that failed may have done its work before.
func (r *rotation) feed(ctx context.Context, secret providers.Secret) error {
	fed := config.Feed(ctx, r.c.o.ExecEnv, r.account.RotateTo, secret)
	back, err := r.current(ctx)
	switch {
	case err == nil && back.Equal(secret):
		return nil
	case fed != nil:
		return fed
	case err != nil:
		return err
	}
	return &providers.Error{
		Kind: providers.Misconfigured, Host: r.host,
		Err: errors.New("rotate_to ended well, but " + r.ref.String() + " does not give the new secret"),
	}
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
		Hint: "run: " + commandAt("login", h, in.Account),
	}
}
