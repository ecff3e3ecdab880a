// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"errors"
	"os"
	"syscall"
)

// forwarded are the signals a child gets from us.
func forwarded() []os.Signal {
	return []os.Signal{
		syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGCONT, syscall.SIGALRM,
	}
}

// fromTerminal: the kernel sends these to the whole foreground group.
func fromTerminal(s os.Signal) bool { return s == syscall.SIGINT || s == syscall.SIGQUIT }

func terminates(s os.Signal) bool { return s == syscall.SIGTERM }

func isExecFormat(err error) bool { return errors.Is(err, syscall.ENOEXEC) }

// exitCodeOf is the code a shell would report.
func exitCodeOf(s *os.ProcessState) int {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}

func helperName() string { return "docker-credential-regmint" }
