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
	base  string // no slash at its end
	http  *httpx.Client
	proxy bool // what led to it is the Dependency Proxy, not the registry
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
	found := &server{base: strings.TrimRight(u.Scheme+"://"+u.Host+path, "/"), http: c, proxy: isProxy(r)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.servers) >= maxServers || s.servers == nil {
		s.servers = map[providers.Host]*server{}
	}
	s.servers[h] = found
	return found, nil
}

func isProxy(r *registryauth.Registry) bool {
	return r.Challenge.Params["service"] == "dependency_proxy"
}

// isProxy reports that h is GitLab itself, whose registry API is the Dependency
// Proxy. An instance may have its registry there instead: the challenge tells.
func (s *source) isProxy(ctx context.Context, h providers.Host) bool {
	if s.plan.kind == byAmbient {
		at, ok := hostIn(s.deps.Env, envProxy)
		return ok && at == h
	}
	base := s.knownBase(h)
	if base == "" {
		v, err := s.gitlab(ctx, h)
		return err == nil && v.proxy
	}
	at, ok := hostOf(base)
	if !ok || at != h || base == saasURL {
		return ok && at == h
	}
	r, err := registryauth.Probe(ctx, s.registry(h))
	return err == nil && isProxy(r)
}

// page is where people make tokens of these scopes.
func (v *server) page(scopes ...string) string {
	return v.base + "/-/user_settings/personal_access_tokens?name=regmint&scopes=" + strings.Join(scopes, ",")
}
