// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/regmint/regmint/agent/store"
	"github.com/regmint/regmint/providers"
)

// rotateOrder is what the process that rotates reads on stdin.
type rotateOrder struct {
	Account    string `json:"account"`
	Host       string `json:"host,omitempty"` // which the command named
	Passphrase string `json:"passphrase,omitempty"`
}

// rotateSlow is when a rotation takes long enough to say so.
const rotateSlow = 20 * time.Second

// rotateResult is what it answers on stdout, if somebody still listens.
type rotateResult struct {
	Account   string     `json:"account"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	Finished  bool       `json:"finished,omitempty"`
	Shared    bool       `json:"shared,omitempty"`
	Where     string     `json:"where,omitempty"`
	Code      int        `json:"code,omitempty"`
	Error     string     `json:"error,omitempty"`
	Hint      string     `json:"hint,omitempty"`
}

// newAgentRotateCmd is the process that asks for a new secret and saves it. It
// outlives the command and the agent that want it: between the answer of the
// product and the write that makes it durable, nothing else may end it.
func newAgentRotateCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "rotate", Short: "one rotation, for regmint itself", Hidden: true, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			caught := make(chan os.Signal, 1)
			signal.Notify(caught, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
			defer signal.Stop(caught)
			r := a.rotateChild(c.Context())
			data, err := json.Marshal(r)
			if err != nil {
				return err
			}
			_, _ = a.out.Write(append(data, '\n')) // nobody may be there any more
			if r.Code != 0 {
				return &exitStatus{code: r.Code}
			}
			return nil
		},
	}
}

func (a *app) rotateChild(ctx context.Context) rotateResult {
	r, err := a.rotateOne(ctx)
	if err != nil {
		text, hint := errorText(err)
		r.Code, r.Error, r.Hint = exitCode(err), text, hint
	}
	return r
}

func (a *app) rotateOne(ctx context.Context) (rotateResult, error) {
	var order rotateOrder
	if err := json.NewDecoder(io.LimitReader(a.in, maxLine)).Decode(&order); err != nil {
		return rotateResult{}, usage("use: regmint rotate HOST", "this command is for regmint itself")
	}
	l, err := a.newLocal(ctx, true, false)
	if err != nil {
		return rotateResult{}, err
	}
	if s, ok := l.store.(store.Locker); ok && l.err == nil && s.Locked() && order.Passphrase != "" {
		if err := s.Unlock(ctx, providers.NewSecret(order.Passphrase)); err != nil {
			return rotateResult{}, err
		}
	}
	acc, err := l.AccountNamed(order.Account)
	if err != nil {
		return rotateResult{}, err
	}
	done, err := l.Rotate(ctx, acc, a.values(l.RotateEnv(acc)))
	if err != nil {
		return rotateResult{}, err
	}
	a.tellOfSecret(ctx, l, acc, order.Host)
	r := rotateResult{Account: done.Account, Finished: done.Finished, Shared: done.Shared, Where: done.Where}
	if !done.ExpiresAt.IsZero() {
		r.ExpiresAt = &done.ExpiresAt
	}
	return r, nil
}

// tellOfSecret makes the running agent forget what it minted from the former
// secret of an account, for all that share it. host is the one that the command
// named; "": it was the agent's schedule.
func (a *app) tellOfSecret(ctx context.Context, l *local, acc providers.Account, host string) {
	hosts := []string{}
	if host != "" {
		hosts = append(hosts, host)
	}
	for _, user := range l.SharedBy(acc) {
		for _, p := range user.Hosts {
			h, exact := p.Exact()
			if !exact && host == "" {
				continue // the agent itself has asked for this, and knows
			}
			if !exact { // for which hosts it has answered only the agent knows
				a.tellAgent(ctx, "")
				return
			}
			if !slices.Contains(hosts, h.String()) {
				hosts = append(hosts, h.String())
			}
		}
	}
	for _, h := range hosts {
		a.tellAgent(ctx, h)
	}
}

// rotateApart has another process rotate, which goes on where this one ends.
func (a *app) rotateApart(ctx context.Context, order rotateOrder) (rotateResult, error) {
	var r rotateResult
	exe, err := a.executable()
	if err != nil {
		return r, err
	}
	in, err := json.Marshal(order)
	if err != nil {
		return r, err
	}
	var out bytes.Buffer
	cmd := exec.Command(exe, "agent", "rotate") //nolint:gosec,noctx // ourselves; it outlives what we wait for
	cmd.Dir = filepath.VolumeName(exe) + string(filepath.Separator)
	cmd.Env, cmd.Stdin, cmd.Stdout = a.environ(), bytes.NewReader(in), &out
	if log := a.rotateLog(); log != nil {
		defer log.Close()
		cmd.Stderr = log // not a pipe: it must not end with us
	}
	ownSession(cmd)
	if err := cmd.Start(); err != nil {
		return r, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the rotation, or with us
	slow := time.NewTimer(rotateSlow)
	defer slow.Stop()
	for waits := true; waits; {
		select {
		case err = <-ended:
			waits = false
		case <-slow.C:
			a.say("still at it; it goes on without this command: regmint agent logs says how")
		case <-ctx.Done():
			a.say("the rotation of account %s goes on by itself", order.Account)
			return r, ctx.Err()
		}
	}
	if jerr := json.Unmarshal(out.Bytes(), &r); jerr != nil {
		if err == nil {
			err = jerr
		}
		return r, &exitStatus{code: exitFailed, err: errors.New("the process that rotates ended without a word: " + err.Error()), hint: "run again: what was begun is finished first"}
	}
	if r.Code != 0 || r.Error != "" {
		return r, &exitStatus{code: r.Code, err: errors.New(r.Error), hint: r.Hint}
	}
	return r, nil
}

// rotateLog is the agent's log; nil: none.
func (a *app) rotateLog() *os.File {
	paths, err := a.paths()
	if err != nil || os.MkdirAll(filepath.Dir(paths.AgentLog()), 0o700) != nil {
		return nil
	}
	f, err := os.OpenFile(paths.AgentLog(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil
	}
	return f
}
