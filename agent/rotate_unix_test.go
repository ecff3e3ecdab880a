// SPDX-License-Identifier: Apache-2.0

//go:build unix

package agent

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

// fileRig is an account whose secret is in a file that rotate_to writes.
func fileRig(t *testing.T, script string) (*rotRig, string) {
	t.Helper()
	r := newRotRig(t)
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("t0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.account.Password = providers.SecretRef{Scheme: "file", Value: path}
	r.account.RotateTo = providers.SecretRef{Scheme: "exec", Value: "/bin/sh", Args: []string{"-c", script, "sh", path}}
	return r, path
}

func fileText(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func (r *rotRig) clean() bool {
	for n := range r.store.mapStore {
		if n != "reg.example" {
			return false
		}
	}
	return len(r.process().intentsOpen()) == 0
}

func TestRotateToTakesTheNewSecretAndGivesItBack(t *testing.T) {
	r, path := fileRig(t, `/bin/cat > "$1"`)
	done, err := r.process().Rotate(t.Context(), r.account, nil)
	if err != nil || fileText(t, path) != "t1" || !r.clean() || !strings.HasPrefix(done.Where, "file:") {
		t.Fatalf("%+v %v, file %q", done, err, fileText(t, path))
	}
}

func TestRotateToIsRunAgainAfterAKill(t *testing.T) {
	r, path := fileRig(t, `/bin/cat > "$1"`)
	r.kill = func(step string) {
		if step == "next" {
			panic(killed{step})
		}
	}
	if !live(func() { _, _ = r.process().Rotate(t.Context(), r.account, nil) }) || fileText(t, path) != "t0" {
		t.Fatal("not killed before the file was written")
	}
	r.kill = func(string) {}
	done, err := r.process().Rotate(t.Context(), r.account, nil)
	if err != nil || !done.Finished || fileText(t, path) != "t1" || r.product.asks != 1 || !r.clean() {
		t.Fatalf("%+v %v, file %q, %d asks", done, err, fileText(t, path), r.product.asks)
	}
}

func TestARotateToThatFailsKeepsTheNewSecretSafe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, path := fileRig(t, `s=$(cat); echo "no room for $s" >&2; exit 1`)
		c := r.process()
		_, err := c.Rotate(t.Context(), r.account, nil)
		if err == nil || !strings.Contains(err.Error(), "safe") || strings.Contains(err.Error(), "t1") || r.store.mapStore[nextPrefix+rotationID(r.account.Password)].Reveal() != "t1" {
			t.Fatalf("%v", err)
		}
		r.account.RotateTo.Args[1] = `/bin/cat > "$1"`
		done, err := r.process().Rotate(t.Context(), r.account, nil)
		if err != nil || !done.Finished || fileText(t, path) != "t1" || r.product.asks != 1 || !r.clean() {
			t.Fatalf("%+v %v, file %q", done, err, fileText(t, path))
		}
	})
}

func TestASecretThatCannotBeReadIsNoReasonToForgetARotation(t *testing.T) {
	t.Parallel()
	r, path := fileRig(t, `/bin/cat > "$1"`)
	program := filepath.Join(t.TempDir(), "read")
	script := func(text string) {
		if err := os.WriteFile(program, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	script("cat " + path)
	r.account.Password = providers.SecretRef{Scheme: "exec", Value: program}
	r.product.lose = func() (bool, bool) { return false, true }
	_, err := r.process().Rotate(t.Context(), r.account, nil)
	if providers.KindOf(err) != providers.Unavailable {
		t.Fatal(err)
	}
	r.product.lose, r.now = nil, time2040
	script("echo vault is sealed >&2; exit 1")
	r.process().settleAll(t.Context())
	if _, err := r.process().Rotate(t.Context(), r.account, nil); providers.KindOf(err) != providers.Unavailable || len(r.process().intentsOpen()) != 1 {
		t.Fatalf("%v, open %v", err, r.process().intentsOpen())
	}
	script("cat " + path)
	if _, err := r.process().Rotate(t.Context(), r.account, nil); providers.KindOf(err) != providers.LoginRequired || r.product.reuses > 0 {
		t.Fatalf("%v, %d reuses", err, r.product.reuses)
	}
}

// What a file or program gives may be a copy that is behind: it costs nobody the
// new secret. One that lives was put there by somebody, and stays.
func TestACopyThatIsBehindGivesWayAndOneThatLivesStays(t *testing.T) {
	t.Parallel()
	for _, lives := range []bool{false, true} {
		for _, killedThere := range []bool{false, true} {
			r, path := fileRig(t, `/bin/cat > "$1"`)
			r.product.alive["other"] = lives
			if !lives {
				delete(r.product.alive, "other")
			}
			r.kill = func(step string) {
				if step == "next" {
					if err := os.WriteFile(path, []byte("other\n"), 0o600); err != nil {
						t.Fatal(err)
					}
					if killedThere {
						panic(killed{step})
					}
				}
			}
			live(func() { _, _ = r.process().Rotate(t.Context(), r.account, nil) })
			r.kill = func(string) {}
			if killedThere {
				if _, err := r.process().Rotate(t.Context(), r.account, nil); err != nil {
					t.Fatal(err)
				}
			}
			want := "t1"
			if lives {
				want = "other"
			}
			if got := fileText(t, path); got != want || !r.clean() || r.product.reuses > 0 {
				t.Errorf("lives %v, killed %v: the file has %q", lives, killedThere, got)
			}
		}
	}
}

// rotate_to may have failed, and clients go on: the new secret is durable.
func TestAGetHasTheNewSecretBeforeRotateToHas(t *testing.T) {
	t.Parallel()
	r, path := fileRig(t, `/bin/cat > "$1"`)
	r.kill = func(step string) {
		if step == "next" {
			panic(killed{step})
		}
	}
	live(func() { _, _ = r.process().Rotate(t.Context(), r.account, nil) })
	r.kill = func(string) {}
	c := r.process()
	for range 2 {
		if resp := c.Get(t.Context(), nil, &api.GetRequest{Key: "reg.example"}); resp.Secret != "t1" || fileText(t, path) != "t0" {
			t.Fatalf("get: %+v, file %q", resp, fileText(t, path))
		}
	}
	r.now = time2040
	c.settleAll(t.Context())
	if resp := c.Get(t.Context(), nil, &api.GetRequest{Key: "reg.example"}); resp.Secret != "t1" || fileText(t, path) != "t1" || !r.clean() {
		t.Fatalf("get: %+v, file %q", resp, fileText(t, path))
	}
}

func TestRotateToPrograms(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"fails after it has stored":      `/bin/cat > "$1"; exit 1`,
		"prints the secret":              `s=$(cat); echo "$s" > "$1"; echo "$s"; echo "$s" >&2`,
		"prints a lot":                   `/bin/cat > "$1.new"; i=0; while [ $i -lt 3000 ]; do echo "a line that is forty characters in length"; i=$((i+1)); done; mv "$1.new" "$1"`,
		"leaves a daemon with its pipes": `/bin/cat > "$1"; sleep 600 & echo $! > "$1.pid"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, path := fileRig(t, script)
			done, err := r.process().Rotate(t.Context(), r.account, nil)
			if pid, perr := os.ReadFile(path + ".pid"); perr == nil {
				n, _ := strconv.Atoi(strings.TrimSpace(string(pid)))
				defer func() { _ = syscall.Kill(n, syscall.SIGKILL) }()
			}
			if err != nil || fileText(t, path) != "t1" || !r.clean() {
				t.Fatalf("%+v %v, file %q", done, err, fileText(t, path))
			}
		})
	}
}

func TestARotateToThatWasKilledWhileItWroteIsRunAgain(t *testing.T) {
	t.Parallel()
	r, path := fileRig(t, `/bin/cat > "$1"`)
	r.kill = func(step string) {
		if step == "next" {
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
			panic(killed{step})
		}
	}
	live(func() { _, _ = r.process().Rotate(t.Context(), r.account, nil) })
	r.kill = func(string) {}
	if done, err := r.process().Rotate(t.Context(), r.account, nil); err != nil || !done.Finished || fileText(t, path) != "t1" || !r.clean() {
		t.Fatalf("%+v %v, file %q", done, err, fileText(t, path))
	}
}

func TestRecordsOfOthersAreNotRead(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("it takes root to give a file away")
	}
	r := newRotRig(t)
	c := r.process()
	mustDo(t, os.MkdirAll(c.rotateDir(), 0o700))
	writeText(t, c.intentPath(r.account.Password), `{"schema":1,"account":"ci","host":"reg.example","begun":"2026-01-01T00:00:00Z","step":"lost","salt":"00","old":"0000000000000000"}`)
	mustDo(t, os.Chown(c.intentPath(r.account.Password), 4242, 4242))
	if in, damaged := c.readIntent(r.account.Password); damaged == nil || in.Step != stepDamaged {
		t.Fatalf("%+v %v", in, damaged)
	}
}
