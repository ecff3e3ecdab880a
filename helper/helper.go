// SPDX-License-Identifier: Apache-2.0

// Package helper is the Docker credential helper: it reads one request from
// stdin, asks the agent, and answers in the words of the protocol.
package helper

import (
	"io"
)

// Main runs the helper and returns its exit code, 0 or 1. args are os.Args:
// the program's name picks an account or soft failures.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int { return 1 }
