// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/regmint/regmint/providers"
)

// memoryKeyring is a keyring that may refuse.
type memoryKeyring map[string]string

func (m memoryKeyring) Get(_ context.Context, name string) (providers.Secret, error) {
	if s, ok := m[name]; ok {
		return providers.NewSecret(s), nil
	}
	return providers.Secret{}, &providers.Error{Kind: providers.LoginRequired, Err: errors.New("no such secret")}
}

func ref(t *testing.T, s string, args ...string) providers.SecretRef {
	t.Helper()
	r, err := providers.ParseSecretRef(s)
	must(t, err)
	r.Args = args
	return r
}

func resolveOK(t *testing.T, r Resolver, ref providers.SecretRef) string {
	t.Helper()
	s, err := r.Resolve(t.Context(), ref)
	if err != nil {
		t.Fatalf("%v: %v", ref, err)
	}
	return s.Reveal()
}

// resolveFails returns the error, which must be *providers.Error of the kind.
func resolveFails(t *testing.T, r Resolver, ref providers.SecretRef, kind providers.Kind) string {
	t.Helper()
	s, err := r.Resolve(t.Context(), ref)
	if err == nil {
		t.Fatalf("%v gave %d bytes", ref, len(s.Reveal()))
	}
	e, ok := errors.AsType[*providers.Error](err)
	if !ok || e.Kind != kind {
		t.Errorf("%v: kind %v, want %v: %v", ref, providers.KindOf(err), kind, err)
	}
	if strings.ContainsAny(err.Error(), "\n\r\x00\x1b") {
		t.Errorf("unfit for people: %q", err)
	}
	return err.Error()
}

func TestReferencesAreResolvedByScheme(t *testing.T) {
	r := Resolver{Env: MapEnv(map[string]string{"TOKEN": "from-env"}), Keyring: memoryKeyring{"reg": "from-keyring"}}
	if got := resolveOK(t, r, ref(t, "env:TOKEN")); got != "from-env" {
		t.Errorf("env: %q", got)
	}
	if got := resolveOK(t, r, ref(t, "keyring:reg")); got != "from-keyring" {
		t.Errorf("keyring: %q", got)
	}
	for text, want := range map[string]string{"s\n": "s", "s\r\n": "s", "s": "s", " s ": " s ", "-----BEGIN KEY-----\nx\n": "-----BEGIN KEY-----\nx", "{\n}\n": "{\n}", "# age-keygen\nAGE-SECRET-KEY-1X\n": "# age-keygen\nAGE-SECRET-KEY-1X"} {
		path := write(t, filepath.Join(t.TempDir(), "secret"), text)
		if got := resolveOK(t, r, ref(t, "file:"+path)); got != want {
			t.Errorf("file with %q: %q", text, got)
		}
	}
}

// H11: a missing source is named, and is no "no account".
func TestMissingVariableIsNamed(t *testing.T) {
	for _, env := range []Env{nil, MapEnv(nil), MapEnv(map[string]string{"CI_TOKEN": ""})} {
		wantText(t, resolveFails(t, Resolver{Env: env}, ref(t, "env:CI_TOKEN"), providers.Misconfigured), "CI_TOKEN is not set")
	}
	resolveFails(t, Resolver{Keyring: memoryKeyring{}}, ref(t, "keyring:x"), providers.LoginRequired)
	resolveFails(t, Resolver{}, ref(t, "keyring:x"), providers.Misconfigured)
	resolveFails(t, Resolver{}, providers.SecretRef{}, providers.Misconfigured)
}

func TestSecretFilesAreRegularSmallAndOneLine(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	for name, c := range map[string]struct{ path, want string }{
		"missing":   {filepath.Join(dir, "none"), "no such file"},
		"directory": {dir, "is a directory"},
		"device":    {os.DevNull, "not a regular file"},
		"large":     {write(t, filepath.Join(dir, "large"), strings.Repeat("x", 64<<10+1)), "larger than 64 KiB"},
		"empty":     {write(t, filepath.Join(dir, "empty"), "\n"), "is empty"},
		"two lines": {write(t, filepath.Join(dir, "two"), "hunter2\nhunter3\n"), "line end"},
		"lone CR":   {write(t, filepath.Join(dir, "cr"), "hunter2\rhunter3"), "line end"},
		"NUL":       {write(t, filepath.Join(dir, "nul"), "hunter2\x00"), "NUL"},
		"PEM NUL":   {write(t, filepath.Join(dir, "pem"), "-----BEGIN \x00"), "NUL"},
	} {
		t.Run(name, func(t *testing.T) {
			got := resolveFails(t, Resolver{}, ref(t, "file:"+c.path), providers.Misconfigured)
			wantText(t, got, c.want, c.path)
			if strings.Contains(got, "hunter") {
				t.Errorf("repeats the secret: %s", got)
			}
		})
	}
	t.Run("fifo", func(t *testing.T) {
		mkfifo(t, fifo)
		wantText(t, resolveFails(t, Resolver{}, ref(t, "file:"+fifo), providers.Misconfigured), "named pipe")
	})
}

func TestJobReferencesComeFromTheCallerAlone(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "secret"), "agent's")
	r := Resolver{
		Env:      MapEnv(map[string]string{"TOKEN": "agent's"}),
		Resolved: map[string]string{"env:TOKEN": "caller's", `exec:/bin/x "a b"`: "ran"},
		Keyring:  memoryKeyring{"reg": "saved"},
	}
	if got := resolveOK(t, r, ref(t, "env:TOKEN")); got != "caller's" {
		t.Errorf("env: %q", got)
	}
	if got := resolveOK(t, r, ref(t, "exec:/bin/x", "a b")); got != "ran" {
		t.Errorf("exec: %q", got)
	}
	if got := resolveOK(t, r, ref(t, "keyring:reg")); got != "saved" {
		t.Errorf("keyring: %q", got)
	}
	wantText(t, resolveFails(t, r, ref(t, "file:"+path), providers.Misconfigured), "not resolved when the job was opened")
	resolveFails(t, r, ref(t, "exec:/bin/x", "a", "b"), providers.Misconfigured)
	resolveFails(t, Resolver{Resolved: map[string]string{}}, ref(t, "env:PATH"), providers.Misconfigured)
}

func TestRefKeysOfDifferentProgramsDiffer(t *testing.T) {
	seen := map[string]bool{}
	for _, args := range [][]string{nil, {"a b"}, {"a", "b"}, {`a" "b`}, {""}, {"", ""}, {"a\nb"}} {
		key := RefKey(providers.SecretRef{Scheme: "exec", Value: "/bin/x", Args: args})
		if seen[key] || strings.Contains(key, "\n") {
			t.Errorf("%q twice", key)
		}
		seen[key] = true
	}
}

func TestAllReferencesOfAJobAreResolvedOnce(t *testing.T) {
	c, err := loadText(`
[[account]]
hosts = ["r.app.example"]
password = "env:A"
inner = { token = "env:B" }
[[account]]
hosts = ["b.example"]
password = "env:A"
rotate_to = "exec:/never/run"
[[account]]
hosts = ["c.example"]
password = "keyring:x"
`, Policy{})
	must(t, err)
	got, err := Resolver{Env: MapEnv(map[string]string{"A": "1", "B": "2"})}.ResolveAll(t.Context(), c.Accounts)
	if err != nil || len(got) != 2 || got["env:A"].Reveal() != "1" || got["env:B"].Reveal() != "2" {
		t.Errorf("%v %v", got, err)
	}
	if _, err := (Resolver{}).ResolveAll(t.Context(), c.Accounts); err == nil {
		t.Error("a missing variable went unnoticed")
	}
}
