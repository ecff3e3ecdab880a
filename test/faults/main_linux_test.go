// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/regmint/regmint/test/home"
)

// built has the binaries of this run: regmint, its helper and the test client;
// next/ has regmint and the helper as another version.
var built string

const (
	version     = "v0.0.1-faults"
	nextVersion = "v0.0.2-faults"
)

// full asks for the sizes of a night.
var full = os.Getenv("REGMINT_FULL") != ""

// size is the number of times something is done.
func size(commit, night int) int {
	if full {
		return night
	}
	return commit
}

func TestMain(m *testing.M) {
	flag.Parse()
	if p := flag.Lookup("test.parallel"); p.Value.String() == fmt.Sprint(runtime.GOMAXPROCS(0)) {
		_ = p.Value.Set("8") // what is parallel here waits
	}
	// What nohup or a shell's & made us ignore, our children would ignore too:
	// handlers are not inherited.
	for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT} {
		if signal.Ignored(sig) {
			signal.Notify(make(chan os.Signal, 1), sig)
		}
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("/tmp", "rmb")
	if err == nil {
		defer os.RemoveAll(dir)
		built = dir
		// Other users run them too.
		err = os.Chmod(dir, 0o755)
	}
	if err == nil {
		err = build(dir, version, "cmd/regmint", "cmd/docker-credential-regmint", "test/faults/client")
	}
	if err == nil {
		err = build(filepath.Join(dir, "next"), nextVersion, "cmd/regmint", "cmd/docker-credential-regmint")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		return 1
	}
	return m.Run()
}

// build makes programs that other users run, too.
func build(dir, version string, programs ...string) error {
	if err := home.Build(dir, version, programs...); err != nil {
		return err
	}
	return os.Chmod(dir, 0o755)
}
