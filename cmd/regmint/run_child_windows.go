// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"syscall"
)

func forwarded() []os.Signal { return []os.Signal{os.Interrupt} }

// fromTerminal: the console sends Ctrl-C to every process on it.
func fromTerminal(s os.Signal) bool { return s == os.Interrupt }

func ends(os.Signal) bool { return true }

func catchPipe(chan<- os.Signal) {}

func signalCode(os.Signal) int { return exitInterrupted }

func terminates(os.Signal) bool { return false }

func isExecFormat(err error) bool {
	const badExeFormat = syscall.Errno(193) // ERROR_BAD_EXE_FORMAT
	return errors.Is(err, badExeFormat)
}

func exitCodeOf(s *os.ProcessState) int { return s.ExitCode() }

func helperName() string { return "docker-credential-regmint.exe" }
