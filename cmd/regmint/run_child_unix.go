// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"errors"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// forwarded are the signals a child gets from us.
func forwarded() []os.Signal {
	return []os.Signal{
		syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGCONT, syscall.SIGALRM,
	}
}

// fromTerminal: the kernel sends these to the whole foreground group of our
// terminal, whatever our streams are. Where that is ours, the child has it.
func fromTerminal(s os.Signal) bool {
	if s != syscall.SIGINT && s != syscall.SIGQUIT {
		return false
	}
	fd, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// ends: a process that does nothing about s ends.
func ends(s os.Signal) bool { return s != syscall.SIGCONT }

// catchPipe makes writes to a closed pipe fail; the child has its own fate.
func catchPipe(c chan<- os.Signal) { signal.Notify(c, syscall.SIGPIPE) }

// signalCode is the code a shell reports for a process that s has ended.
func signalCode(s os.Signal) int {
	if n, ok := s.(syscall.Signal); ok {
		return 128 + int(n)
	}
	return exitRunFailed
}

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
