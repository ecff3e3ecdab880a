// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"github.com/regmint/regmint/providers"
)

// Paths are the files of the three file layers. An empty path is no layer; a
// file that does not exist is an empty layer, unless Required.
type Paths struct {
	System string // /etc/regmint/config.toml
	User   string // the person's config.toml
	Saved  string // config.d/regmint.toml beside it
	// Required: User was named by hand (--config, REGMINT_CONFIG) and must exist.
	Required bool
	// Warnings are about the choice of files.
	Warnings []string
}

// LoadOptions is what Load needs.
type LoadOptions struct {
	Paths     Paths
	Providers []providers.Provider
	// Lenient makes unknown keys warnings (a running agent's reload).
	Lenient bool
}

// TextOptions is what LoadText needs.
type TextOptions struct {
	Name      string // file name for messages and Sources
	Text      string
	Providers []providers.Provider
	// Policy is the policy in force: what it locks the text can only narrow.
	Policy  Policy
	Lenient bool
}

// origin is where an account was read.
type origin struct {
	doc  *document
	pos  int
	part part
	auto bool // its name was made up
}

type loader struct {
	providers []providers.Provider
	lenient   bool
	cfg       *Config
	expires   map[string]time.Time // of saved accounts, by name
	origins   []origin             // of cfg.Accounts
	mirrorBy  []string             // part.kind of cfg.Mirrors
	policyBy  map[string]string
	problems  Problems
}

func newLoader(ps []providers.Provider, lenient bool) *loader {
	return &loader{providers: ps, lenient: lenient, policyBy: map[string]string{}, expires: map[string]time.Time{}, cfg: &Config{
		Agent:  Agent{Store: "auto", AllowRoot: true, IdleExit: providers.Duration(4 * time.Hour)},
		Docker: Docker{Behind: map[string]string{}},
		Realms: map[string][]string{},
	}}
}

// Load reads all layers: defaults, system, config.d/regmint.toml, config.toml.
// The error is Problems: everything that is wrong in all of them.
func Load(o LoadOptions) (*Config, error) {
	l := newLoader(o.Providers, o.Lenient)
	l.cfg.Warnings = append(l.cfg.Warnings, o.Paths.Warnings...)
	for _, p := range []part{
		{kind: "system", path: o.Paths.System, short: o.Paths.System, layer: providers.LayerConfigured},
		{kind: "saved", path: o.Paths.Saved, short: base(o.Paths.Saved), layer: providers.LayerSaved},
		{kind: "user", path: o.Paths.User, short: base(o.Paths.User), layer: providers.LayerConfigured},
	} {
		if p.path == "" {
			continue
		}
		l.cfg.Watches = append(l.cfg.Watches, p.path)
		l.file(p, o.Paths.Required && p.kind == "user")
	}
	return l.finish()
}

func base(path string) string {
	if path == "" {
		return ""
	}
	return filepath.Base(path)
}

// file reads one layer.
func (l *loader) file(p part, required bool) {
	data, info, err := readRegular(p.path, maxFile)
	switch {
	case errors.Is(err, errAbsent) && !required:
		return
	case err != nil:
		l.problems = append(l.problems, Problem{File: p.path, Msg: err.Error()})
		return
	}
	l.cfg.Files = append(l.cfg.Files, p.path)
	doc := l.text(p, data)
	if doc == nil {
		return
	}
	what, hint := exposure(p.path, info)
	if what == "" {
		return
	}
	if pos, ok := sensitive(doc.root); ok {
		l.problems = append(l.problems, doc.problem(pos, hint, "refused, since %s and this decides where credentials go", what))
		return
	}
	l.warn(p.path + ": " + what)
}

// text decodes one layer into the configuration; nil where it has no syntax.
func (l *loader) text(p part, data []byte) *document {
	doc, problem := parse(p.path, p.short, data)
	if problem != nil {
		l.problems = append(l.problems, *problem)
		return nil
	}
	d := &decoder{doc: doc}
	for _, key := range doc.root.keys {
		e := doc.root.at[key]
		switch {
		case slices.Contains(tables[p.kind], key):
			l.top(d, p, key, e)
		case slices.ContainsFunc([]string{"system", "user", "saved"}, func(k string) bool { return slices.Contains(tables[k], key) }):
			d.fail(e.pos, misplaced(p.kind, key), "%s does not belong in this file", clean(key))
		default:
			d.unknownKey(e.pos, key, key, tables[p.kind])
		}
	}
	if p.kind == "saved" {
		for i := range d.unknown {
			d.unknown[i].Hint = "a newer regmint may have written it: use that one, or take the line away"
		}
	}
	l.problems = append(l.problems, d.problems...)
	if l.lenient {
		for _, u := range d.unknown {
			l.warn(u.String())
		}
	} else {
		l.problems = append(l.problems, d.unknown...)
	}
	return doc
}

func (l *loader) warn(s string) { l.cfg.Warnings = append(l.cfg.Warnings, s) }

// finish names accounts, applies realms and policy, and judges the whole.
func (l *loader) finish() (*Config, error) {
	l.nameAccounts()
	for i := range l.cfg.Accounts {
		a, o := &l.cfg.Accounts[i], l.origins[i]
		for _, h := range a.Hosts {
			if exact, ok := h.Exact(); ok {
				a.RealmHosts = appendNew(a.RealmHosts, l.cfg.Realms[exact.String()]...)
			}
		}
		applied, err := l.cfg.Policy.Apply(*a)
		if err != nil {
			l.problems = append(l.problems, o.doc.problem(o.pos, "", "%s", err.Error()))
			continue
		}
		*a = applied
	}
	if err := l.judge(); err != nil {
		return nil, err
	}
	l.splitSpares()
	return l.cfg, nil
}

// splitSpares takes the logins that end by themselves out of the accounts.
func (l *loader) splitSpares() {
	if len(l.expires) == 0 {
		return
	}
	l.cfg.Accounts = slices.DeleteFunc(l.cfg.Accounts, func(a providers.Account) bool {
		until, ok := l.expires[a.Name]
		if ok = ok && a.Layer == providers.LayerSaved; ok {
			l.cfg.Spares = append(l.cfg.Spares, Spare{a, until})
		}
		return ok
	})
}

// judge returns what is wrong, in the order of lines, nil where all is well.
// The selector has the last word on what it cannot index.
func (l *loader) judge() error {
	l.checkDefaults()
	if len(l.problems) == 0 {
		if _, err := providers.NewSelector(l.cfg.Accounts); err != nil {
			l.problems = append(l.problems, Problem{File: "configuration", Msg: err.Error()})
		}
	}
	if len(l.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(l.problems, func(a, b Problem) int {
		if a.File != b.File {
			return cmp.Compare(slices.Index(l.cfg.Watches, a.File), slices.Index(l.cfg.Watches, b.File))
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	return l.problems
}

func appendNew(list []string, more ...string) []string {
	for _, m := range more {
		if !slices.Contains(list, m) {
			list = append(list, m)
		}
	}
	return list
}

// LoadText reads a job's own --config: [[account]], [[mirror]], [network] and
// [policy]. Accounts get LayerJobConfig; [network] becomes theirs where they
// say nothing. References are not resolved here: see ResolveAll and
// Resolver.Resolved. The error is Problems.
func LoadText(o TextOptions) (*Config, error) {
	l := newLoader(o.Providers, o.Lenient)
	l.cfg.Policy = o.Policy
	for _, key := range o.Policy.Lock {
		l.policyBy[key] = "the policy in force"
	}
	name := cmp.Or(o.Name, "job configuration")
	p := part{kind: "job", path: clean(name), short: clean(base(name)), layer: providers.LayerJobConfig}
	if len(o.Text) > maxFile {
		return nil, Problems{{File: p.path, Msg: "larger than " + size(maxFile)}}
	}
	l.text(p, []byte(o.Text))
	for i := range l.cfg.Accounts {
		a := &l.cfg.Accounts[i]
		a.HTTPSProxy = cmp.Or(a.HTTPSProxy, l.cfg.Network.HTTPSProxy)
		a.NoProxy = cmp.Or(a.NoProxy, l.cfg.Network.NoProxy)
		a.CAFile = cmp.Or(a.CAFile, l.cfg.Network.CAFile)
	}
	return l.finish()
}

// line is "config.toml:14: " for warnings.
func (d *decoder) line(pos int) string { return d.doc.source(pos) + ": " }

// key is the place of a key, of the table where the key is absent.
func (t *table) key(name string) int {
	if e := t.at[name]; e != nil {
		return e.val.pos
	}
	return t.pos
}

// has reports whether the table sets a key.
func (t *table) has(name string) bool { return t.at[name] != nil }
