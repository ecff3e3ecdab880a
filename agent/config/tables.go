// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
)

// part is one layer made of one file.
type part struct {
	kind  string // "system", "user", "saved", "job"
	path  string
	short string // in Sources
	layer providers.Layer
}

// tables says which top-level tables a part may have.
var tables = map[string][]string{
	"system": {"agent", "network", "docker", "policy", "account", "mirror"},
	"user":   {"agent", "network", "docker", "policy", "account", "mirror"},
	"saved":  {"docker", "account", "realms", "expires"},
	"job":    {"network", "policy", "account", "mirror"},
}

// sensitive finds what somebody else must not be able to change: accounts,
// secrets, programs, proxies.
func sensitive(root *table) (pos int, ok bool) {
	for _, key := range []string{"account", "docker", "network", "realms"} {
		if e := root.at[key]; e != nil {
			return e.pos, true
		}
	}
	if e := root.at["agent"]; e != nil && e.val.table != nil {
		if k := e.val.table.at["store_key"]; k != nil {
			return k.pos, true
		}
	}
	return 0, false
}

func misplaced(kind, key string) string {
	switch {
	case key == "expires":
		return "give the account expires_in"
	case key == "realms":
		return "write realm_hosts in the account"
	case kind == "saved":
		return "regmint writes this file; settings belong in config.toml"
	default:
		return "a job's own configuration has account, mirror, network and policy"
	}
}

// top decodes one top-level table.
func (l *loader) top(d *decoder, p part, key string, e *entry) {
	if key == "account" || key == "mirror" {
		if e.val.kind != "array" || slices.ContainsFunc(e.val.items, func(v *value) bool { return v.kind != "table" }) {
			d.fail(e.pos, "write [["+key+"]]", "%s must be a list of tables, not %s", key, article(e.val.kind))
			return
		}
		for _, item := range e.val.items {
			if key == "account" {
				l.account(d, p, item.table)
			} else {
				l.mirror(d, p, item.table)
			}
		}
		return
	}
	if !d.want(e.val, "table", key) {
		return
	}
	t := e.val.table
	switch key {
	case "agent":
		d.strict(t, reflect.ValueOf(&l.cfg.Agent).Elem(), "agent.")
		l.checkAgent(d, t)
	case "network":
		d.strict(t, reflect.ValueOf(&l.cfg.Network).Elem(), "network.")
		checkNetwork(d, t, l.cfg.Network.HTTPSProxy, l.cfg.Network.CAFile, "network.")
	case "docker":
		l.docker(d, t)
	case "policy":
		l.policy(d, p, t)
	case "realms":
		l.realms(d, e.val)
	case "expires":
		l.ends(d, e.val)
	}
}

// ends reads when saved accounts end, by name.
func (l *loader) ends(d *decoder, v *value) {
	m := map[string]string{}
	d.value(v, reflect.ValueOf(&m).Elem(), "expires", "")
	for name, text := range m {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			d.fail(v.table.at[name].pos, "", "expires: %q is no time", clean(text))
			continue
		}
		l.expires[name] = t
	}
}

// realms reads the accepted realm hosts by registry.
func (l *loader) realms(d *decoder, v *value) {
	m := map[string][]providers.Host{}
	d.value(v, reflect.ValueOf(&m).Elem(), "realms", "")
	for registry, hosts := range m {
		r, err := providers.ParseHost(registry)
		if err != nil {
			d.fail(v.table.at[registry].pos, "", "realms: %s", clean(err.Error()))
			continue
		}
		for _, h := range hosts {
			l.cfg.Realms[r.String()] = appendNew(l.cfg.Realms[r.String()], h.String())
		}
	}
}

// docker reads [docker]; an empty helper takes a lower layer's entry away.
func (l *loader) docker(d *decoder, t *table) {
	var in Docker
	d.strict(t, reflect.ValueOf(&in).Elem(), "docker.")
	if len(in.Behind) == 0 {
		return
	}
	b := t.at["behind"].val.table
	for _, key := range b.keys {
		host, helper, err := behindEntry(key, in.Behind[key])
		switch {
		case err != nil:
			d.fail(b.at[key].pos, "", "docker.behind: %s", clean(err.Error()))
		case helper == "":
			delete(l.cfg.Docker.Behind, host)
		default:
			l.cfg.Docker.Behind[host] = helper
		}
	}
}

// authsPrefix marks passwords that stay in docker's own config.json: the agent
// reads them there (configdir.AuthsPrefix).
const authsPrefix = "auths:"

// behindEntry validates one entry of [docker] behind.
func behindEntry(host, helper string) (string, string, error) {
	if host != "*" {
		h, err := providers.ParseHost(host)
		if err != nil {
			return "", "", err
		}
		host = h.String()
	}
	if helper == "" {
		return host, "", nil
	}
	if file, ok := strings.CutPrefix(helper, authsPrefix); ok {
		if !filepath.IsAbs(file) {
			return "", "", errors.New(authsPrefix + " needs the absolute path of a docker config.json")
		}
		return host, helper, nil
	}
	name := helper
	if filepath.IsAbs(helper) {
		name = strings.TrimPrefix(filepath.Base(helper), "docker-credential-")
		name = strings.TrimSuffix(name, ".exe")
	} else if !isWord(helper) {
		return "", "", errors.New("a helper is a name of letters, digits, - and _, or an absolute path")
	}
	if name == "regmint" || strings.HasPrefix(name, "regmint-") {
		return "", "", errors.New("regmint cannot stand behind itself")
	}
	return host, helper, nil
}

// isWord reports a non-empty string of letters, digits, - and _.
func isWord(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	})
}
