// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/store"
	"github.com/regmint/regmint/providers"
)

func TestRotationReplacesTheSecretAndWhatWasMintedFromIt(t *testing.T) {
	r := newRotRig(t)
	c := r.process()
	get := func(want string) {
		t.Helper()
		if resp := c.Get(t.Context(), nil, &api.GetRequest{Key: "reg.example"}); resp.Secret != want {
			t.Fatalf("got %+v, want %s", resp, want)
		}
	}
	get("t0")
	done, err := c.Rotate(t.Context(), r.account, nil)
	if err != nil || done.Finished || r.secret().Reveal() != "t1" || len(r.left()) > 0 {
		t.Fatalf("%+v %v, secret %s, left %v", done, err, r.secret().Reveal(), r.left())
	}
	get("t1")
}

func TestARotationWhoseAnswerWasLostSaysWhatHappened(t *testing.T) {
	r := newRotRig(t)
	r.product.lose = func() (bool, bool) { return false, true }
	if _, err := r.process().Rotate(t.Context(), r.account, nil); providers.KindOf(err) != providers.Unavailable {
		t.Fatalf("lost answer: %v", err)
	}
	if _, err := r.process().Rotate(t.Context(), r.account, nil); providers.KindOf(err) != providers.Unavailable || r.product.asks != 1 {
		t.Fatalf("at once again: %v, %d asks", err, r.product.asks)
	}
	r.now = r.now.Add(time.Minute)
	r.product.down = true
	if _, err := r.process().Rotate(t.Context(), r.account, nil); providers.KindOf(err) != providers.Unavailable || len(r.left()) == 0 {
		t.Fatalf("without network: %v, left %v", err, r.left())
	}
	r.product.down = false
	r.process().settleAll(t.Context())
	resp := r.process().Get(t.Context(), nil, &api.GetRequest{Key: "reg.example"})
	if resp.Kind != string(providers.LoginRequired) || !strings.Contains(resp.Message, "rotation at") || !strings.Contains(resp.Message, "regmint login reg.example") {
		t.Fatalf("get: %+v", resp)
	}
	c := r.process()
	r.product.alive["mine"] = true
	if reply := c.Store(t.Context(), nil, api.Login{ServerURL: "reg.example", Username: "ci", Secret: "mine"}); reply.Outcome != api.OK {
		t.Fatalf("store: %+v", reply)
	}
	if resp := c.Get(t.Context(), nil, &api.GetRequest{Key: "reg.example"}); resp.Secret != "mine" {
		t.Fatalf("after the login: %+v", resp)
	}
	if left := r.left(); len(left) > 0 || r.product.reuses > 0 {
		t.Fatalf("left %v, %d reuses", left, r.product.reuses)
	}
}

func TestALoginDuringARotationStays(t *testing.T) {
	r := newRotRig(t)
	r.kill = func(step string) {
		if step == "next" {
			r.store.mapStore["reg.example"] = providers.NewSecret("mine")
		}
	}
	if _, err := r.process().Rotate(t.Context(), r.account, nil); err != nil || r.secret().Reveal() != "mine" || len(r.left()) > 0 {
		t.Fatalf("%v, secret %s, left %v", err, r.secret().Reveal(), r.left())
	}
}

func TestAnIntentHoldsNoSecret(t *testing.T) {
	r := newRotRig(t)
	secret := "glpat-0123456789abcdefghij"
	r.product.alive[secret] = true
	r.store.mapStore["reg.example"] = providers.NewSecret(secret)
	r.kill = func(step string) {
		if step == "next" {
			panic(killed{step})
		}
	}
	live(func() { _, _ = r.process().Rotate(t.Context(), r.account, nil) })
	files, _ := filepath.Glob(filepath.Join(r.state, "rotate", "*"))
	if len(files) != 1 {
		t.Fatalf("files %v", files)
	}
	data, err := os.ReadFile(files[0])
	info, _ := os.Stat(files[0])
	if err != nil || strings.Contains(string(data), secret) || strings.Contains(string(data), "t1") || info.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
		t.Fatalf("%v %v %s", err, info.Mode(), data)
	}
}

func TestRotationsAtOnceAskTheProductOnce(t *testing.T) {
	r := newRotRig(t)
	gate, asked := make(chan struct{}), make(chan struct{}, 8)
	r.kill = func(step string) {
		switch step {
		case "asked":
			asked <- struct{}{}
		case "served":
			<-gate
		}
	}
	var wg sync.WaitGroup
	errs := make([]error, 8)
	shared := make([]bool, 8)
	cores := make([]*Core, 8)
	for i := range cores {
		cores[i] = r.process()
	}
	for i := range cores {
		wg.Go(func() {
			done, err := cores[i].Rotate(t.Context(), r.account, nil)
			shared[i], errs[i] = done.Shared, err
		})
	}
	for range cores {
		<-asked
	}
	r.later(time.Second)
	close(gate)
	wg.Wait()
	if err := errors.Join(errs...); err != nil || r.asks() != 1 || r.secret().Reveal() != "t1" {
		t.Fatalf("%v, %d asks, secret %s", err, r.asks(), r.secret().Reveal())
	}
	if n := len(slices.DeleteFunc(shared, func(b bool) bool { return !b })); n != 7 {
		t.Fatalf("%d say that another one rotated", n)
	}
}

func TestRotationIsRefusedWhereNoNewSecretCanBePut(t *testing.T) {
	for scheme, part := range map[string]string{"env": "variable", "file": "does not write", "exec": "does not write"} {
		r := newRotRig(t)
		r.account.Password = providers.SecretRef{Scheme: scheme, Value: "/x"}
		_, err := r.process().Rotate(t.Context(), r.account, map[string]string{"/x": "t0"})
		if providers.KindOf(err) != providers.Misconfigured || !strings.Contains(err.Error(), part) || r.product.asks != 0 {
			t.Errorf("%s: %v", scheme, err)
		}
	}
	r := newRotRig(t)
	r.account.Provider = "generic"
	if _, err := r.process().Rotate(t.Context(), r.account, nil); providers.KindOf(err) != providers.Misconfigured {
		t.Errorf("a product without rotation: %v", err)
	}
}

func TestAStoreThatTakesNothingIsNoticedBeforeTheProductIsAsked(t *testing.T) {
	r := newRotRig(t)
	c := r.process()
	c.state.Load().store = fullStore{r.store}
	if _, err := c.Rotate(t.Context(), r.account, nil); err == nil || r.product.asks != 0 || !slices.Equal(r.left(), nil) {
		t.Fatalf("%v, %d asks, left %v", err, r.product.asks, r.left())
	}
}

type fullStore struct{ store.Store }

func (fullStore) Set(context.Context, string, providers.Secret) error {
	return errors.New("disk full")
}
