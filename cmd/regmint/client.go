// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

// connect reaches the agent that answers here: the job's where we are in one
// (nothing else is tried then), else the user's, which is started where it does
// not run.
func (a *app) connect(ctx context.Context) (*api.Client, error) {
	job, inJob, err := a.findJob()
	if inJob {
		return a.connectJob(ctx, job, err)
	}
	if err != nil {
		return nil, agentError(err)
	}
	return a.connectUser(ctx, true)
}

// connectMain reaches the user's agent; inside a job it refuses. start says
// whether one may be started.
func (a *app) connectMain(ctx context.Context, start bool) (*api.Client, error) {
	if _, inJob, _ := a.findJob(); inJob {
		return nil, errInsideJob()
	}
	return a.connectUser(ctx, start)
}

func errInsideJob() error {
	return &providers.Error{Kind: providers.Denied, Err: errors.New("not inside a job"), Hint: "run it outside of regmint run"}
}

func (a *app) connectUser(ctx context.Context, start bool) (*api.Client, error) {
	paths, err := a.paths()
	if err != nil {
		return nil, agentError(fmt.Errorf("%w: %w", api.ErrNoAgent, err))
	}
	exe, err := a.executable()
	if err != nil {
		return nil, agentError(err)
	}
	mode, err := a.env.AgentMode()
	if err != nil {
		return nil, misconfigured(err)
	}
	if start && mode == "off" {
		return nil, &exitStatus{
			code: exitAgent, err: fmt.Errorf("%w: REGMINT_AGENT=off", api.ErrNoAgent),
			hint: "this needs an agent: set REGMINT_AGENT=auto",
		}
	}
	c, err := api.Connect(ctx, api.ConnectOptions{Paths: paths, Regmint: exe, NoStart: !start})
	if err != nil {
		return nil, agentError(err)
	}
	return c, nil
}

func (a *app) connectJob(ctx context.Context, job api.JobRef, err error) (*api.Client, error) {
	var c *api.Client
	if err == nil {
		c, err = job.Dial(ctx)
	}
	if _, closed := errors.AsType[*api.JobClosedError](err); closed {
		return nil, &exitStatus{code: exitDenied, err: err, hint: "open a new one with: regmint run -- COMMAND"}
	}
	if err != nil {
		return nil, &exitStatus{code: exitAgent, err: err}
	}
	return c, nil
}

// agentError is what a command fails with that needs an agent.
func agentError(err error) error {
	e := &exitStatus{code: exitAgent, err: err}
	if errors.Is(err, api.ErrNoAgent) {
		e.hint = "see why with: regmint agent run"
	}
	return e
}

const (
	// callLimit bounds one request; the agent answers a get within 10 s.
	callLimit = 20 * time.Second
	// unlockLimit bounds opening a key with a passphrase, which is made to be
	// slow.
	unlockLimit = 2 * time.Minute
)

// call is one request; a broken connection is an agent that does not answer.
func call(ctx context.Context, c *api.Client, method, path string, in, out any) error {
	limit := callLimit
	if path == "/v1/unlock" {
		limit = unlockLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := c.Call(ctx, method, path, in, out)
	if _, ok := errors.AsType[*api.StatusError](err); ok || err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return agentError(err)
}

// askAgain is one request for what may be asked twice: the next agent answers
// where one is killed or replaced meanwhile.
func (a *app) askAgain(ctx context.Context, method, path string, in, out any) error {
	return again(ctx, a.connect, func(c *api.Client) error { return call(ctx, c, method, path, in, out) })
}

// again does f on a connection of its own, anew where the agent goes away under
// it.
func again(ctx context.Context, connect func(context.Context) (*api.Client, error), f func(*api.Client) error) error {
	for i := 1; ; i++ {
		c, err := connect(ctx)
		if err != nil {
			return err
		}
		err = f(c)
		_ = c.Close()
		if !api.IsLost(err) || i == openTries || ctx.Err() != nil {
			return err
		}
	}
}

// order is one request whose answer is an api.Reply.
func (a *app) order(ctx context.Context, c *api.Client, path string, in any) (api.Reply, error) {
	var r api.Reply
	if err := call(ctx, c, "POST", path, in, &r); err != nil {
		return r, err
	}
	a.sawVersion(r.Version)
	if r.Outcome != api.OK {
		return r, outcomeError(r.Outcome, r.Kind, r.Message)
	}
	return r, nil
}

// outcomeError turns an answer that is not OK into an error for people.
func outcomeError(outcome, kind, message string) error {
	code, ok := kindCodes[providers.Kind(kind)]
	switch {
	case outcome == api.NotFound:
		code = exitNoAccount
	case !ok:
		code = exitFailed
	}
	if outcome == api.NotFound && message == "" {
		message = "no account for this host"
	}
	if message == "" {
		message = "the agent gave no reason"
	}
	text, hint := splitHint(message)
	return &exitStatus{code: code, err: errors.New(text), hint: hint}
}

// splitHint takes the hint off a one-line message.
func splitHint(message string) (text, hint string) {
	if i := strings.LastIndex(message, "; "); i > 0 && strings.HasPrefix(message[i+2:], "run: ") {
		return message[:i], message[i+2:]
	}
	return message, ""
}

// sawVersion says once that the agent is of another version.
func (a *app) sawVersion(v string) {
	if v == "" || v == api.BuildVersion || a.versionSaid {
		return
	}
	a.versionSaid = true
	a.say("the running agent is version %s, this program is %s", v, api.BuildVersion)
	a.hint("run: regmint agent restart")
}
