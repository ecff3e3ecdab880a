// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

func newRefreshCmd(a *app) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "refresh HOST | --all",
		Short: "drop what is in memory for a registry and get it anew",
		Args: func(_ *cobra.Command, args []string) error {
			if all == (len(args) == 1) || len(args) > 1 {
				return usage("regmint refresh ghcr.io", "name one registry, or --all")
			}
			return nil
		},
		RunE: command(func(ctx context.Context, args []string) error {
			if all {
				return a.refreshAll(ctx)
			}
			k, err := providers.ParseKey(args[0])
			if err != nil {
				return err
			}
			return a.refresh(ctx, k.Host.String(), []string{k.String()})
		}),
	}
	c.Flags().BoolVar(&all, "all", false, "every registry")
	return c
}

// refresh drops host ("" is all) and asks for every key; the first failure
// decides the exit code, the others are tried all the same.
func (a *app) refresh(ctx context.Context, host string, keys []string) error {
	if err := again(ctx, a.connect, func(c *api.Client) error {
		_, err := a.order(ctx, c, "/v1/refresh", api.HostRequest{Host: host})
		return err
	}); err != nil {
		return err
	}
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	var first error
	for _, key := range keys {
		resp, err := askWithEnv(ctx, a.getRequest(key, false), (&link{a: a, c: c}).get)
		if err == nil && resp.Outcome != api.OK {
			if resp.Message == "" {
				resp.Message = key + ": no account for this host"
			}
			err = outcomeError(resp.Outcome, resp.Kind, resp.Message)
		}
		if err == nil {
			err = a.stillAccepted(ctx, key, resp)
		}
		if err == nil {
			a.sawVersion(resp.Version)
			a.say("%s: %s, %s", key, resp.Username, lifeText(resp, a.now()))
			continue
		}
		if ctx.Err() != nil {
			return err
		}
		a.report(err)
		if first == nil {
			first = &exitStatus{code: exitCode(err)}
		}
	}
	return first
}

// stillAccepted asks the registry about a secret that does not expire: getting
// it from the store again says nothing. Only a clear refusal counts.
func (a *app) stillAccepted(ctx context.Context, key string, resp *api.GetResponse) error {
	k, err := providers.ParseKey(key)
	if err != nil || resp.ExpiresAt != 0 {
		return nil
	}
	l, err := a.newLocal(ctx, true, false)
	if err != nil {
		return nil
	}
	for _, acc := range l.cfg.Accounts {
		if acc.Name != resp.Account || !slices.ContainsFunc(acc.Hosts, func(p providers.Pattern) bool { return p.MatchHost(k.Host) }) {
			continue
		}
		t := l.trial(a, k.Host, acc, providers.NewSecret(resp.Secret))
		if err := t.prepare(); err != nil {
			return nil
		}
		t.cred.Username = resp.Username
		if err := t.check(ctx); err != nil && providers.KindOf(err) == providers.LoginRequired {
			return &exitStatus{
				code: exitLogin, hint: "run: regmint login " + k.Host.String(),
				err: fmt.Errorf("%s: the registry refuses the saved login of %s", k.Host, resp.Username),
			}
		}
		return nil
	}
	return nil
}

// refreshAll renews what the agent knows by name or holds in memory.
func (a *app) refreshAll(ctx context.Context) error {
	st, err := a.agentStatus(ctx, "")
	if err != nil {
		return err
	}
	var keys []string
	seen := map[string]bool{}
	add := func(host string) {
		if h, err := providers.ParseHost(host); err == nil && !seen[h.String()] {
			seen[h.String()] = true
			keys = append(keys, h.String())
		}
	}
	for _, acc := range st.Accounts {
		if acc.State == string(providers.NoAccount) {
			continue // recognised, and nobody is anybody there
		}
		for _, h := range acc.Hosts {
			if p, err := providers.ParsePattern(h); err == nil {
				if exact, ok := p.Exact(); ok {
					add(exact.String())
				}
			}
		}
	}
	for _, t := range st.Tokens {
		add(t.Host)
	}
	if len(keys) == 0 {
		a.say("there is nothing to refresh")
	}
	return a.refresh(ctx, "", keys)
}
