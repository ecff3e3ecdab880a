// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The hardening cannot be taken back, so a process of its own gets it.
func TestTheAgentCannotBeDumpedOrDebugged(t *testing.T) {
	if os.Getenv("HARDEN_TEST") != "" {
		if err := harden(); err != nil {
			t.Fatal(err)
		}
		dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		var core unix.Rlimit
		errCore := unix.Getrlimit(unix.RLIMIT_CORE, &core)
		if err != nil || dumpable != 0 || errCore != nil || core.Cur != 0 || core.Max != 0 || unix.Umask(0o077) != 0o077 {
			t.Fatalf("dumpable %d (%v), core %+v (%v)", dumpable, err, core, errCore)
		}
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTheAgentCannotBeDumpedOrDebugged$", "-test.v")
	cmd.Env = append(os.Environ(), "HARDEN_TEST=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Fatalf("%v\n%s", err, out)
	}
}
