// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"slices"
	"strings"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/minter"
	"github.com/regmint/regmint/providers"
)

// ambient recognises a host by its provider's name rule.
func (c *Core) ambient(h providers.Host) (providers.Account, bool) {
	for _, p := range c.o.Providers {
		if !p.Match(h) {
			continue
		}
		pat, err := providers.ParsePattern(h.String())
		if err != nil {
			return providers.Account{}, false
		}
		return providers.Account{
			Name: p.Name() + ":" + h.String(), Provider: p.Name(), Hosts: []providers.Pattern{pat},
			Options: p.Options(), Layer: providers.LayerAmbient, Source: "recognised", PlainHTTP: h.IsLoopback(),
		}, true
	}
	return providers.Account{}, false
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

// ambientStatus has one entry for each recognised host that was asked for: the
// identity there, or why there is none.
func (c *Core) ambientStatus(j *job, views []minter.View) []api.AccountStatus {
	hosts := map[providers.Host]bool{}
	for _, v := range views {
		if _, ok := ambientID(v.ID.Account); ok {
			hosts[v.ID.Host] = true
		}
	}
	for k := range c.failuresOf(j) {
		if _, ok := ambientID(k.account); ok && j.allows(k.host) {
			hosts[k.host] = true
		}
	}
	var out []api.AccountStatus
	for h := range hosts {
		if a, ok := c.ambient(h); ok {
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
