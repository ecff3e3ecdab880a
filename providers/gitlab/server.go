// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/registryauth"
)

// server is GitLab itself, as a registry's login leads to it.
type server struct {
	base string // no slash at its end
	http *httpx.Client
}

// realmPath is the path of GitLab's token endpoint below its own URL.
const realmPath = "/jwt/auth"

// maxServers bounds how many hosts of an account with a wildcard are remembered.
const maxServers = 64

// knownBase is GitLab's URL where no question has to be asked.
func (s *source) knownBase(h providers.Host) string {
	if s.plan.base == "" && slices.Contains(saas, h.String()) {
		return saasURL
	}
	return s.plan.base
}

func hostOf(base string) (providers.Host, bool) {
	u, err := url.Parse(base)
	if err != nil {
		return providers.Host{}, false
	}
	h, err := providers.ParseHost(u.Host)
	return h, err == nil
}

// gitlab is GitLab behind the registry h: it cannot be guessed from h, but the
// registry's challenge says it.
func (s *source) gitlab(ctx context.Context, h providers.Host) (*server, error) {
	if base := s.knownBase(h); base != "" {
		return &server{base: base, http: s.http}, nil
	}
	s.mu.Lock()
	known := s.servers[h]
	s.mu.Unlock()
	if known != nil {
		return known, nil
	}
	r, err := registryauth.Probe(ctx, s.registry(h))
	if err != nil {
		return nil, err
	}
	u, c, err := r.TokenServer()
	if err != nil {
		if e, ok := errors.AsType[*providers.Error](err); ok && e.Hint == "" {
			out := *e
			out.Hint = "set url to that of GitLab"
			return nil, &out
		}
		return nil, err
	}
	path, ok := strings.CutSuffix(u.EscapedPath(), realmPath)
	if !ok {
		return nil, s.fail(h, providers.Misconfigured, "set url to that of GitLab", errors.New("its token server is none of GitLab's"))
	}
	found := &server{base: u.Scheme + "://" + u.Host + path, http: c}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.servers) >= maxServers || s.servers == nil {
		s.servers = map[providers.Host]*server{}
	}
	s.servers[h] = found
	return found, nil
}

// page is where people make tokens.
func (v *server) page() string {
	return v.base + "/-/user_settings/personal_access_tokens?name=regmint&scopes=read_registry,write_registry"
}
