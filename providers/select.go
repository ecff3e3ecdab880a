// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Select returns the account for host and repository ("" = host alone). pick
// names an account ("" = by rule). Job logins win for their host; then longest
// path, exact over wildcard (fewer wildcards over more), lower Layer,
// default=true. A host-only key may be answered by a path account where no
// account owns the whole host. Errors are *Error of kind NoAccount or
// Misconfigured (several, none default: lists the names; pick owns nothing on
// the host and no job login does: lists those that do).
func (s *Selector) Select(h Host, repository, pick string) (Account, error) {
	if pick != "" {
		return s.picked(h, repository, pick)
	}
	cs := s.owning(h, repository)
	if len(cs) == 0 && repository == "" {
		cs = s.touching(h)
	}
	return s.best(h, cs)
}

// picked chooses among the accounts of one name; it owns the host as soon as
// one of its patterns speaks about it, since docker asks by host alone. Where
// it does not, a login made inside the job still wins for its host.
func (s *Selector) picked(h Host, repository, pick string) (Account, error) {
	all := s.touching(h)
	other := func(c candidate) bool { return s.accounts[c.account].Name != pick }
	if cs := slices.DeleteFunc(s.owning(h, repository), other); len(cs) > 0 {
		return s.best(h, cs)
	}
	if cs := slices.DeleteFunc(slices.Clone(all), other); len(cs) > 0 {
		return s.best(h, cs)
	}
	login := func(c candidate) bool { return s.accounts[c.account].Layer == LayerJobLogin }
	if len(all) == 0 || slices.ContainsFunc(all, login) {
		return s.Select(h, repository, "")
	}
	return Account{}, &Error{
		Kind: Misconfigured, Host: h,
		Err:  fmt.Errorf("account %q has no entry for this host; these have: %s", escape(pick), s.names(all)),
		Hint: "choose one of them with REGMINT_ACCOUNT or --account",
	}
}

// best ranks the candidates; accounts that rank alike are told apart by their
// default mark alone.
func (s *Selector) best(h Host, cs []candidate) (Account, error) {
	if len(cs) == 0 {
		return Account{}, &Error{Kind: NoAccount, Host: h, Err: errors.New("no account for this host")}
	}
	slices.SortFunc(cs, func(a, b candidate) int { return cmp.Or(s.rank(a, b), cmp.Compare(a.account, b.account)) })
	end := slices.IndexFunc(cs, func(c candidate) bool { return s.rank(cs[0], c) != 0 })
	if end > 0 {
		cs = cs[:end]
	}
	cs = slices.CompactFunc(cs, func(a, b candidate) bool { return a.account == b.account })
	if len(cs) == 1 {
		return s.accounts[cs[0].account], nil
	}
	marked := slices.DeleteFunc(slices.Clone(cs), func(c candidate) bool { return !s.accounts[c.account].Default })
	if len(marked) == 1 {
		return s.accounts[marked[0].account], nil
	}
	what := "several accounts own this host and none is the default"
	if len(marked) > 1 {
		what, cs = "several default accounts own parts of this host", marked
	}
	return Account{}, &Error{
		Kind: Misconfigured, Host: h,
		Err:  fmt.Errorf("%s: %s", what, s.names(cs)),
		Hint: "set default = true on one of them, or choose with REGMINT_ACCOUNT or --account",
	}
}

// rank orders candidates, the better one first.
func (s *Selector) rank(a, b candidate) int {
	la, lb := s.accounts[a.account].Layer, s.accounts[b.account].Layer
	if (la == LayerJobLogin) != (lb == LayerJobLogin) {
		return cmp.Compare(la, lb)
	}
	return cmp.Or(cmp.Compare(b.path, a.path), cmp.Compare(a.stars, b.stars), cmp.Compare(la, lb))
}

// maxNames bounds the accounts an error lists.
const maxNames = 8

// names lists accounts for an error, sorted.
func (s *Selector) names(cs []candidate) string {
	set := map[string]bool{}
	for _, c := range cs {
		set[label(s.accounts[c.account])] = true
	}
	names := slices.Sorted(maps.Keys(set))
	if more := len(names) - maxNames; more > 0 {
		names = append(names[:maxNames], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

// label is the name of an account, or where it was read.
func label(a Account) string {
	if a.Name != "" {
		return escape(a.Name)
	}
	return source(a)
}

func source(a Account) string {
	if a.Source != "" {
		return escape(a.Source)
	}
	return "an unnamed account"
}
