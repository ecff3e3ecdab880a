// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/regmint/regmint/test/home"
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
	if err := home.Build(dir, "e2e", "cmd/regmint", "cmd/docker-credential-regmint"); err != nil {
		return 1, err
	}
	defer engine.stop()
	code := m.Run()
	return code, report.write()
}
