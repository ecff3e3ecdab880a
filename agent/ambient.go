// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"slices"
	"strings"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/minter"
	"github.com/regmint/regmint/providers"
)

// ambient recognises a host by its provider's name rule, else by what the
// caller's variables, sent with a request or with the job, say about it.
func (c *Core) ambient(j *job, h providers.Host, sent []string) (providers.Account, bool) {
	for _, p := range c.o.Providers {
		if p.Match(h) {
			return recognised(p, h)
		}
	}
	var env callerEnv
	for _, p := range c.o.Providers {
		cl, ok := p.(providers.Claimer)
		if !ok {
			continue
		}
		if env == nil {
			env = c.envOf(j, sent)
		}
		if slices.Contains(cl.Claims(env.values(p.Env())), h) {
			return recognised(p, h)
		}
	}
	return providers.Account{}, false
}

func recognised(p providers.Provider, h providers.Host) (providers.Account, bool) {
	pat, err := providers.ParsePattern(h.String())
	if err != nil {
		return providers.Account{}, false
	}
	return providers.Account{
		Name: p.Name() + ":" + h.String(), Provider: p.Name(), Hosts: []providers.Pattern{pat},
		Options: p.Options(), Layer: providers.LayerAmbient, Source: "recognised", PlainHTTP: h.IsLoopback(),
	}, true
}

// envOf is the environment of a caller: the job's over what was sent.
func (c *Core) envOf(j *job, sent []string) callerEnv {
	env := parseEnv(sent)
	if j != nil {
		env = j.environment(env)
	}
	return env
}

// values are those of names that are set.
func (e callerEnv) values(names []string) map[string]string {
	out := map[string]string{}
	for _, n := range names {
		if v := e[n]; v != nil {
			out[n] = *v
		}
	}
	return out
}

// claimed are the hosts that the variables of a job name.
func (c *Core) claimed(j *job) []providers.Host {
	var out []providers.Host
	for _, p := range c.o.Providers {
		if cl, ok := p.(providers.Claimer); ok {
			out = append(out, cl.Claims(c.envOf(j, nil).values(p.Env()))...)
		}
	}
	return out
}

// unsaidClaims lists the variables that could make any host a recognised one
// and that the caller has said nothing about.
func (c *Core) unsaidClaims(j *job, sent []string) []string {
	if j != nil && j.fixedEnv() {
		return nil
	}
	var out []string
	for _, p := range c.o.Providers {
		if _, ok := p.(providers.Claimer); ok {
			out = append(out, c.envOf(j, sent).missing(p.Env())...)
		}
	}
	return out
}

// ambientID reports an id of an account that was recognised, and its provider's
// name.
func ambientID(id string) (provider string, ok bool) {
	name, ok := strings.CutPrefix(id, idPrefix(providers.LayerAmbient, ""))
	if !ok {
		return "", false
	}
	provider, _, ok = strings.Cut(name, ":")
	return provider, ok
}

// liveAmbient are the recognised identities that a caller with this environment
// has a living credential of, by host: what get can answer without asking
// anybody.
func (c *Core) liveAmbient(j *job, env callerEnv) map[providers.Host]minter.View {
	if j != nil {
		env = j.environment(env)
	}
	now, digests := c.now(), map[string]string{}
	out := map[providers.Host]minter.View{}
	for _, v := range c.mint.Views() {
		name, ok := ambientID(v.ID.Account)
		if !ok || v.Credential.Username == "" || !v.Credential.ExpiresAt.IsZero() && !v.Credential.ExpiresAt.After(now) {
			continue
		}
		if _, known := digests[name]; !known {
			p := c.provider(name)
			if p == nil {
				continue
			}
			digests[name] = c.digest(p.Env(), env)
		}
		if v.ID.Env == digests[name] {
			out[v.ID.Host] = v
		}
	}
	return out
}

// failedAmbient are the recognised hosts where the identity of a caller with
// this environment failed last, and how. Where there is none nothing failed.
func (c *Core) failedAmbient(j *job, env callerEnv) map[providers.Host]providers.Kind {
	if j != nil {
		env = j.environment(env)
	}
	out := map[providers.Host]providers.Kind{}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	for k, f := range c.failures {
		name, ok := ambientID(k.account)
		if kind := providers.KindOf(f.err); ok && kind != providers.NoAccount && f.stands(now) {
			if p := c.provider(name); p != nil && c.digest(p.Env(), env) == k.env {
				out[k.host] = kind
			}
		}
	}
	return out
}

// ambientStatus has one entry for each recognised host that was asked for: the
// identity there, or why there is none.
func (c *Core) ambientStatus(j *job, views []minter.View) []api.AccountStatus {
	hosts := map[providers.Host]string{}
	for _, v := range views {
		if name, ok := ambientID(v.ID.Account); ok {
			hosts[v.ID.Host] = name
		}
	}
	for k := range c.failuresOf(j) {
		if name, ok := ambientID(k.account); ok && j.allows(k.host) {
			hosts[k.host] = name
		}
	}
	var out []api.AccountStatus
	for h, name := range hosts {
		p := c.provider(name)
		if p == nil {
			continue
		}
		if a, ok := recognised(p, h); ok {
			out = append(out, c.accountStatus(a, j, views))
		}
	}
	slices.SortFunc(out, func(a, b api.AccountStatus) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// failuresOf are the remembered failures that concern j: a job has one
// environment, and sees no other terminal's.
func (c *Core) failuresOf(j *job) map[failKey]failure {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[failKey]failure, len(c.failures))
	for k, f := range c.failures {
		if name, ok := ambientID(k.account); ok && j != nil {
			p := c.provider(name)
			if p == nil || c.digest(p.Env(), j.environment(callerEnv{})) != k.env {
				continue
			}
		}
		out[k] = f
	}
	return out
}
