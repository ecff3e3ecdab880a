// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// sameAccount refuses an ambient identity of another account where a profile
// of the registry's own account is at hand: it was forgotten. Where there is
// none, a repository policy may well let the identity in, and nothing is
// refused. A configured account means what it says.
func (c *call) sameAccount(t token, p *plan) error {
	if c.account.Layer != providers.LayerAmbient || c.place.public || t.account == "" || t.account == c.place.account {
		return nil
	}
	fit := c.matching(files{config: c.deps.Env[envConfig], creds: c.deps.Env[envCredentials]}, c.place.account)
	if len(fit) == 0 {
		return nil
	}
	who := p.who
	if p.profile != "" {
		who = fmt.Sprintf("profile %q", httpx.Printable(p.profile, 60))
	}
	return c.fail(providers.Misconfigured, "",
		fmt.Errorf("host is account %s, %s is %s; matching profiles: %s", c.place.account, who, t.account, strings.Join(fit, ", ")))
}

// matching names the profiles of an account.
func (s *source) matching(f files, account string) []string {
	var out []string
	for _, p := range s.sections(f).profiles() {
		if p.account == account {
			out = append(out, httpx.Printable(p.name, 60))
		}
	}
	if len(out) > 5 {
		out = append(out[:5], fmt.Sprintf("and %d more", len(out)-5))
	}
	return out
}

// Watches implements providers.Watcher: the files an answer depends on. The
// login of another tool (aws sso login) is taken up at the next get.
func (s *source) Watches() []string {
	o, home := s.options, s.deps.Home
	out := o.WebIdentity.Watches()
	for _, r := range []providers.SecretRef{o.SecretAccessKey, o.SessionToken, o.ContainerToken} {
		if r.Scheme == "file" {
			out = append(out, r.Value)
		}
	}
	f := files{}
	if s.account.Layer == providers.LayerAmbient {
		f = files{config: s.deps.Env[envConfig], creds: s.deps.Env[envCredentials]}
		if name := s.deps.Env[envWebFile]; filepath.IsAbs(name) {
			out = append(out, name)
		}
	} else if len(o.sources()) > 0 && o.Profile == "" && !o.sso() {
		return out
	}
	cfg, creds := f.named(home)
	for _, name := range []string{cfg, creds} {
		if filepath.IsAbs(name) {
			out = append(out, name)
		}
	}
	return append(out, s.logins(f)...)
}

// logins are the files of the logins that the account can use.
func (s *source) logins(f files) []string {
	if s.deps.Home == "" {
		return nil
	}
	seen := map[string]bool{}
	add := func(key string) {
		if key != "" {
			seen[center{session: key}.file(s.deps.Home)] = true
		}
	}
	add(s.options.SSOSession)
	if s.options.SSOSession == "" {
		add(s.options.SSOStartURL)
	}
	if !s.options.sso() {
		for name, keys := range s.sections(f) {
			session, ok := strings.CutPrefix(name, "sso-session ")
			if ok {
				add(session)
			} else if keys["sso_session"] == "" {
				add(keys["sso_start_url"])
			}
		}
	}
	var out []string
	for name := range seen {
		out = append(out, name)
	}
	return out
}
