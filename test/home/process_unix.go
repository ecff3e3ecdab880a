// SPDX-License-Identifier: Apache-2.0

//go:build unix

package home

import (
	"os"
	"syscall"
)

// ExitCode is what a shell says: 128+n for signal n.
func ExitCode(s *os.ProcessState) int {
	if ws, ok := s.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return s.ExitCode()
}
