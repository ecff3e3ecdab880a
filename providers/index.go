// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Selector answers which account owns a key. It is immutable and safe for
// concurrent use; cost does not grow with the number of exact accounts.
type Selector struct {
	accounts []Account
	exact    map[string]owners
	shapes   []shape
}

// owners maps a path ("" = the whole host) to indices into accounts.
type owners map[string][]int

// shape is one way wildcards are spread over a name. Hosts are looked up with
// the same labels masked, so that the cost is the number of shapes, not of
// patterns.
type shape struct {
	mask  []bool // per label: true where the pattern has "*"
	stars int
	hosts map[string]owners
}

// NewSelector indexes accounts. Two defaults for equal patterns of one layer,
// and two accounts of one name in one layer, are errors naming both Sources.
func NewSelector(accounts []Account) (*Selector, error) {
	s := &Selector{accounts: slices.Clone(accounts), exact: map[string]owners{}}
	if err := checkAccounts(s.accounts); err != nil {
		return nil, err
	}
	for i, a := range s.accounts {
		for _, p := range a.Hosts {
			if !p.IsZero() {
				o := s.ownersOf(p)
				o[p.path] = append(o[p.path], i)
			}
		}
	}
	slices.SortStableFunc(s.shapes, func(a, b shape) int { return cmp.Compare(a.stars, b.stars) })
	return s, nil
}

// checkAccounts finds what no rule of Select could decide.
func checkAccounts(accounts []Account) error {
	type slot struct {
		layer Layer
		what  string
	}
	names, defaults := map[slot]int{}, map[slot]int{}
	for i, a := range accounts {
		if a.Name != "" {
			k := slot{a.Layer, a.Name}
			if j, ok := names[k]; ok {
				return &Error{
					Kind: Misconfigured, Hint: "rename one of them",
					Err: fmt.Errorf("two accounts are named %s: %s and %s", label(a), source(accounts[j]), source(a)),
				}
			}
			names[k] = i
		}
		if !a.Default {
			continue
		}
		for _, p := range a.Hosts {
			k := slot{a.Layer, p.String()}
			if j, ok := defaults[k]; ok && j != i {
				return &Error{
					Kind: Misconfigured, Hint: "keep default = true on one of them",
					Err: fmt.Errorf("two default accounts for %s: %s at %s and %s at %s",
						p, label(accounts[j]), source(accounts[j]), label(a), source(a)),
				}
			}
			defaults[k] = i
		}
	}
	return nil
}

// ownersOf returns the index entry of p's host, made when missing.
func (s *Selector) ownersOf(p Pattern) owners {
	hosts := s.exact
	if p.wildcards() > 0 {
		name, _, _ := strings.Cut(p.host, ":")
		var mask []bool
		for l := range strings.SplitSeq(name, ".") {
			mask = append(mask, l == "*")
		}
		i := slices.IndexFunc(s.shapes, func(x shape) bool { return slices.Equal(x.mask, mask) })
		if i < 0 {
			i = len(s.shapes)
			s.shapes = append(s.shapes, shape{mask: mask, stars: p.wildcards(), hosts: map[string]owners{}})
		}
		hosts = s.shapes[i].hosts
	}
	if hosts[p.host] == nil {
		hosts[p.host] = owners{}
	}
	return hosts[p.host]
}

// candidate is an account that may answer, with what ranks it.
type candidate struct {
	account int
	path    int // length of the path that matched
	stars   int // wildcards of the pattern that matched
}

// lookup calls yield for the index entry of every pattern shape that fits h,
// the exact one first, then those with fewer wildcards.
func (s *Selector) lookup(h Host, yield func(o owners, stars int)) {
	if o := s.exact[h.s]; o != nil {
		yield(o, 0)
	}
	if len(s.shapes) == 0 {
		return
	}
	labels := h.Labels()
	buf := make([]string, len(labels))
	for _, sh := range s.shapes {
		if len(sh.mask) != len(labels) {
			continue
		}
		for i, l := range labels {
			if sh.mask[i] {
				l = "*"
			}
			buf[i] = l
		}
		if o := sh.hosts[joinPort(strings.Join(buf, "."), h.Port())]; o != nil {
			yield(o, sh.stars)
		}
	}
}

// owning lists the accounts whose pattern covers the repository by whole
// segments.
func (s *Selector) owning(h Host, repository string) []candidate {
	var out []candidate
	s.lookup(h, func(o owners, stars int) {
		for path := repository; ; {
			for _, i := range o[path] {
				out = append(out, candidate{i, len(path), stars})
			}
			if path == "" {
				return
			}
			path = path[:max(strings.LastIndexByte(path, '/'), 0)]
		}
	})
	return out
}

// touching lists the accounts with any pattern on h. Paths do not rank them:
// they have nothing in common with what was asked.
func (s *Selector) touching(h Host) []candidate {
	var out []candidate
	s.lookup(h, func(o owners, stars int) {
		for _, is := range o {
			for _, i := range is {
				out = append(out, candidate{i, 0, stars})
			}
		}
	})
	return out
}

// ExactHosts lists, sorted, the hosts that accounts name without wildcards.
func (s *Selector) ExactHosts() []Host {
	out := make([]Host, 0, len(s.exact))
	for h := range s.exact {
		out = append(out, Host{h})
	}
	slices.SortFunc(out, func(a, b Host) int { return strings.Compare(a.s, b.s) })
	return out
}

// OwnsHost reports whether any account speaks about h or a part of it.
func (s *Selector) OwnsHost(h Host) bool {
	found := false
	s.lookup(h, func(owners, int) { found = true })
	return found
}

// Owners lists the accounts that speak about h or a part of it, in the order
// they were given.
func (s *Selector) Owners(h Host) []Account {
	var is []int
	for _, c := range s.touching(h) {
		is = append(is, c.account)
	}
	slices.Sort(is)
	var out []Account
	for _, i := range slices.Compact(is) {
		out = append(out, s.accounts[i])
	}
	return out
}
