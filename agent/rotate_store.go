// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/regmint/regmint/agent/store"
	"github.com/regmint/regmint/providers"
)

// current is the secret as the account has it; zero where there is none.
func (r *rotation) current(ctx context.Context) (providers.Secret, error) {
	if r.name != "" {
		return r.item(ctx, r.store, r.name)
	}
	s, err := r.c.plainResolver(r.account, r.env, nil)(ctx, r.ref)
	if e, ok := errors.AsType[*providers.Error](err); ok && e.Host.IsZero() {
		own := *e
		own.Host, err = r.host, &own
	}
	return s, err
}

// unusable reports an error that says what a file or program gives: nothing, or
// half a secret, as a program leaves it that was killed while it wrote. Where it
// cannot be asked at all nothing is known.
func (r *rotation) unusable(err error) bool {
	return r.name == "" && providers.KindOf(err) == providers.Misconfigured
}

// item reads a store; zero where it has no such item.
func (r *rotation) item(ctx context.Context, st store.Store, name string) (providers.Secret, error) {
	s, err := st.Get(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return providers.Secret{}, nil
	}
	if err != nil {
		return s, storeError(r.host, err)
	}
	return s, nil
}

// put writes an item and reads it back.
func (r *rotation) put(ctx context.Context, st store.Store, name string, s providers.Secret) error {
	if err := st.Set(ctx, name, s); err != nil {
		return storeError(r.host, err)
	}
	back, err := r.item(ctx, st, name)
	if err != nil {
		return err
	}
	if !back.Equal(s) {
		return &providers.Error{Kind: providers.Unavailable, Host: r.host, Err: errors.New(st.Describe() + " does not give back what was written to it")}
	}
	return nil
}

// spare is the encrypted file where the store is another one: it takes the only
// copy of a new secret where a keychain stops answering in the middle. nil:
// there is none.
func (r *rotation) spare() store.Store {
	cfg := *r.c.state.Load().cfg
	if cfg.Agent.Store == store.KindFile {
		return nil
	}
	cfg.Agent.Store = store.KindFile
	st, err := r.c.o.Store(&cfg)
	if err != nil {
		return nil
	}
	return st
}

// keep makes the only copy of a new secret durable, wherever that can be done.
func (r *rotation) keep(ctx context.Context, in *intent, secret providers.Secret) error {
	spare := r.spare()
	return r.insist(ctx, insistFor, func() error {
		err := r.put(ctx, r.store, r.next, secret)
		if err == nil || spare == nil {
			return err
		}
		in.Spare = true
		if r.c.writeIntent(r.ref, in) == nil && r.put(ctx, spare, r.next, secret) == nil {
			r.c.o.Log.Error("the store did not take a new secret; the encrypted file keeps it until it does", "account", r.account.Name, "err", err.Error())
			return nil
		}
		return err
	})
}

// kept is the new secret under its second name, or the old one of a rehearsal;
// zero where there is none.
func (r *rotation) kept(ctx context.Context, in *intent) (providers.Secret, error) {
	s, err := r.item(ctx, r.store, r.next)
	spare := r.usedSpare(in)
	if spare == nil {
		return s, err
	}
	other, oerr := r.item(ctx, spare, r.next)
	switch {
	case oerr != nil && err == nil && in.Spare:
		return s, oerr // the store has no more than a rehearsal
	case oerr != nil || other.IsZero():
		return s, err
	}
	return other, nil
}

// usedSpare is spare where the rotation of in may have put something there.
func (r *rotation) usedSpare(in *intent) store.Store {
	if in == nil || !in.Spare && in.Step != stepDamaged {
		return nil
	}
	return r.spare()
}

// clean ends a rotation: the second name first, so that whatever has it is
// known to be a rotation's.
func (r *rotation) clean(ctx context.Context) {
	in, _ := r.c.readIntent(r.ref)
	err := r.store.Delete(ctx, r.next)
	if spare := r.usedSpare(in); spare != nil && err == nil {
		if err = spare.Delete(ctx, r.next); !in.Spare {
			err = nil
		}
	}
	if err != nil {
		r.c.o.Log.Warn("what a rotation left is not removed yet", "account", r.account.Name, "err", err.Error())
		return // the intent stays: the next one tries again
	}
	r.at("cleaned")
	_ = os.Remove(r.c.intentPath(r.ref))
}

// The pace at which a store is tried that does not take a new secret: it is the
// only copy.
const (
	insistFor   = 24 * time.Hour
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
