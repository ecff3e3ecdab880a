// SPDX-License-Identifier: Apache-2.0

// Package home is what tests that run the built programs have in common: a
// person with a HOME and an environment of their own, so that nothing of this
// machine's configuration reaches the programs.
package home

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Patience bounds every wait: for a command, for something to come true.
const Patience = 60 * time.Second

// Home is a person's.
type Home struct {
	T   testing.TB
	Dir string
	Env map[string]string
}

// Path is a file in it.
func (h Home) Path(elem ...string) string {
	return filepath.Join(append([]string{h.Dir}, elem...)...)
}

// Write makes a file in it, mode 0600, and returns its path.
func (h Home) Write(name, text string) string {
	h.T.Helper()
	path := h.Path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		h.T.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.T.Fatal(err)
	}
	return path
}

// Read returns a file of it, "" where there is none.
func (h Home) Read(name string) string {
	h.T.Helper()
	b, err := os.ReadFile(h.Path(name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.T.Fatal(err)
	}
	return string(b)
}

// Environ is Env as exec wants it, with more set (NAME=value).
func (h Home) Environ(more ...string) []string {
	env := maps.Clone(h.Env)
	for _, kv := range more {
		name, value, _ := strings.Cut(kv, "=")
		env[name] = value
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}

// Find is a program on the person's own PATH.
func (h Home) Find(name string) string {
	h.T.Helper()
	if strings.Contains(name, "/") {
		return name
	}
	for _, dir := range filepath.SplitList(h.Env["PATH"]) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	h.T.Fatalf("%s is not on the PATH", name)
	return ""
}

// Input is a pipe that holds all there is to read: a machine under load may not
// let us write within the time that a helper waits. It is closed when nobody
// refers to it.
func (h Home) Input(text string) *os.File {
	h.T.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		h.T.Fatal(err)
	}
	defer w.Close()
	if len(text) > 32<<10 {
		h.T.Fatalf("%d bytes do not fit into a pipe", len(text))
	}
	if _, err := w.WriteString(text); err != nil {
		h.T.Fatal(err)
	}
	return r
}

// Eventually waits until something is true.
func (h Home) Eventually(what string, ok func() bool) {
	h.T.Helper()
	for end := time.Now().Add(Patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	h.T.Fatalf("never: %s", what)
}

// Build makes programs of this module (cmd/regmint) in dir, as releases are
// made: without cgo. With REGMINT_RACE set they have the race detector.
func Build(dir, version string, programs ...string) error {
	args, cgo := []string{"build", "-trimpath", "-ldflags", "-s -w -X github.com/regmint/regmint/agent/api.BuildVersion=" + version, "-o", dir + "/"}, "CGO_ENABLED=0"
	if os.Getenv("REGMINT_RACE") != "" {
		args, cgo = append(args, "-race"), "CGO_ENABLED=1"
	}
	for _, p := range programs {
		if !strings.Contains(p, ".") { // else it is another module's
			p = "github.com/regmint/regmint/" + p
		}
		args = append(args, p)
	}
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}
