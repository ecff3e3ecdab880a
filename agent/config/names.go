// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strings"

	"github.com/regmint/regmint/providers"
)

// nameAccounts gives names to those without, settles equal names, and lets a
// user's account replace the system's of the same name.
func (l *loader) nameAccounts() {
	for i := range l.cfg.Accounts {
		if a := &l.cfg.Accounts[i]; a.Name == "" {
			l.origins[i].auto = true
			a.Name = defaultName(*a)
		}
	}
	type slot struct {
		layer providers.Layer
		name  string
	}
	seen := map[slot]int{}
	drop := map[int]bool{}
	for i := range l.cfg.Accounts {
		a := &l.cfg.Accounts[i]
		for n := 2; ; n++ {
			key := slot{a.Layer, strings.ToLower(a.Name)}
			j, taken := seen[key]
			if !taken {
				seen[key] = i
				break
			}
			if l.origins[j].part.kind == "system" && l.origins[i].part.kind == "user" {
				drop[j], seen[key] = true, i
				break
			}
			if l.origins[i].auto {
				a.Name = fmt.Sprintf("%s-%d", defaultName(*a), n)
				continue
			}
			l.problems = append(l.problems, l.origins[i].doc.problem(l.origins[i].pos, "give one of them another name",
				"two accounts are named %q: %s and %s", a.Name, l.cfg.Accounts[j].Source, a.Source))
			break
		}
	}
	var accounts []providers.Account
	var origins []origin
	for i := range l.cfg.Accounts {
		if !drop[i] {
			accounts, origins = append(accounts, l.cfg.Accounts[i]), append(origins, l.origins[i])
		}
	}
	l.cfg.Accounts, l.origins = accounts, origins
}

// checkDefaults finds accounts of one layer that are both the default for equal
// hosts; the selector would refuse them too, without the place.
func (l *loader) checkDefaults() {
	type slot struct {
		layer providers.Layer
		host  string
	}
	seen := map[slot]int{}
	for i, a := range l.cfg.Accounts {
		if !a.Default {
			continue
		}
		for _, h := range a.Hosts {
			key := slot{a.Layer, h.String()}
			j, taken := seen[key]
			if taken && j != i {
				first, o := l.cfg.Accounts[j], l.origins[i]
				l.problems = append(l.problems, o.doc.problem(o.pos, "keep default = true on one of them",
					"two default accounts for %s: %q at %s and %q at %s", h, first.Name, first.Source, a.Name, a.Source))
			}
			seen[key] = i
		}
	}
}

// defaultName is the provider and the first host, fit for a file name.
func defaultName(a providers.Account) string {
	host := ""
	if len(a.Hosts) > 0 {
		host = a.Hosts[0].String()
	}
	var b strings.Builder
	for _, r := range a.Provider + "-" + strings.ReplaceAll(host, "*", "any") {
		switch {
		case isNameRune(r):
			b.WriteRune(r)
		case !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	s := b.String()
	return strings.Trim(s[:min(len(s), 120)], ".-_")
}
