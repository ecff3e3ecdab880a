// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/configdir"
	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/all"
)

// Streams are the standard streams of one run of the command line.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// app is one run of the command line with its surroundings; tests replace
// them.
type app struct {
	in       io.Reader
	out, err io.Writer
	// isTerminal says whether one of the three streams is a terminal.
	isTerminal func(stream any) bool
	// noEcho turns the echo of the terminal behind in off until restore.
	noEcho func(in io.Reader) (restore func(), err error)

	env       config.Env
	environ   func() []string
	providers []providers.Provider
	// executable is the absolute path of this program.
	executable func() (string, error)
	now        func() time.Time
	paths      func() (api.Paths, error)
	findJob    func() (api.JobRef, bool, error)

	scryptWork  int // of a passphrase: store.Options
	versionSaid bool
	// started is set once a command has accepted its arguments: errors before
	// that are errors of usage.
	started bool
}

func newApp(s Streams) *app {
	a := &app{
		in: s.In, out: s.Out, err: s.Err,
		isTerminal: isTerminal,
		env:        config.Process(),
		environ:    config.Environ,
		providers:  all.List(),
		executable: os.Executable,
		now:        time.Now,
		paths:      api.DefaultPaths,
		findJob:    api.FindJob,
	}
	a.noEcho = terminalWithoutEcho
	return a
}

// Main runs the command line and returns its exit code.
func Main(args []string, s Streams) int {
	return newApp(s).main(context.Background(), args)
}

func (a *app) main(ctx context.Context, args []string) int {
	root := a.rootCmd()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && !a.started {
		err = &exitStatus{code: exitUsage, err: err}
	}
	return a.report(err)
}

// interruptible ends the returned context on INT and TERM. Commands that pass
// signals on (run) or have their own meaning for them (agent run) do without.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
}

// command is the RunE of a command that a person may interrupt.
func command(run func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		ctx, stop := interruptible(c.Context())
		defer stop()
		err := run(ctx, args)
		if err != nil && ctx.Err() != nil && c.Context().Err() == nil {
			return &exitStatus{code: exitInterrupted}
		}
		return err
	}
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// lookup is the value of an environment variable, "" where it is unset.
func (a *app) lookup(name string) string {
	v, _ := a.env(name)
	return v
}

// caller is the person's side of things for configdir.
func (a *app) caller() configdir.Caller {
	return configdir.Caller{Lookup: a.env, Home: a.env.Home(), UID: os.Getuid()}
}
