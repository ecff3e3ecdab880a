// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/regmint/regmint/providers"
)

// account decodes one [[account]]: first the keys every account has, then the
// rest into the options of its provider.
func (l *loader) account(d *decoder, p part, t *table) {
	var a providers.Account
	common := fieldsOf(reflect.TypeFor[providers.Account]())
	rest := d.structure(t, reflect.ValueOf(&a).Elem(), common, "account.")
	a.Layer, a.Source = p.layer, d.doc.source(t.pos)
	if len(a.Hosts) == 0 && (!t.has("hosts") || t.at["hosts"].val.kind == "array") {
		d.fail(t.key("hosts"), `write hosts = ["registry.example.com"]`, "the account has no hosts")
	}
	if a.Provider == "" {
		a.Provider = l.match(a.Hosts)
	}
	if provider := l.provider(a.Provider); provider != nil {
		a.Options = l.options(d, t, provider, rest, keysOf(common))
	} else {
		names := make([]string, len(l.providers))
		for i, pr := range l.providers {
			names[i] = pr.Name()
		}
		hint := "see regmint providers"
		if n := nearest(a.Provider, names); n != "" {
			hint = fmt.Sprintf("did you mean %q?", n)
		}
		d.fail(t.key("provider"), hint, "there is no provider %q", clean(a.Provider))
	}
	l.checkAccount(d, t, &a)
	a.Grants = grants(a)
	l.cfg.Accounts = append(l.cfg.Accounts, a)
	l.origins = append(l.origins, origin{doc: d.doc, pos: t.pos, part: p, auto: a.Name == ""})
}

// match finds the provider that knows the first host named in full.
func (l *loader) match(hosts []providers.Pattern) string {
	for _, h := range hosts {
		exact, ok := h.Exact()
		if !ok {
			continue
		}
		for _, p := range l.providers {
			if p.Match(exact) {
				return p.Name()
			}
		}
		break
	}
	return "generic"
}

func (l *loader) provider(name string) providers.Provider {
	for _, p := range l.providers {
		if p.Name() == name {
			return p
		}
	}
	return nil
}

// options decodes the keys that are not common into the provider's struct.
func (l *loader) options(d *decoder, t *table, p providers.Provider, rest, common []string) any {
	opts := p.Options()
	v := reflect.ValueOf(opts)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		for _, key := range rest {
			l.foreignKey(d, t, key, p, common)
		}
		return opts
	}
	sub := &table{keys: rest, at: t.at, pos: t.pos}
	fs := fieldsOf(v.Elem().Type())
	for _, key := range d.structure(sub, v.Elem(), fs, "account.") {
		l.foreignKey(d, t, key, p, append(slices.Clone(common), keysOf(fs)...))
	}
	return opts
}

// foreignKey complains about a key the account's provider does not take, and
// says whose it is.
func (l *loader) foreignKey(d *decoder, t *table, key string, p providers.Provider, valid []string) {
	var owners []string
	for _, other := range l.providers {
		if slices.ContainsFunc(optionFields(other), func(f field) bool { return f.key == key }) {
			owners = append(owners, other.Name())
		}
	}
	if len(owners) == 0 {
		d.unknownKey(t.at[key].pos, "account."+key, key, valid)
		return
	}
	d.unknown = append(d.unknown, d.doc.problem(t.at[key].pos, "set provider, or take the key away",
		"%q is a key of provider %s; this account's provider is %s", clean(key), strings.Join(owners, ", "), p.Name()))
}

// optionFields lists the fields of a provider's options.
func optionFields(p providers.Provider) []field {
	t := reflect.TypeOf(p.Options())
	if t == nil || t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return nil
	}
	return fieldsOf(t.Elem())
}

// checkAccount validates the common keys and fills what they imply.
func (l *loader) checkAccount(d *decoder, t *table, a *providers.Account) {
	if a.Name != "" {
		if err := CheckAccountName(a.Name); err != nil {
			d.fail(t.key("name"), "", "account.name: %s", err)
		}
	}
	if hasControl(a.Username) || len(a.Username) > 1024 {
		d.fail(t.key("username"), "", "account.username: control character in it, or longer than 1024 bytes")
	}
	for _, r := range a.Repositories {
		if err := checkRepository(r); err != nil {
			d.fail(t.key("repositories"), "", "account.repositories: %s", clean(err.Error()))
		}
	}
	for i, r := range a.RealmHosts {
		h, err := providers.ParseHost(r)
		if err != nil {
			d.fail(t.key("realm_hosts"), "", "account.realm_hosts: %s", clean(err.Error()))
			continue
		}
		a.RealmHosts[i] = h.String()
	}
	if !a.RotateTo.IsZero() && a.RotateTo.Scheme != "exec" {
		d.fail(t.key("rotate_to"), `write rotate_to = { exec = ["/PATH", "ARG"] }`, "account.rotate_to must be a program")
	}
	if !t.has("plain_http") {
		a.PlainHTTP = allLoopback(a.Hosts)
	}
	checkNetwork(d, t, a.HTTPSProxy, a.CAFile, "account.")
	if err := checkEndpoint(a.Endpoint, a.PlainHTTP); err != nil {
		d.fail(t.key("endpoint"), "", "account.endpoint: %s", err)
	}
}

// CheckAccountName says what is wrong with the name of an account: names stand
// in links (docker-credential-regmint-NAME), variables and commands.
func CheckAccountName(s string) error {
	if len(s) > 128 || s == "" || strings.Trim(s, ".-_") != s || strings.ContainsFunc(s, func(r rune) bool { return !isNameRune(r) }) {
		return errors.New("use up to 128 letters, digits, dots, - and _, with a letter or digit at both ends")
	}
	if s == "soft" {
		return errors.New(`"soft" is taken: docker-credential-regmint-soft means something else`)
	}
	return nil
}

func isNameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.'
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}

// checkRepository reads a repository as the grammar of targets does.
func checkRepository(s string) error {
	t, err := providers.ParseTarget("registry.invalid/" + s)
	if err != nil {
		return fmt.Errorf("%q is no repository", s)
	}
	if t.Repository != s || t.Access != 0 {
		return fmt.Errorf("%q is no repository: write it without host, tag and access", s)
	}
	return nil
}

// allLoopback: http is implied only where every host of the account is local.
func allLoopback(hosts []providers.Pattern) bool {
	for _, h := range hosts {
		if exact, ok := h.Exact(); !ok || !exact.IsLoopback() {
			return false
		}
	}
	return len(hosts) > 0
}

// grants is what access and repositories narrow an account to.
func grants(a providers.Account) []providers.Grant {
	if len(a.Repositories) == 0 {
		if a.Access == 0 {
			return nil
		}
		return []providers.Grant{{Access: a.Access}}
	}
	out := make([]providers.Grant, len(a.Repositories))
	for i, r := range a.Repositories {
		out[i] = providers.Grant{Repository: r, Access: a.Access}
	}
	return providers.MergeGrants(out)
}

// checkNetwork validates proxy and CA of an account or of [network].
func checkNetwork(d *decoder, t *table, proxy, ca, path string) {
	if proxy != "" && t.has("https_proxy") {
		u, err := url.Parse(proxy)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
			d.fail(t.key("https_proxy"), "write http://host:port", "%shttps_proxy is no proxy URL", path)
		case u.User != nil:
			d.fail(t.key("https_proxy"), "set HTTPS_PROXY in the agent's environment instead", "%shttps_proxy holds a login, and secrets have no place here", path)
		}
	}
	if ca != "" && t.has("ca_file") && !filepath.IsAbs(ca) {
		d.fail(t.key("ca_file"), "", "%sca_file needs an absolute path", path)
	}
}

// checkEndpoint wants a URL that keeps secrets on TLS.
func checkEndpoint(s string, plain bool) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return errors.New("write https://host or https://host/path")
	}
	if u.User != nil {
		return errors.New("a URL must not hold a login")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return errors.New("a URL without ? and #")
	}
	if u.Scheme == "http" && !plain {
		if h, err := providers.ParseHost(u.Host); err != nil || !h.IsLoopback() {
			return errors.New("http would send secrets in the clear: use https, or set plain_http = true")
		}
	}
	return nil
}
