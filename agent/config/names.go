// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strings"

	"github.com/regmint/regmint/providers"
)

// slot is a name in a layer. Names that differ in case alone are one: links of
// them are one file on some systems.
type slot struct {
	layer providers.Layer
	name  string
}

// nameAccounts gives names to those without, refuses equal ones, and lets a
// user's account replace the system's of the same name. Names that a person
// wrote are settled first, so that no made-up name is in their way.
func (l *loader) nameAccounts() {
	seen, drop := map[slot]int{}, map[int]bool{}
	for _, auto := range []bool{false, true} {
		for i := range l.cfg.Accounts {
			a := &l.cfg.Accounts[i]
			if auto != l.origins[i].auto {
				continue
			}
			if auto {
				a.Name = defaultName(*a)
			}
			l.settle(i, seen, drop)
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

// settle finds account i its place among those seen.
func (l *loader) settle(i int, seen map[slot]int, drop map[int]bool) {
	a, made := &l.cfg.Accounts[i], l.cfg.Accounts[i].Name
	for n := 2; ; n++ {
		key := slot{a.Layer, strings.ToLower(a.Name)}
		j, taken := seen[key]
		switch mine, other := l.origins[i].part.kind, ""; {
		case !taken:
			seen[key] = i
			return
		default:
			other = l.origins[j].part.kind
			if mine == "user" && other == "system" {
				drop[j], seen[key] = true, i
				return
			}
			if mine == "system" && other == "user" {
				drop[i] = true
				return
			}
		}
		if !l.origins[i].auto {
			l.problems = append(l.problems, l.origins[i].doc.problem(l.origins[i].pos, "give one of them another name",
				"two accounts are named %q: %s and %s", a.Name, l.cfg.Accounts[j].Source, a.Source))
			return
		}
		a.Name = fmt.Sprintf("%s-%d", made, n)
	}
}

// checkDefaults finds accounts of one layer that are both the default for equal
// hosts; the selector would refuse them too, without the place.
func (l *loader) checkDefaults() {
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
