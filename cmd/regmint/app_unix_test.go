// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/regmint/regmint/agent/api"
)

// dyingAgent is an agent whose first connections end without an answer, as
// those of one that is being killed do.
func dyingAgent(t *testing.T, a *app, deaths int32) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "rm") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	paths := api.Paths{Runtime: dir, State: dir}
	a.paths = func() (api.Paths, error) { return paths, nil }
	l, err := net.Listen("unix", paths.MainSocket())
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) <= deaths {
			panic(http.ErrAbortHandler)
		}
		body := `{"outcome":"ok","config":"x"}`
		if r.URL.Path == "/v1/recent" {
			body = `[]`
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = w.Write([]byte(body))
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
}

func TestACommandOutlivesTheDeathOfTheAgentItAsks(t *testing.T) {
	for _, args := range [][]string{{"status"}, {"status", "--recent"}, {"refresh", "--all"}, {"check", "reg.example"}, {"agent", "start"}} {
		for deaths, want := range map[int32]int{openTries - 1: 0, 100: exitAgent} {
			a, _, errs := testApp(t)
			dyingAgent(t, a, deaths)
			root := a.rootCmd()
			root.SetArgs(args)
			err := root.ExecuteContext(t.Context())
			if code := exitCode(err); code != want {
				t.Errorf("%v, %d deaths: exit code %d: %v %s", args, deaths, code, err, errs)
			}
			if want != 0 && !strings.Contains(err.Error(), "the agent closed the connection") {
				t.Errorf("%v: %v", args, err)
			}
		}
	}
}

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
