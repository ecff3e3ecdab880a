// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"fmt"
	"slices"
)

// former is who answers docker for host today: a helper, or "" for the file.
func (i *installer) former(host string) string {
	if h, ok := i.d.helper(lookupKey(host)); ok {
		return h
	}
	if host == HubHost && i.store == "" {
		// Docker does not look there, podman does.
		for _, k := range helperKeys(host) {
			if h, ok := i.d.helper(k); ok && !i.hasAuth(host) {
				return h
			}
		}
	}
	return i.store
}

func (i *installer) hasAuth(host string) bool {
	e, ok := i.d.authFor(host)
	if !ok {
		return false
	}
	_, ok, err := decodeAuthEntry(e)
	return ok && err == nil
}

// formerHelpers finds what has to stand behind us, so that every login that
// works today goes on working.
func (i *installer) formerHelpers(all bool) {
	logins, warnings := i.d.logins()
	i.p.Notes = append(i.p.Notes, warnings...)
	if all {
		i.formerStore(logins)
	}
	for _, host := range i.o.Hosts {
		helper := i.former(host)
		switch {
		case ours(helper):
		case helper != "":
			i.behind(host, helper)
		case i.hasAuth(host):
			i.p.Behind[host] = AuthsPrefix + i.d.path
		}
		// One value for all hosts says it once.
		if i.p.Behind[host] != "" && i.p.Behind[host] == i.p.Behind["*"] {
			delete(i.p.Behind, host)
		}
	}
	for _, l := range logins {
		if i.shadows(l.Host, all) {
			i.p.PlainAuths = append(i.p.PlainAuths, l)
		}
	}
}

// formerStore is what stands behind credsStore.
func (i *installer) formerStore(logins []Login) {
	switch {
	case ours(i.store):
	case i.store != "":
		i.behind("*", i.store)
	case len(logins) > 0:
		i.p.Behind["*"] = AuthsPrefix + i.d.path
	}
}

// shadows reports a plain entry that docker reads today and will not any more.
func (i *installer) shadows(host string, all bool) bool {
	if i.former(host) != "" {
		return false
	}
	if _, named := i.d.helper(lookupKey(host)); named {
		return slices.Contains(i.o.Hosts, host) // exempted by hand, unless asked for by name
	}
	return all || slices.Contains(i.o.Hosts, host)
}

// behind resolves a helper on the caller's PATH: later callers may have another.
func (i *installer) behind(host, helper string) {
	path, ok := i.o.Caller.findHelper(helper)
	if !ok {
		i.note(fmt.Sprintf("%s%s is not on the PATH: what it holds could not be read before either, and stays out of reach", helperPrefix, helper))
		return
	}
	i.p.Behind[host] = path
}

func (i *installer) note(s string) {
	if !slices.Contains(i.p.Notes, s) {
		i.p.Notes = append(i.p.Notes, s)
	}
}
