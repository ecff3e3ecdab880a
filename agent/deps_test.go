// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

// opened returns the surroundings that the account's source was opened with.
func (r *rig) opened(name string) providers.Deps {
	r.t.Helper()
	r.Core.mu.Lock()
	defer r.Core.mu.Unlock()
	for _, src := range r.sources {
		if src.account.Name == name {
			return src.Source.(*testSource).d
		}
	}
	r.t.Fatalf("account %s is not open", name)
	return providers.Deps{}
}

func TestSavedSecretIsTakenUpByEveryOtherAccountThatLivesByIt(t *testing.T) {
	shared := providers.SecretRef{Scheme: "keyring", Value: "shared"}
	a, b, c := account("a", "a.example"), account("b", "b.example"), account("c", "c.example")
	a.Password, b.Password, c.Password = shared, shared, providers.SecretRef{Scheme: "keyring", Value: "own"}
	r := newRig(t, a, b, c)
	r.p.life = 0 // kept until something happens
	for name, v := range map[string]string{"shared": "old", "own": "mine"} {
		if err := r.mem.Set(t.Context(), name, providers.NewSecret(v)); err != nil {
			t.Fatal(err)
		}
	}
	r.want(nil, "a.example", api.OK, "old")
	r.want(nil, "b.example", api.OK, "old")
	r.want(nil, "c.example", api.OK, "mine")
	if err := r.opened("a").Save(t.Context(), shared, providers.NewSecret("new")); err != nil {
		t.Fatal(err)
	}
	if s, err := r.mem.Get(t.Context(), "shared"); err != nil || s.Reveal() != "new" {
		t.Fatalf("the store holds %v, %v", s.IsZero(), err)
	}
	mints := r.p.mints
	r.want(nil, "b.example", api.OK, "new")
	r.want(nil, "a.example", api.OK, "old") // it saved, so it knows
	r.want(nil, "c.example", api.OK, "mine")
	if got := r.p.mints - mints; got != 1 {
		t.Errorf("%d mints after the save, want that of b alone", got)
	}
}

// A source that saves while it mints must not be closed under its own feet:
// that would mint, and use up a secret, again and again.
func TestSaveWithinAMintMintsOnce(t *testing.T) {
	ref := providers.SecretRef{Scheme: "keyring", Value: "s"}
	a := account("a", "a.example")
	a.Password = ref
	r := newRig(t, a)
	if err := r.mem.Set(t.Context(), "s", providers.NewSecret("one")); err != nil {
		t.Fatal(err)
	}
	r.p.onMint = func(s *testSource) error {
		return s.d.Save(context.Background(), ref, providers.NewSecret("two"))
	}
	r.want(nil, "a.example", api.OK, "")
	r.want(nil, "a.example", api.OK, "")
	if r.p.mints != 1 {
		t.Errorf("%d mints", r.p.mints)
	}
}

func TestOnlyAKeyringReferenceTakesANewSecret(t *testing.T) {
	r := newRig(t, account("a", "a.example"))
	r.want(nil, "a.example", api.OK, "")
	for _, scheme := range []string{"env", "file", "exec", "job", ""} {
		err := r.opened("a").Save(t.Context(), providers.SecretRef{Scheme: scheme, Value: "/x"}, providers.NewSecret("n"))
		if providers.KindOf(err) != providers.Misconfigured {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}

func TestProvidersGetTheSurroundingsOfTheAgent(t *testing.T) {
	r := newRig(t, account("a", "a.example"))
	r.o.Home = "/home/u"
	r.want(nil, "a.example", api.OK, "")
	d := r.opened("a")
	if d.Home != "/home/u" || d.Log == nil || d.Now == nil || d.Resolve == nil || d.Env == nil {
		t.Errorf("%+v", d)
	}
	if _, err := d.Run(t.Context(), providers.Command{Path: "no-such-program"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("run: %v", err)
	}
	unlock, err := d.Lock(t.Context(), "n")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := d.Lock(ctx, "n"); providers.KindOf(err) != providers.Unavailable {
		t.Errorf("lock: %v", err)
	}
	unlock()
}
