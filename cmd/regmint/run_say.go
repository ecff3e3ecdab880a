// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/configdir"
	"github.com/regmint/regmint/providers"
)

// introduce says on one line who the job is, and what of the caller's own
// configuration goes on working.
func (j *runJob) introduce(resp *api.JobResponse, report configdir.Report) {
	if j.o.quiet {
		return
	}
	var who []string
	for _, id := range resp.Identities {
		as := id.As
		if as == "" {
			as = id.Account
		}
		access := id.Access
		if id.Wider {
			access += "; its secret can do more"
		}
		who = append(who, id.Host+" as "+as+" ("+access+")")
	}
	switch n := len(who); {
	case n == 0:
		who = []string{"no account yet; recognised registries and docker login work inside"}
	case n > 4:
		who = append(who[:4], fmt.Sprintf("and %d more", n-4))
	}
	j.a.say("job %s: %s", short(j.dir.ID), strings.Join(who, ", "))
	for _, h := range j.nobodyAt(resp) {
		j.a.say("no account for %s yet: log in inside the job, or before it with: regmint login %s", h, h)
	}
	if len(report.Carried) > 0 {
		j.a.say("your other logins go on working: %s", strings.Join(report.Carried, ", "))
	}
	for _, n := range report.Notes {
		j.a.say("%s", n)
	}
}

// nobodyAt are the hosts of targets that nothing would answer for.
func (j *runJob) nobodyAt(resp *api.JobResponse) []string {
	var out []string
	for _, text := range j.o.targets {
		t, err := providers.ParseTarget(text)
		if err != nil {
			continue // the agent has refused it
		}
		host := t.Host.String()
		known := slices.Contains(out, host) ||
			slices.ContainsFunc(resp.Identities, func(id api.JobIdentity) bool { return id.Host == host }) ||
			slices.ContainsFunc(resp.Behind, func(b api.Behind) bool {
				k, err := providers.ParseKey(b.Host)
				return b.Host == "*" || err == nil && k.Host == t.Host
			}) ||
			slices.ContainsFunc(j.a.providers, func(p providers.Provider) bool { return p.Match(t.Host) }) ||
			slices.ContainsFunc(j.req.Logins, func(l api.Login) bool {
				k, err := providers.ParseKey(l.ServerURL)
				return err == nil && k.Host == t.Host
			})
		if !known {
			out = append(out, host)
		}
	}
	return out
}

func short(id string) string { return id[:min(4, len(id))] }
