// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/docker/docker-credential-helpers/credentials"
	"github.com/spf13/cobra"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/helper"
)

// newDirectCmd is what the credential helper runs where no agent can run: the
// helper's protocol on stdin and stdout, answered by this process. Nothing is
// cached.
func newDirectCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:       "direct get|store|erase|list",
		Short:     "answer the credential helper without an agent, for regmint itself",
		Hidden:    true,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{credentials.ActionGet, credentials.ActionStore, credentials.ActionErase, credentials.ActionList},
		RunE: command(func(ctx context.Context, args []string) error {
			if err := a.direct(ctx, args[0]); err != nil {
				return a.directFailure(err)
			}
			return nil
		}),
	}
}

// directFailure speaks as the helper does: the reason in one line on stdout,
// "not found" in the protocol's own words, exit code 1.
func (a *app) directFailure(err error) error {
	text, hint := errorText(err)
	if errors.Is(err, helper.ErrNotFound) {
		text, hint = credentials.NewErrCredentialsNotFound().Error(), ""
	}
	if hint != "" {
		text += "; " + hint
	}
	if err := a.print("%s\n", printable(text)); err != nil {
		return err
	}
	return &exitStatus{code: exitFailed}
}

func (a *app) direct(ctx context.Context, verb string) error {
	if _, inJob, _ := a.findJob(); inJob {
		return errors.New("a job is answered by its agent alone")
	}
	input := ""
	if verb != credentials.ActionList {
		data, err := io.ReadAll(io.LimitReader(a.in, maxLine+1))
		if err != nil {
			return err
		}
		if len(data) > maxLine {
			return errors.New("input is longer than 64 KiB")
		}
		input = string(data)
	}
	l, err := a.newLocal(ctx, true, false)
	if err != nil {
		return err
	}
	d := &directRun{a: a, local: l, input: input}
	switch verb {
	case credentials.ActionGet:
		return d.get(ctx)
	case credentials.ActionList:
		return d.list(ctx)
	}
	return d.change(ctx, verb)
}

// directRun is one call.
type directRun struct {
	a     *app
	local *local
	input string
}

// key is stdin less one line end.
func (d *directRun) key() string {
	return strings.TrimSuffix(strings.TrimSuffix(d.input, "\n"), "\r")
}

func (d *directRun) get(ctx context.Context) error {
	req := d.a.getRequest(d.key(), false)
	req.Config = "" // this process reads it itself
	resp, err := askWithEnv(ctx, req, func(ctx context.Context, req *api.GetRequest) (*api.GetResponse, error) {
		return d.local.Get(ctx, nil, req), nil
	})
	if err != nil {
		return err
	}
	login := api.Login{ServerURL: d.key(), Username: resp.Username, Secret: resp.Secret}
	switch {
	case resp.Outcome == api.NotFound && resp.Behind != "":
		former, err := helper.FormerGet(ctx, resp.Behind, d.key())
		if err != nil {
			return err
		}
		login.Username, login.Secret = former.Username, former.Secret
	case resp.Outcome == api.NotFound:
		return helper.ErrNotFound
	case resp.Outcome != api.OK:
		return errors.New(resp.Message)
	}
	return d.a.print("%s", api.AppendDockerCredential(nil, login))
}

func (d *directRun) change(ctx context.Context, verb string) error {
	login := api.Login{ServerURL: d.key()}
	do := d.local.Erase
	if verb == credentials.ActionStore {
		var err error
		if login, err = api.ParseDockerCredential([]byte(d.input)); err != nil {
			return err
		}
		do = d.local.Store
	}
	login.Account, login.Env = d.a.env.Account(), api.CallerEnv(nil)
	reply := do(ctx, nil, login)
	if reply.Outcome == api.NeedEnv {
		login.Env = api.CallerEnv(reply.NeedEnv)
		reply = do(ctx, nil, login)
	}
	switch {
	case reply.Outcome == api.OK:
		return nil
	case reply.Outcome == api.NotFound && reply.Behind != "":
		err := helper.FormerChange(ctx, reply.Behind, verb, d.input)
		if verb == credentials.ActionErase && errors.Is(err, helper.ErrNotFound) {
			return nil
		}
		return err
	case reply.Outcome == api.NotFound && verb == credentials.ActionErase:
		return nil
	}
	return errors.New(reply.Message)
}

func (d *directRun) list(ctx context.Context) error {
	resp := d.local.List(nil, api.ListRequest{Env: api.CallerEnv(nil)})
	if resp.Outcome != api.OK {
		return fmt.Errorf("the accounts cannot be listed: %s", resp.Message)
	}
	all := resp.Entries
	if all == nil {
		all = map[string]string{}
	}
	helper.FormerList(ctx, resp.Behind, all)
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return d.a.print("%s\n", text)
}
