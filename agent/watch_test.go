// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

// A program that is run for a token, and a session that is renewed, write the
// files that tell of another login.
func TestFileThatASourceWritesItselfCallsForNoNewMint(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "session.json")
	r := newRig(t)
	r.amb.watches = []string{file}
	r.amb.onMint = func(*testSource) error { return os.WriteFile(file, []byte(time.Now().String()), 0o600) }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := r.startWatching(ctx); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for _, p := range []string{"dev", "prod"} { // each writes what the other reads
			if resp := r.as(p); resp.Outcome != api.OK {
				t.Fatalf("%+v", resp)
			}
		}
		time.Sleep(3 * settle)
	}
	if n := r.amb.mintCount(); n != 2 {
		t.Errorf("%d mints for two identities", n)
	}
	r.amb.setMint(nil)
	if err := os.WriteFile(file, []byte("another login"), 0o600); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); r.amb.mintCount() < 4 && time.Now().Before(end); time.Sleep(settle) {
		r.as("dev")
		r.as("prod")
	}
	if n := r.amb.mintCount(); n != 4 {
		t.Errorf("%d mints after another program has logged in, want one more for each identity", n)
	}
}

// A script pulls, logs in as somebody else and pushes, all within a moment.
func TestLoginRightAfterAMintIsSomebodyElse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	r := newRig(t)
	r.amb.watches = []string{file}
	r.amb.onMint = func(*testSource) error { return os.WriteFile(file, []byte("renewed"), 0o600) }
	if resp := r.as("dev"); resp.Outcome != api.OK {
		t.Fatalf("%+v", resp)
	}
	changed := func(f string) bool { return f == file }
	r.inputsChanged(changed) // what the watcher tells of the mint itself
	r.as("dev")
	if n := r.amb.mintCount(); n != 1 {
		t.Errorf("%d mints: the source's own file called for another", n)
	}
	if err := os.WriteFile(file, []byte("somebody else"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.inputsChanged(changed)
	r.as("dev")
	if n := r.amb.mintCount(); n != 2 {
		t.Errorf("%d mints: the credential of who was logged in before lives on", n)
	}
}

func TestChangeOfOneFileConcernsItsReadersAlone(t *testing.T) {
	a, b := account("a", "a.example"), account("b", "b.example")
	dir := t.TempDir()
	for i, acc := range []*providers.Account{&a, &b} {
		acc.Password = providers.SecretRef{Scheme: "file", Value: filepath.Join(dir, string(rune('a'+i)))}
		if err := os.WriteFile(acc.Password.Value, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := newRig(t, a, b)
	r.want(nil, "a.example", api.OK, "old")
	r.want(nil, "b.example", api.OK, "old")
	// At once: nobody but a person writes it.
	if err := os.WriteFile(a.Password.Value, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.inputsChanged(func(f string) bool { return changedBy(map[string]bool{a.Password.Value: true}, f) })
	r.want(nil, "a.example", api.OK, "new")
	r.want(nil, "b.example", api.OK, "old")
	if n := r.p.mintCount(); n != 3 {
		t.Errorf("%d mints, want 3", n)
	}
	r.inputsChanged(func(f string) bool { return changedBy(map[string]bool{dir: true}, f) })
	r.want(nil, "b.example", api.OK, "old")
	if n := r.p.mintCount(); n != 4 {
		t.Errorf("%d mints after a change of the directory, want 4", n)
	}
}

func TestChangeOfOneFileLeavesTheFailuresOfOthersKnown(t *testing.T) {
	a, b, c := account("a", "a.example"), account("b", "b.example"), account("c", "c.example")
	dir := t.TempDir()
	for i, acc := range []*providers.Account{&a, &b} {
		acc.Password = providers.SecretRef{Scheme: "file", Value: filepath.Join(dir, string(rune('a'+i)))}
	}
	c.Provider = "cloud"
	r := newRig(t, a, b, c)
	r.p.err = &providers.Error{Kind: providers.LoginRequired, Err: errors.New("x")}
	r.amb.openErr = r.p.err // nobody knows what it reads
	hosts := []string{"a.example", "b.example", "c.example"}
	for _, h := range hosts {
		r.want(nil, h, api.Failed, "")
	}
	r.inputsChanged(func(f string) bool { return f == a.Password.Value })
	var failing []string
	for _, st := range r.Status(nil).Accounts {
		if st.State != "idle" {
			failing = append(failing, st.Name)
		}
	}
	if !slices.Equal(failing, []string{"b"}) {
		t.Errorf("known to fail: %q", failing)
	}
}

// Without the watcher: a login that another tool renews counts at once.
func TestLoginThatAnotherToolRenewsWorksAtTheVeryNextGet(t *testing.T) {
	file := filepath.Join(t.TempDir(), "session.json")
	r := newRig(t)
	r.amb.watches = []string{file}
	r.amb.err = &providers.Error{Kind: providers.LoginRequired, Err: errors.New("the session is over")}
	for range 3 {
		if resp := r.as("dev"); resp.Outcome != api.Failed {
			t.Fatalf("%+v", resp)
		}
	}
	if n := r.amb.mintCount(); n != 1 {
		t.Errorf("%d mints: the failure was not remembered", n)
	}
	r.amb.err = nil
	if err := os.WriteFile(file, []byte("renewed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if resp := r.as("dev"); resp.Outcome != api.OK {
		t.Errorf("%+v", resp)
	}
}
