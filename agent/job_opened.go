// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"maps"
	"slices"
	"strings"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

// jobEnvNames are all variables that may decide who a job is: they are sent
// once, for the job's life.
func (c *Core) jobEnvNames(j *job) []string {
	var out []string
	for _, a := range j.accounts(c.state.Load()) {
		if p := c.provider(a.Provider); p != nil {
			out = append(out, c.envNames(a, p)...)
		}
	}
	for _, p := range c.o.Providers {
		out = append(out, p.Env()...)
	}
	return out
}

// jobResponse says which hosts the job knows by name and who it is there.
func (c *Core) jobResponse(j *job) *api.JobResponse {
	s := c.state.Load()
	r := &api.JobResponse{Outcome: api.OK, ID: j.id, Version: api.BuildVersion}
	live := c.liveAmbient(j, callerEnv{})
	for _, h := range c.hosts(s, j, append(c.claimed(j), slices.Collect(maps.Keys(live))...)...) {
		if !j.allows(h) {
			continue
		}
		r.Hosts = append(r.Hosts, h.String())
		a, err := c.account(s, j, providers.Key{Host: h}, c.choice(j, h, ""), nil)
		if err != nil || a.Layer == providers.LayerCarried {
			continue
		}
		id := api.JobIdentity{Host: h.String(), Account: a.Name, As: a.Username, Access: "as granted"}
		if a.Layer == providers.LayerAmbient {
			id.As = "whoever " + a.Provider + " finds here"
			if o := live[h].Credential.Origin; o != "" {
				id.As = oneLine(o)
			}
		}
		g, err := grants(j, asked{host: h, account: a}, nil)
		if err != nil {
			id.Access = "nothing: " + message(h, err)
		} else if len(g) > 0 {
			id.Access, r.Narrowed = describe(g), true
			if !c.canNarrow(a, g) {
				if id.Wider = !requires(s, a); !id.Wider {
					id.Access = `nothing: it cannot be narrowed, and narrow = "require"`
				}
			}
		}
		r.Identities = append(r.Identities, id)
	}
	if !j.onlyAnywhere() {
		r.Behind = c.behindList(s, j)
	}
	return r
}

// canNarrow is false where the provider knows that it cannot.
func (c *Core) canNarrow(a providers.Account, gs []providers.Grant) bool {
	p := c.provider(a.Provider)
	if f, ok := p.(providers.Fixed); ok && f.FixedRights() {
		return false
	}
	n, ok := p.(providers.Narrower)
	return !ok || n.CanNarrow(a, gs)
}

// describe says grants in words: "pull only", "push acme/app".
func describe(gs []providers.Grant) string {
	var parts []string
	for _, g := range gs {
		switch {
		case g.Repository != "":
			parts = append(parts, g.Access.String()+" "+g.Repository)
		case g.Access == providers.Pull:
			parts = append(parts, "pull only")
		default:
			parts = append(parts, g.Access.String())
		}
	}
	return strings.Join(parts, ", ")
}

func (a *Agent) jobStatus(j *job) []api.JobStatus {
	out := []api.JobStatus{}
	for _, o := range a.jobs.all() {
		if j != nil && o != j {
			continue
		}
		o.mu.Lock()
		out = append(out, api.JobStatus{
			ID: o.id, Kind: o.req.Kind, Label: o.req.Label, PID: o.req.PID, Opened: o.opened.UTC(),
			Targets: o.req.Targets, Only: o.req.Only, Gets: o.gets,
		})
		o.mu.Unlock()
	}
	return out
}
