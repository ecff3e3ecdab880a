// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/store"
)

// stopLimit is how long an agent has to give up its socket.
const stopLimit = 10 * time.Second

func newAgentCmd(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "agent",
		Short: "the background agent: it starts by itself, and ends when there is nothing to do",
		Args:  cobra.NoArgs,
	}
	c.AddCommand(
		&cobra.Command{
			Use: "start", Short: "start the agent", Args: cobra.NoArgs,
			RunE: command(func(ctx context.Context, _ []string) error { return a.agentStart(ctx) }),
		},
		newAgentStopCmd(a), newAgentRestartCmd(a), newAgentRunCmd(a), newAgentLogsCmd(a), newAgentRotateCmd(a),
		&cobra.Command{
			Use: "keyring", Short: "one call to the keychain, for regmint itself", Hidden: true, Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error {
				if code := store.KeyringChild(c.Context(), a.in, a.out); code != 0 {
					return &exitStatus{code: code}
				}
				return nil
			},
		},
	)
	return c
}

// agentStart asks again where it met an agent that was just ending: then there
// is none, or the next one.
func (a *app) agentStart(ctx context.Context) error {
	connect := func(ctx context.Context) (*api.Client, error) { return a.connectMain(ctx, true) }
	return again(ctx, connect, func(c *api.Client) error { return a.sayAgent(ctx, c) })
}

func (a *app) sayAgent(ctx context.Context, c *api.Client) error {
	var st api.Status
	if err := call(ctx, c, "GET", "/v1/status", nil, &st); err != nil {
		return err
	}
	a.sawVersion(st.Version)
	a.say("agent %s runs, pid %d, %s", st.Version, st.PID, st.Socket)
	return nil
}

func newAgentStopCmd(a *app) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use: "stop", Short: "stop the agent", Args: cobra.NoArgs,
		RunE: command(func(ctx context.Context, _ []string) error {
			running, err := a.agentStop(ctx, force)
			switch {
			case err != nil:
				return err
			case running:
				a.say("agent stopped")
			default:
				a.say("no agent is running")
			}
			return nil
		}),
	}
	c.Flags().BoolVar(&force, "force", false, "even if jobs are open: they end")
	return c
}

// agentStop reports whether there was one.
func (a *app) agentStop(ctx context.Context, force bool) (running bool, err error) {
	c, err := a.connectMain(ctx, false)
	if errors.Is(err, api.ErrNoAgent) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer c.Close()
	if err := a.leave(ctx, c, "/v1/agent/stop", api.HostRequest{Force: force}); err != nil {
		return true, err
	}
	return true, a.socketFree(ctx)
}

// leave asks an agent to go: it may be gone before its answer is read.
func (a *app) leave(ctx context.Context, c *api.Client, path string, in any) error {
	a.versionSaid = true // it goes: its version is no news
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	var r api.Reply
	err := c.Call(ctx, "POST", path, in, &r)
	if _, ok := errors.AsType[*api.StatusError](err); ok {
		return err
	}
	if err == nil && r.Outcome != api.OK {
		return outcomeError(r.Outcome, r.Kind, r.Message)
	}
	return ctx.Err()
}

// socketFree waits until no agent answers.
func (a *app) socketFree(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := a.connectMain(ctx, false)
		switch {
		case err == nil:
			_ = c.Close()
		case errors.Is(err, api.ErrNoAgent):
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return agentError(fmt.Errorf("the agent still answers after %s", span(stopLimit)))
		}
	}
}

func newAgentRestartCmd(a *app) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use: "restart", Short: "start a new agent; open jobs go on with the old one until they end", Args: cobra.NoArgs,
		RunE: command(func(ctx context.Context, _ []string) error { return a.agentRestart(ctx, force) }),
	}
	c.Flags().BoolVar(&force, "force", false, "end open jobs")
	return c
}

func (a *app) agentRestart(ctx context.Context, force bool) error {
	f, err := a.files()
	if err != nil {
		return err
	}
	if _, err := a.loader(f)(true); err != nil { // the new agent would not start: leave the old one alone
		return err
	}
	c, err := a.connectMain(ctx, false)
	switch {
	case errors.Is(err, api.ErrNoAgent):
		return a.agentStart(ctx)
	case err != nil:
		return err
	}
	var st api.Status
	_ = call(ctx, c, "GET", "/v1/status", nil, &st) // an old agent may answer otherwise: only a count is lost
	path, in := "/v1/agent/handover", api.HostRequest{}
	if force {
		path, in = "/v1/agent/stop", api.HostRequest{Force: true}
	}
	err = a.leave(ctx, c, path, in)
	_ = c.Close()
	if err != nil {
		return err
	}
	if err := a.socketFree(ctx); err != nil {
		return err
	}
	a.versionSaid = false
	if n := len(st.Jobs); n > 0 && !force {
		a.say("%s with the old agent", count(n, "job goes on", "jobs go on"))
	}
	return a.agentStart(ctx)
}

func newAgentLogsCmd(a *app) *cobra.Command {
	var lines int
	c := &cobra.Command{
		Use: "logs", Short: "print the end of the log of agents started in the background", Args: cobra.NoArgs,
		RunE: command(func(context.Context, []string) error {
			paths, err := a.paths()
			if err != nil {
				return err
			}
			text, err := tail(paths.AgentLog(), lines)
			if errors.Is(err, os.ErrNotExist) {
				a.say("there is no log yet: %s", paths.AgentLog())
				return nil
			}
			if err != nil {
				return err
			}
			return a.print("%s", text)
		}),
	}
	c.Flags().IntVarP(&lines, "lines", "n", 100, "how many lines")
	return c
}
