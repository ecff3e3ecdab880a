// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
)

func TestLockIsHeldByOneAndFreeAfterwards(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	unlock, err := Lock(t.Context(), state, "sso corp")
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = Lock(ctx, state, "sso corp")
	if providers.KindOf(err) != providers.Unavailable || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a held lock was given: %v", err)
	}
	wantText(t, err.Error(), `another regmint still refreshes "sso corp"`)
	other, err := Lock(t.Context(), state, "sso corp2")
	must(t, err)
	other()
	unlock()
	unlock() // more than once is fine
	again, err := Lock(t.Context(), state, "sso corp")
	must(t, err)
	again()
}

// A waiter that gave up must not keep the lock when its turn comes.
func TestLockThatNobodyWaitsForAnyMoreIsFree(t *testing.T) {
	state := t.TempDir()
	unlock, err := Lock(t.Context(), state, "n")
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Lock(ctx, state, "n"); err == nil {
		t.Fatal("given twice")
	}
	unlock()
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	unlock, err = Lock(ctx, state, "n")
	must(t, err)
	unlock()
}

func TestLockNamesAreOfOneFileEachWhateverStandsInThem(t *testing.T) {
	state := t.TempDir()
	seen := map[string]bool{}
	for _, name := range []string{"a/b", "a_b", "../../x", "", strings.Repeat("long", 200), strings.Repeat("long", 201), "a\x00b", "A/B"} {
		unlock, err := Lock(t.Context(), state, name)
		must(t, err)
		defer unlock()
		file := lockName(name)
		if seen[strings.ToLower(file)] || filepath.Base(file) != file || len(file) > 100 {
			t.Errorf("%q: %q", name, file)
		}
		seen[strings.ToLower(file)] = true
		if _, err := os.Lstat(filepath.Join(state, "locks", file)); err != nil {
			t.Error(err)
		}
	}
}

func TestLockWithoutAStateDirectorySaysWhatToSet(t *testing.T) {
	_, err := Lock(t.Context(), "", "n")
	if e, ok := errors.AsType[*providers.Error](err); !ok || e.Kind != providers.Misconfigured || !strings.Contains(e.Hint, "REGMINT_STATE_DIR") {
		t.Errorf("%v", err)
	}
}

// Another process holds it, and is killed: the lock goes with it.
func TestLockGoesWithItsProcess(t *testing.T) {
	if state := os.Getenv("REGMINT_TEST_LOCK"); state != "" {
		if _, err := Lock(context.Background(), state, "n"); err != nil {
			os.Exit(3)
		}
		_, _ = os.Stdout.WriteString("held\n")
		select {}
	}
	state := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^TestLockGoesWithItsProcess$")
	child.Env = append(os.Environ(), "REGMINT_TEST_LOCK="+state)
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	if _, err := out.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Lock(ctx, state, "n"); err == nil {
		t.Fatal("two processes hold one lock")
	}
	must(t, child.Process.Kill())
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	unlock, err := Lock(ctx, state, "n")
	must(t, err)
	unlock()
}
