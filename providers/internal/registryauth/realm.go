// SPDX-License-Identifier: Apache-2.0

package registryauth

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// RealmError is the cause of a Misconfigured *Error where a challenge sends
// the credential to a place it must not go. login may ask the user where Host
// is set and Ask is true, and add the host to realm_hosts.
type RealmError struct {
	Realm  string         // printable, without userinfo and query
	Host   providers.Host // zero where the realm is no acceptable URL at all
	Ask    bool           // only the name is not known: a person may accept it
	Reason string
}

// Error reads "the registry sends the login to auth.example.com: reason".
func (e *RealmError) Error() string {
	to := e.Realm
	if !e.Host.IsZero() {
		to = e.Host.String()
	}
	if to == "" {
		return "the registry names no usable token server: " + e.Reason
	}
	return "the registry sends the login to " + to + ": " + e.Reason
}

// UntrustedRealm is for callers outside of providers: the realm for a person,
// its host, and whether a person may accept it.
func (e *RealmError) UntrustedRealm() (realm string, host providers.Host, ask bool) {
	return e.Realm, e.Host, e.Ask
}

// realm is a token server that may see the credential.
type realm struct {
	url    *url.URL
	policy httpx.AddrPolicy
}

// maxRealm bounds a realm's length in bytes.
const maxRealm = 2 << 10

// trusted applies the rule for realms: scheme https (http only where the
// registry itself is reached by http), and a name that is the registry's own,
// known to the provider, or listed in realm_hosts. What the name leads to is
// checked at the dial: link-local and metadata addresses never, loopback only
// for a loopback registry, private ones only for a private registry or a
// listed name. A registry that asks for more than one of its own ports is
// itself: the registry's host means the name.
func (r *Registry) trusted(raw string) (realm, error) {
	u, reason := parseRealm(raw)
	if reason != "" {
		return realm{}, r.refuse(&RealmError{Reason: reason})
	}
	h, err := providers.ParseHost(u.Host)
	if err != nil {
		return realm{}, r.refuse(&RealmError{Realm: httpx.CleanURL(u), Reason: "not a valid host"})
	}
	bad := &RealmError{Realm: httpx.CleanURL(u), Host: h}
	if u.Scheme == "http" && !r.plain {
		bad.Reason = "insecure realm (http from a registry reached by https)"
		return realm{}, r.refuse(bad)
	}
	listed := r.listed(h)
	if !listed && h.Name() != r.cfg.Host.Name() {
		bad.Reason, bad.Ask = "not a token server known for it", true
		return realm{}, r.refuse(bad)
	}
	p := httpx.PolicyLike(r.peer)
	p.Loopback = p.Loopback || r.cfg.Host.IsLoopback()
	p.Private = p.Private || listed
	if a, ok := h.Addr(); ok && !r.cfg.HTTP.Proxied(u) {
		if err := p.Check(a); err != nil {
			bad.Reason = err.Error()
			return realm{}, r.refuse(bad)
		}
	}
	return realm{url: u, policy: p}, nil
}

// TokenServer is the challenge's realm and a client that reaches it under the
// rule for realms, for products with an exchange of their own beside it. Close
// the client with CloseIdle. Errors are as those of Exchange.
func (r *Registry) TokenServer() (*url.URL, *httpx.Client, error) {
	to, err := r.trusted(r.Challenge.Params["realm"])
	if err != nil {
		return nil, nil, err
	}
	return to.url, r.cfg.HTTP.Guarded(to.policy), nil
}

// parseRealm returns the reason where raw is no URL to send anything to.
func parseRealm(raw string) (*url.URL, string) {
	switch {
	case raw == "":
		return nil, "no realm"
	case len(raw) > maxRealm:
		return nil, "a realm of more than 2 KiB"
	case strings.ContainsFunc(raw, func(c rune) bool { return c <= 0x20 || c >= 0x7f || c == '\\' }):
		return nil, "a realm with odd characters"
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil, u.Host == "", u.Opaque != "", u.Scheme != "https" && u.Scheme != "http":
		return nil, "a realm that is no absolute http or https URL"
	case u.User != nil:
		return nil, "a realm with a user name in it"
	case u.Fragment != "" || strings.Contains(raw, "#"):
		return nil, "a realm with a fragment"
	}
	return u, ""
}

// listed reports a host the provider or the account names as token server.
func (r *Registry) listed(h providers.Host) bool {
	if slices.Contains(r.cfg.Realms, h) {
		return true
	}
	for _, s := range r.cfg.Account.RealmHosts {
		if p, err := providers.ParsePattern(s); err == nil && p.Path() == "" && p.MatchHost(h) {
			return true
		}
	}
	return false
}

func (r *Registry) refuse(e *RealmError) error {
	out := r.fail(providers.Misconfigured, e)
	if e.Ask {
		out.Hint = fmt.Sprintf("if that is its token server, add realm_hosts = [%q] to the account", e.Host)
	}
	return out
}
