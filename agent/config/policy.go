// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/regmint/regmint/providers"
)

// policy lays one file's [policy] over the one below. A key the system file
// locks only gets narrower.
func (l *loader) policy(d *decoder, p part, t *table) {
	var in Policy
	d.strict(t, reflect.ValueOf(&in).Elem(), "policy.")
	if len(in.Lock) > 0 && p.kind != "system" {
		d.fail(t.key("lock"), "", "policy.lock belongs in the system file")
		in.Lock = nil
	}
	for _, key := range in.Lock {
		if !t.has(key) {
			d.fail(t.key("lock"), "", "policy.lock names %s, which is not set here", key)
		}
	}
	out := &l.cfg.Policy
	if t.has("access") {
		l.policyAccess(d, t, in.Access)
	}
	if t.has("narrow") {
		if l.locked("narrow") && out.Narrow == providers.NarrowRequire && in.Narrow != out.Narrow {
			l.lockWarning(d, t, "narrow")
		} else {
			out.Narrow = in.Narrow
		}
	}
	if t.has("on_failure") {
		if l.locked("on_failure") && out.OnFailure != providers.OnFailureAnonymous && in.OnFailure == providers.OnFailureAnonymous {
			l.lockWarning(d, t, "on_failure")
		} else {
			out.OnFailure = in.OnFailure
		}
	}
	for _, key := range in.Lock {
		l.policyBy[key] = p.path
		out.Lock = appendNew(out.Lock, key)
	}
}

func (l *loader) policyAccess(d *decoder, t *table, in providers.Access) {
	out := &l.cfg.Policy.Access
	if !l.locked("access") {
		*out = in
		return
	}
	both := *out & in
	switch {
	case in == 0:
		l.lockWarning(d, t, "access")
	case both == 0:
		d.fail(t.key("access"), "", "policy.access: %s is outside of what %s allows (%s)", in, l.policyBy["access"], *out)
	default:
		if both != in {
			l.lockWarning(d, t, "access")
		}
		*out = both
	}
}

func (l *loader) locked(key string) bool { return slices.Contains(l.cfg.Policy.Lock, key) }

func (l *loader) lockWarning(d *decoder, t *table, key string) {
	l.warn(fmt.Sprintf("%spolicy.%s is locked by %s and stays narrower", d.line(t.key(key)), key, l.policyBy[key]))
}

// Locked reports whether the system file locks a key of [policy].
func (p Policy) Locked(key string) bool { return slices.Contains(p.Lock, key) }

// Apply returns a with the policy applied: what the account leaves open is
// taken from the policy, and a locked key is never wider than the policy says.
// Accounts that Load and LoadText return have it applied already; ambient and
// stored accounts get it from their caller. Applying twice changes nothing.
// The error says that the account asks for nothing the policy allows.
func (p Policy) Apply(a providers.Account) (providers.Account, error) {
	switch {
	case p.Access == 0:
	case a.Access == 0:
		a.Access = p.Access
	case p.Locked("access"):
		both := a.Access & p.Access
		if both == 0 {
			return a, fmt.Errorf("account %q asks for %s, and the policy allows %s alone", a.Name, a.Access, p.Access)
		}
		a.Access = both
	}
	switch {
	case a.Narrow == "", p.Locked("narrow") && p.Narrow == providers.NarrowRequire:
		a.Narrow = p.Narrow
	}
	switch {
	case a.OnFailure == "", p.Locked("on_failure") && p.OnFailure != providers.OnFailureAnonymous:
		a.OnFailure = p.OnFailure
	}
	a.Grants = grants(a)
	return a, nil
}
