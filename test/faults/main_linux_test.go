// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
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

// build makes programs of this module.
func build(dir, version string, programs ...string) error {
	args := []string{"build", "-ldflags", "-X github.com/regmint/regmint/agent/api.BuildVersion=" + version, "-o", dir + "/"}
	cgo := "CGO_ENABLED=0"
	if os.Getenv("REGMINT_RACE") != "" {
		args, cgo = append(args, "-race"), "CGO_ENABLED=1"
	}
	for _, p := range programs {
		args = append(args, "github.com/regmint/regmint/"+p)
	}
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return os.Chmod(dir, 0o755)
}
