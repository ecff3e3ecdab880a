// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/agent/store"
	"github.com/regmint/regmint/providers"
)

// lockable is a keychain that is locked in the middle.
type lockable struct {
	store.Store
	locked bool
}

var errKeychainLocked = errors.New("the keychain is locked")

func (l *lockable) Get(ctx context.Context, n string) (providers.Secret, error) {
	if l.locked {
		return providers.Secret{}, errKeychainLocked
	}
	return l.Store.Get(ctx, n)
}

func (l *lockable) Set(ctx context.Context, n string, s providers.Secret) error {
	if l.locked {
		return errKeychainLocked
	}
	return l.Store.Set(ctx, n, s)
}

func (l *lockable) Delete(ctx context.Context, n string) error {
	if l.locked {
		return errKeychainLocked
	}
	return l.Store.Delete(ctx, n)
}

// keychainRig is a rig whose store is a keychain with an encrypted file beside.
func keychainRig(t *testing.T) (*rotRig, *lockable, mapStore) {
	r := newRotRig(t)
	chain, file := &lockable{Store: r.store}, mapStore{}
	r.open = func(cfg *config.Config) (store.Store, error) {
		if cfg.Agent.Store == store.KindFile {
			return file, nil
		}
		return chain, nil
	}
	return r, chain, file
}

func TestAKeychainThatIsLockedInTheMiddleCostsNoSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, chain, file := keychainRig(t)
		r.kill = func(step string) {
			if step == "answered" {
				chain.locked = true
			}
		}
		_, err := r.process().Rotate(t.Context(), r.account, nil)
		if err == nil || !strings.Contains(err.Error(), "safe") || file[r.second()].Reveal() != "t1" {
			t.Fatalf("%v, the file has %q", err, file[r.second()].Reveal())
		}
		r.kill = func(string) {}
		chain.locked = false // and the machine was started anew
		if resp := r.process().Get(t.Context(), nil, &api.GetRequest{Key: "reg.example"}); resp.Secret != "t1" {
			t.Fatalf("get: %+v", resp)
		}
		if r.secret().Reveal() != "t1" || len(file) > 0 || len(r.left()) > 0 || r.product.asks != 1 {
			t.Fatalf("secret %s, file %v, left %v", r.secret().Reveal(), file, r.left())
		}
	})
}

// The encrypted file may be locked with a passphrase: it is nobody's business
// unless it was needed.
func TestALockedFileBesideAKeychainStopsNoRotation(t *testing.T) {
	t.Parallel()
	r, _, file := keychainRig(t)
	open := r.open
	r.open = func(cfg *config.Config) (store.Store, error) {
		if cfg.Agent.Store == store.KindFile {
			return &lockable{Store: file, locked: true}, nil
		}
		return open(cfg)
	}
	if _, err := r.process().Rotate(t.Context(), r.account, nil); err != nil || r.secret().Reveal() != "t1" || len(r.left()) > 0 {
		t.Fatalf("%v, secret %s, left %v", err, r.secret().Reveal(), r.left())
	}
}

// Where nothing takes it the new secret is held as long as the process lives.
func TestANewSecretIsHeldUntilSomethingTakesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, chain, file := keychainRig(t)
		refusals := 0
		full := &refusing{Store: file, refuse: func() bool { refusals++; chain.locked = refusals < 2000; return chain.locked }}
		open := r.open
		r.open = func(cfg *config.Config) (store.Store, error) {
			if cfg.Agent.Store == store.KindFile {
				return full, nil
			}
			return open(cfg)
		}
		r.kill = func(step string) { chain.locked = chain.locked || step == "answered" }
		if _, err := r.process().Rotate(t.Context(), r.account, nil); err != nil || r.secret().Reveal() != "t1" || refusals < 2000 {
			t.Fatalf("%v, secret %s after %d refusals", err, r.secret().Reveal(), refusals)
		}
	})
}

func TestAKeyInJSONIsPutWhereOneLineGoes(t *testing.T) {
	t.Parallel()
	r := newRotRig(t)
	r.product.answer = func(string) string { return "{\n  \"key\": \"a b\"\n}\n" }
	if _, err := r.process().Rotate(t.Context(), r.account, nil); err != nil || r.secret().Reveal() != `{"key":"a b"}` {
		t.Errorf("%v, secret %q", err, r.secret().Reveal())
	}
}

type refusing struct {
	store.Store
	refuse func() bool
}

func (f *refusing) Set(ctx context.Context, n string, s providers.Secret) error {
	if f.refuse() {
		return errors.New("no space left on device")
	}
	return f.Store.Set(ctx, n, s)
}

// forgetful says that it has written, and has not.
type forgetful struct{ store.Store }

func (forgetful) Set(context.Context, string, providers.Secret) error { return nil }

func TestAStoreThatKeepsNothingIsNoticedBeforeTheProductIsAsked(t *testing.T) {
	t.Parallel()
	r := newRotRig(t)
	r.open = func(*config.Config) (store.Store, error) { return forgetful{r.store}, nil }
	if _, err := r.process().Rotate(t.Context(), r.account, nil); err == nil || r.product.asks != 0 || len(r.left()) > 0 {
		t.Fatalf("%v, %d asks, left %v", err, r.product.asks, r.left())
	}
}
