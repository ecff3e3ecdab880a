// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package terminal

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// Run skips the test.
func Run(t testing.TB, cmd *exec.Cmd, _ time.Duration, _ ...Line) (string, error) {
	t.Helper()
	t.Skipf("%q needs a terminal, which these tests make on Linux alone; run them there", cmd.Args)
	return "", nil
}

// Open skips the test.
func Open(t testing.TB) (person *os.File, device string) {
	t.Helper()
	t.Skip("terminals are made on Linux alone; run it there")
	return nil, ""
}
