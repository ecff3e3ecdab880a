// SPDX-License-Identifier: Apache-2.0

package helper

import (
	"context"
	"errors"

	"github.com/docker/docker-credential-helpers/credentials"

	"github.com/regmint/regmint/agent/api"
)

// change answers `store` and `erase`; success says nothing.
func (c *call) change(ctx context.Context) int {
	input, err := readInput(c.in)
	if err != nil {
		return c.fail("", err.Error())
	}
	login := api.Login{ServerURL: trimLine(string(input))}
	if c.verb == credentials.ActionStore {
		login, err = parseLogin(input)
	} else {
		err = checkKey(login.ServerURL)
	}
	if err != nil {
		return c.fail("", err.Error())
	}
	host := hostOf(login.ServerURL)
	a, err := connect(ctx)
	if err != nil {
		return c.fail(host, errText(err))
	}
	if a.client == nil {
		return c.direct(ctx, a, host, string(input))
	}
	login.Account = c.pick()
	var reply api.Reply
	err = a.patiently(ctx, func() (err error) {
		reply, err = c.order(ctx, a, login)
		return err
	})
	defer a.client.Close()
	if err != nil {
		return c.fail(host, errText(err))
	}
	switch reply.Outcome {
	case api.OK:
		return 0
	case api.NotFound:
		return c.changeBehind(ctx, host, reply.Behind, string(input))
	case api.NeedEnv:
		return c.fail(host, "the agent asks for the same variables again; run: regmint agent restart")
	}
	if reply.Message == "" {
		reply.Message = "failed: " + reply.Kind
	}
	return c.fail(host, reply.Message)
}

// order sends a store or an erase, and once more with what the agent found
// missing.
func (c *call) order(ctx context.Context, a agent, login api.Login) (api.Reply, error) {
	var reply api.Reply
	login.Env = api.CallerEnv(nil)
	err := a.client.Call(ctx, "POST", "/v1/"+c.verb, login, &reply)
	if err == nil && reply.Outcome == api.NeedEnv {
		login.Env = api.CallerEnv(reply.NeedEnv)
		reply = api.Reply{}
		err = a.client.Call(ctx, "POST", "/v1/"+c.verb, login, &reply)
	}
	return reply, err
}

// changeBehind passes a login of no account of ours to the former helper.
func (c *call) changeBehind(ctx context.Context, host, behind, input string) int {
	erase := c.verb == credentials.ActionErase
	if !mayRun(behind) {
		if erase {
			return 0
		}
		return c.fail(host, "the login was not kept; run: regmint login "+host)
	}
	_, err := run(ctx, behindLimit, behind, c.verb, input)
	if err == nil || erase && errors.Is(err, errNotFound) {
		return 0
	}
	return c.fail(host, err.Error())
}
