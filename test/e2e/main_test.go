// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// bin is the directory of the built binaries, root that of the repository.
var bin, root string

func TestMain(m *testing.M) {
	flag.Parse()
	if p := flag.Lookup("test.parallel"); p.Value.String() == fmt.Sprint(runtime.GOMAXPROCS(0)) {
		_ = p.Value.Set("4") // some of them wait for tokens to end
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// run builds once and ends what tests share.
func run(m *testing.M) (int, error) {
	_, file, _, _ := runtime.Caller(0)
	root = filepath.Join(filepath.Dir(file), "..", "..")
	dir, err := os.MkdirTemp("/tmp", "rmbin")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	// Another user's programs are run from here, too.
	if err := os.Chmod(dir, 0o755); err != nil {
		return 1, err
	}
	bin = dir
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w -X github.com/regmint/regmint/agent/api.BuildVersion=e2e",
		"-o", dir+"/", "./cmd/regmint", "./cmd/docker-credential-regmint")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("building the binaries: %w\n%s", err, out)
	}
	defer engine.stop()
	code := m.Run()
	return code, report.write()
}
