// SPDX-License-Identifier: Apache-2.0

package config

import (
	"reflect"
	"slices"

	"github.com/regmint/regmint/providers"
)

// mirror decodes one [[mirror]]; a user's entry for a host replaces the
// system's.
func (l *loader) mirror(d *decoder, p part, t *table) {
	var m Mirror
	d.strict(t, reflect.ValueOf(&m).Elem(), "mirror.")
	m.Source = d.doc.source(t.pos)
	before := len(d.problems)
	if !t.has("host") {
		d.fail(t.pos, `write host = "docker.io"`, "the mirror has no host")
	}
	if len(m.Mirrors) == 0 {
		d.fail(t.key("mirrors"), `write mirrors = ["mirror.example.com"]`, "the mirror has no mirrors")
	}
	for i, s := range m.Mirrors {
		pat, err := providers.ParsePattern(s)
		if err == nil {
			if _, exact := pat.Exact(); exact {
				m.Mirrors[i] = pat.String()
				continue
			}
			d.fail(t.key("mirrors"), "", "mirror.mirrors: %q: a mirror is one host, without *", clean(s))
			continue
		}
		d.fail(t.key("mirrors"), "write HOST or HOST/PATH", "mirror.mirrors: %s", clean(err.Error()))
	}
	if len(d.problems) > before || m.Host.IsZero() {
		return
	}
	i := slices.IndexFunc(l.cfg.Mirrors, func(o Mirror) bool { return o.Host == m.Host })
	switch {
	case i < 0:
		l.cfg.Mirrors = append(l.cfg.Mirrors, m)
		l.mirrorBy = append(l.mirrorBy, p.kind)
	case l.mirrorBy[i] == p.kind:
		d.fail(t.key("host"), "write all mirrors of a host in one [[mirror]]", "%s is mirrored twice: %s and %s", m.Host, l.cfg.Mirrors[i].Source, m.Source)
	default:
		l.cfg.Mirrors[i], l.mirrorBy[i] = m, p.kind
	}
}

// checkAgent validates [agent].
func (l *loader) checkAgent(d *decoder, t *table) {
	switch l.cfg.Agent.StoreKey.Scheme {
	case "", "file", "exec":
	default:
		d.fail(t.key("store_key"), `write "file:/PATH" or { exec = ["/PATH", "ARG"] }`, "agent.store_key must be a file or a program")
	}
}
