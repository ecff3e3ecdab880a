// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"maps"
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
	for _, trip := range r.trips(due) {
		ok, err := a.confirm(ctx, "Log in to "+trip.name()+" now?", true)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if err := r.trip(ctx, trip); err != nil {
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

// trip is one login: of one account, or of all that share an identity.
type trip struct {
	group string // `AWS SSO session "corp"`; "" for one account
	due   []dueLogin
}

func (t trip) name() string {
	if t.group == "" {
		return t.due[0].host.String()
	}
	return t.group + " (" + count(len(t.due), "account", "accounts") + ")"
}

// trips puts accounts together that one login serves.
func (r *loginRun) trips(due []dueLogin) []trip {
	var out []trip
	for _, d := range due {
		group := r.a.loginGroup(d.account)
		i := slices.IndexFunc(out, func(t trip) bool {
			return group != "" && t.group == group && t.due[0].account.Provider == d.account.Provider
		})
		if i < 0 {
			i = len(out)
			out = append(out, trip{group: group})
		}
		out[i].due = append(out[i].due, d)
	}
	return out
}

// trip logs in once, and tells the agent about every account it was for.
func (r *loginRun) trip(ctx context.Context, t trip) error {
	first := t.due[0]
	one := *r
	if !first.recognised {
		one.o.as = first.account.Name
	}
	if err := one.host(ctx, first.host); err != nil {
		return err
	}
	for _, d := range t.due[1:] {
		r.a.tellAgent(ctx, d.host.String())
	}
	return nil
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
	// recognised: no file has it.
	recognised bool
}

// due finds them: secrets that the store does not have, and what a running
// agent knows to be refused, or ended.
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
		st, ended := states[acc.Name]
		host, ok := exactHost(acc)
		if !ok {
			host, ok = st.host, !st.host.IsZero()
		}
		ref, keeps := loginRef(acc)
		if !ok || !keeps && !r.a.isLoginer(acc.Provider) {
			continue
		}
		switch {
		case keeps && known && !slices.Contains(names, ref.Value):
			out = append(out, dueLogin{account: acc, host: host, why: "no saved secret"})
		case ended:
			out = append(out, dueLogin{account: acc, host: host, why: st.why})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(states)) {
		if acc, ok := r.ambientDue(states[name].AccountStatus); ok {
			host, _ := exactHost(acc)
			out = append(out, dueLogin{account: acc, host: host, why: states[name].why, recognised: true})
		}
	}
	return out
}

// endedAccount is an account that a running agent could not use without a
// login.
type endedAccount struct {
	api.AccountStatus
	host providers.Host // where it was seen
	why  string
}

// agentStates are those accounts by name. No agent is started for it.
func (a *app) agentStates(ctx context.Context) map[string]endedAccount {
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
	out := map[string]endedAccount{}
	for _, acc := range st.Accounts {
		if acc.State != string(providers.LoginRequired) {
			continue
		}
		e := endedAccount{AccountStatus: acc}
		e.why, _ = splitHint(strings.TrimSpace(acc.Message))
		if name, why, ok := strings.Cut(e.why, ": "); ok { // a message starts with the host
			if h, err := providers.ParseHost(name); err == nil && slices.ContainsFunc(acc.Hosts, func(p string) bool { return covers(p, name) }) {
				e.host, e.why = h, why
			}
		}
		out[acc.Name] = e
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
