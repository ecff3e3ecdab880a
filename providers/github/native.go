// SPDX-License-Identifier: Apache-2.0

package github

import (
	"context"

	"github.com/regmint/regmint/providers"
)

// nativeScopes are what the clean-up of packages needs of a classic token; to
// look at them reading is enough.
func nativeScopes(grants []providers.Grant) []string {
	for _, g := range grants {
		if g.Access != providers.Pull {
			return []string{scopeRead, scopeDelete}
		}
	}
	if len(grants) == 0 {
		return []string{scopeRead, scopeDelete}
	}
	return []string{scopeRead}
}

// native is the token with the names under which tools take it: gh, and werf's
// clean-up, which knows github.com alone.
func native(at site, c providers.Credential) providers.Native {
	n := providers.Native{Credential: c}
	if at.web == publicWeb {
		n.Env = []providers.Variable{{Name: "GH_TOKEN", Value: c.Secret}, {Name: "WERF_REPO_GITHUB_TOKEN", Value: c.Secret}}
		return n
	}
	name := "GH_ENTERPRISE_TOKEN"
	if h, err := providers.ParseHost(at.web); err == nil {
		if _, ghe := h.Under("ghe.com"); ghe {
			name = "GH_TOKEN"
		}
	}
	n.Env = []providers.Variable{{Name: name, Value: c.Secret}}
	return n
}

// MintNative implements providers.NativeMinter: the token as a bearer of the
// REST API, refused where it lacks a scope.
func (s *source) MintNative(ctx context.Context, r providers.Request) (providers.Native, error) {
	at, l, err := s.checkNative(ctx, r)
	if err != nil {
		return providers.Native{}, err
	}
	return native(at, providers.Credential{
		Username: l.user, Secret: l.secret, IssuedAt: s.deps.Now(), ExpiresAt: l.expires, Wider: len(r.Grants) > 0, Origin: l.origin,
	}), nil
}

// CheckNative implements providers.NativeChecker.
func (s *source) CheckNative(ctx context.Context, r providers.Request) error {
	_, _, err := s.checkNative(ctx, r)
	return err
}

func (s *source) checkNative(ctx context.Context, r providers.Request) (site, login, error) {
	at, err := s.site(r.Host)
	if err != nil {
		return at, login{}, err
	}
	l, err := s.login(ctx, r.Host, at)
	if err == nil {
		err = l.unheard // what the API does not answer, it does not clean up either
	}
	if err != nil {
		return at, l, err
	}
	return at, l, s.mayClean(r, at, l)
}

// mayClean names the scope that a token lacks for the API, where it tells its
// scopes.
func (s *source) mayClean(r providers.Request, at site, l login) error {
	for _, scope := range nativeScopes(r.Grants) {
		if l.scoped && !l.has(scope) {
			return s.lacks(r.Host, at, l, scope)
		}
	}
	return nil
}

// nativeQuestion asks for a token that may delete.
func (s *appSource) nativeQuestion(r providers.Request) question {
	q := s.question(r.Grants)
	if len(nativeScopes(r.Grants)) > 1 {
		q.level = "write"
	}
	return q
}

// MintNative implements providers.NativeMinter.
func (s *appSource) MintNative(ctx context.Context, r providers.Request) (providers.Native, error) {
	at, err := s.site(r.Host)
	if err != nil {
		return providers.Native{}, err
	}
	c, err := s.installationToken(ctx, r.Host, at, s.nativeQuestion(r))
	if err != nil {
		return providers.Native{}, err
	}
	n := native(at, c)
	n.ForJob = r.Job != ""
	return n, nil
}

// CheckNative implements providers.NativeChecker.
func (s *appSource) CheckNative(ctx context.Context, r providers.Request) error {
	at, err := s.site(r.Host)
	if err == nil {
		_, err = s.tryQuestion(ctx, r.Host, at, s.nativeQuestion(r))
	}
	return err
}
