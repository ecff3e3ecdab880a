// SPDX-License-Identifier: Apache-2.0

//go:build unix

package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

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
}
