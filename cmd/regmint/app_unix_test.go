// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"context"
	"os"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
)

func TestAnInterruptedCommandExitsWith130(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		c := &cobra.Command{RunE: command(func(ctx context.Context, _ []string) error {
			if err := syscall.Kill(os.Getpid(), sig); err != nil {
				t.Fatal(err)
			}
			<-ctx.Done()
			return ctx.Err()
		})}
		c.SilenceErrors, c.SilenceUsage = true, true
		c.SetArgs(nil)
		if code := exitCode(c.ExecuteContext(t.Context())); code != exitInterrupted {
			t.Errorf("%v: exit code %d", sig, code)
		}
	}
}

func TestDaemonSignals(t *testing.T) {
	done := make(chan string, 3)
	stop := serveSignals(func() { done <- "end" }, func() { done <- "reload" }, func() { done <- "drop" })
	defer stop()
	for _, c := range []struct {
		sig  syscall.Signal
		want string
	}{{syscall.SIGHUP, "reload"}, {syscall.SIGUSR1, "drop"}, {syscall.SIGTERM, "end"}, {syscall.SIGINT, "end"}} {
		if err := syscall.Kill(os.Getpid(), c.sig); err != nil {
			t.Fatal(err)
		}
		if got := <-done; got != c.want {
			t.Errorf("%v: %s", c.sig, got)
		}
	}
}
