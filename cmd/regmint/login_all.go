// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"
	"strings"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

// everything logs in what needs a login, one host after the other; where
// nothing does, Docker Hub as docker login does.
func (r *loginRun) everything(ctx context.Context) error {
	a := r.a
	if _, inJob, _ := a.findJob(); inJob {
		return usage("regmint login HOST", "inside a job, say which registry")
	}
	if !a.interactive() || r.o.stdin {
		if r.o.user == "" || !r.o.stdin {
			return usage("regmint login HOST -u USER --password-stdin", "without a terminal, say which registry and who")
		}
		return r.host(ctx, providers.DockerHub)
	}
	due := r.due(ctx)
	if len(due) == 0 {
		a.say("no account needs a login; this is one for Docker Hub")
		return r.host(ctx, providers.DockerHub)
	}
	a.say("%s", count(len(due), "account needs a login", "accounts need a login"))
	for _, d := range due {
		a.say("  %s at %s: %s", d.account.Name, d.host, d.why)
	}
	var first error
	for _, d := range due {
		ok, err := a.confirm(ctx, "Log in to "+d.host.String()+" now?", true)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		one := *r
		one.o.as = d.account.Name
		if err := one.host(ctx, d.host); err != nil {
			if ctx.Err() != nil {
				return err
			}
			a.report(err)
			if first == nil {
				first = &exitStatus{code: exitCode(err)}
			}
		}
		if err := r.again(ctx); err != nil {
			return err
		}
	}
	return first
}

// again loads what the login before has changed.
func (r *loginRun) again(ctx context.Context) error {
	l, err := r.a.local(ctx)
	if err == nil {
		r.local = l
	}
	return err
}

// dueLogin is an account whose secret is missing or refused.
type dueLogin struct {
	account providers.Account
	host    providers.Host
	why     string
}

// due finds them: secrets that the store does not have, and what a running
// agent knows to be refused.
func (r *loginRun) due(ctx context.Context) []dueLogin {
	var names []string
	known := false
	if r.local.err == nil {
		list, err := r.local.store.Names(ctx)
		names, known = list, err == nil
	}
	states := r.a.agentStates(ctx)
	var out []dueLogin
	for _, acc := range r.local.cfg.Accounts {
		host, ok := exactHost(acc)
		ref, keeps := loginRef(acc)
		if !ok || !keeps {
			continue
		}
		switch {
		case known && !slices.Contains(names, ref.Value):
			out = append(out, dueLogin{acc, host, "no saved secret"})
		case states[acc.Name] != "":
			out = append(out, dueLogin{acc, host, states[acc.Name]})
		}
	}
	return out
}

// agentStates are the accounts that a running agent could not use without a
// login, by name, with the reason. No agent is started for it.
func (a *app) agentStates(ctx context.Context) map[string]string {
	c, err := a.connectMain(ctx, false)
	if err != nil {
		return nil
	}
	defer c.Close()
	var st api.Status
	if call(ctx, c, "GET", "/v1/status", nil, &st) != nil {
		return nil
	}
	a.sawVersion(st.Version)
	out := map[string]string{}
	for _, acc := range st.Accounts {
		if acc.State == string(providers.LoginRequired) {
			why, _ := splitHint(strings.TrimSpace(acc.Message))
			for _, h := range acc.Hosts {
				why = strings.TrimPrefix(why, h+": ")
			}
			out[acc.Name] = why
		}
	}
	return out
}

// exactHost is the first host an account names in full.
func exactHost(acc providers.Account) (providers.Host, bool) {
	for _, p := range acc.Hosts {
		if h, ok := p.Exact(); ok {
			return h, true
		}
	}
	return providers.Host{}, false
}

// tellAgent makes a running agent read what changed; none is started for it.
func (a *app) tellAgent(ctx context.Context, host string) {
	c, err := a.connectMain(ctx, false)
	if err != nil {
		return // no agent: the next one reads it all
	}
	defer c.Close()
	if _, err := a.order(ctx, c, "/v1/reload", nil); err != nil {
		a.say("the running agent did not reload: %s", err)
		return
	}
	if _, err := a.order(ctx, c, "/v1/refresh", api.HostRequest{Host: host}); err != nil {
		a.say("the running agent still has the old login: %s", err)
	}
}
