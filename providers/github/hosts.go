// SPDX-License-Identifier: Apache-2.0

package github

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/regmint/regmint/providers"
)

// site is the instance that a registry belongs to.
type site struct {
	web     string // "github.com": where people log in, and what gh calls it
	api     string // "https://api.github.com", no slash at the end
	retired bool
}

// publicWeb is where people log in to github.com.
const publicWeb = "github.com"

// known reads a registry's name:
//
//	ghcr.io                    github.com
//	docker.pkg.github.com      github.com; retired, images were moved to ghcr.io
//	containers.SUB.ghe.com     SUB.ghe.com
func known(h providers.Host) (site, bool) {
	switch h.String() {
	case "ghcr.io":
		return instance(publicWeb), true
	case "docker.pkg.github.com":
		s := instance(publicWeb)
		s.retired = true
		return s, true
	}
	if labels, ok := h.Under("ghe.com"); ok && len(labels) == 2 && labels[0] == "containers" {
		return instance(labels[1] + ".ghe.com"), true
	}
	return site{}, false
}

// instance is the site of a web name.
func instance(web string) site {
	h, err := providers.ParseHost(web)
	if err != nil {
		return site{web: web}
	}
	if h.String() == publicWeb {
		return site{web: web, api: "https://api.github.com"}
	}
	if labels, ok := h.Under("ghe.com"); ok && len(labels) == 1 {
		return site{web: web, api: "https://api." + web}
	}
	return site{web: web, api: "https://" + web + "/api/v3"}
}

// site finds the instance of a registry. A token of one instance is never sent
// to another's.
func (s *source) site(h providers.Host) (site, error) {
	at, ok := known(h)
	switch {
	case ok && at.retired:
		return at, s.fail(h, providers.Misconfigured, "use ghcr.io/OWNER/IMAGE", errors.New("this registry is retired: its images were moved to ghcr.io"))
	case ok && s.options.Server != "" && s.options.server() != at.web:
		return at, s.fail(h, providers.Misconfigured, "", fmt.Errorf("account %q is for %s, and this registry is of %s", s.account.Name, s.options.server(), at.web))
	case ok && at.web != publicWeb && s.options.Server == "" && !s.options.GH && s.account.Layer != providers.LayerAmbient && !s.exact(h):
		return at, s.fail(h, providers.Misconfigured, "write it in full in hosts, or set server", fmt.Errorf("account %q: a wildcard does not say which of GHE.com's it is for", s.account.Name))
	case !ok && s.account.Layer == providers.LayerAmbient:
		return at, s.fail(h, providers.NoAccount, "", errors.New("not a registry of GitHub's"))
	case !ok && !s.exact(h):
		return at, s.fail(h, providers.Misconfigured, "write it in full in hosts", fmt.Errorf("account %q: a wildcard gives tokens to GitHub's own names alone", s.account.Name))
	case !ok:
		web := s.options.server()
		if web == "" {
			web = enterprise(h)
		}
		at = instance(web)
	}
	if s.account.Endpoint != "" {
		at.api = strings.TrimRight(s.account.Endpoint, "/")
	}
	return at, nil
}

// instances are those of the hosts that an account writes in full, each once.
func instances(a providers.Account) []string {
	var out []string
	for _, p := range a.Hosts {
		h, ok := p.Exact()
		if !ok {
			continue
		}
		web := enterprise(h)
		if at, is := known(h); is {
			web = at.web
		}
		if !slices.Contains(out, web) {
			out = append(out, web)
		}
	}
	return out
}

// exact reports a host that a person wrote down in full.
func (s *source) exact(h providers.Host) bool {
	for _, p := range s.account.Hosts {
		if e, ok := p.Exact(); ok && e == h {
			return true
		}
	}
	return false
}

// enterprise is the server of a registry's name: with subdomain isolation
// containers.HOSTNAME or docker.HOSTNAME, without it HOSTNAME.
func enterprise(h providers.Host) string {
	labels := h.Labels()
	if len(labels) > 2 && (labels[0] == "containers" || labels[0] == "docker") {
		return strings.Join(labels[1:], ".")
	}
	return h.String()
}

// newToken is the page that makes a classic token. With a long name the scopes
// would push the address out of a line of 160 characters.
func (t site) newToken(scopes ...string) string {
	at := "https://" + t.web + "/settings/tokens"
	if len(t.web) > 16 {
		return at
	}
	return at + "/new?scopes=" + strings.Join(scopes, ",")
}

// deviceURL and tokenURL are the endpoints of the device login.
func (t site) deviceURL() string { return "https://" + t.web + "/login/device/code" }
func (t site) tokenURL() string  { return "https://" + t.web + "/login/oauth/access_token" }

// serverOf reads "HOSTNAME" and "https://HOSTNAME".
func serverOf(text string) (string, error) {
	if strings.Contains(text, "://") {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			return "", errors.New("server is the name of the instance: github.example.com")
		}
		text = u.Host
	}
	h, err := providers.ParseHost(text)
	if err != nil {
		return "", fmt.Errorf("server: %w", err)
	}
	return h.String(), nil
}
