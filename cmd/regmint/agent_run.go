// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/regmint/regmint/agent"
	"github.com/regmint/regmint/agent/api"
)

func newAgentRunCmd(a *app) *cobra.Command {
	readyFD := -1
	c := &cobra.Command{
		Use:   "run",
		Short: "be the agent, in the foreground",
		Long: `Be the agent, in the foreground. TERM and INT end it, HUP makes it read its
configuration again, USR1 makes it forget every credential in memory.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.agentRun(c.Context(), readyFD) },
	}
	c.Flags().IntVar(&readyFD, "ready-fd", -1, "descriptor that gets a byte when the agent answers")
	_ = c.Flags().MarkHidden("ready-fd")
	return c
}

// agentRun serves until a signal, a request or idleness ends it.
func (a *app) agentRun(ctx context.Context, readyFD int) error {
	if _, inJob, _ := a.findJob(); inJob {
		return errInsideJob()
	}
	hardening := harden()
	level, err := a.env.LogLevel()
	if err != nil {
		return misconfigured(err)
	}
	paths, err := a.paths()
	if err != nil {
		return err
	}
	if err := paths.Ensure(); err != nil {
		return err
	}
	f, err := a.files()
	if err != nil {
		return err
	}
	exe, err := a.executable()
	if err != nil {
		return err
	}
	if readyFD >= 0 {
		boundLog(paths.AgentLog())
	}
	log := slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level}))
	if hardening != nil { // a sandbox may forbid it: no reason not to serve
		log.Warn("memory is less protected than it should be", "err", hardening.Error())
	}
	ready := func() {
		if readyFD < 0 {
			return
		}
		if err := api.NotifyReady(readyFD); err != nil {
			log.Warn("the starter was not told that the agent answers", "err", err.Error())
		}
	}
	ag, err := agent.New(agent.Options{
		Core: a.coreOptions(f, a.storeOpener(f, false, log), log), Paths: paths, Executable: exe, PID: os.Getpid(), Log: log, Ready: ready,
		Rotate: func(ctx context.Context, account string) error {
			_, err := a.rotateApart(ctx, rotateOrder{Account: account})
			return err
		},
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := serveSignals(cancel, ag.Reload, ag.DropAll)
	defer stop()
	return ag.Run(ctx)
}

// maxLog is where the log of a background agent begins anew.
const maxLog = 8 << 20

// boundLog empties a log that has grown too long. Our own stderr goes on at its
// new end, since it was opened for appending.
func boundLog(path string) {
	if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && info.Size() > maxLog {
		_ = os.Truncate(path, 0)
	}
}
