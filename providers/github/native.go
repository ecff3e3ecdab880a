// SPDX-License-Identifier: Apache-2.0

package github

import (
	"context"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
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
// clean-up.
func native(at site, c providers.Credential) providers.Native {
	gh := "GH_TOKEN"
	if h, err := providers.ParseHost(at.web); err == nil && at.web != "github.com" {
		if _, ghe := h.Under("ghe.com"); !ghe {
			gh = "GH_ENTERPRISE_TOKEN"
		}
	}
	return providers.Native{Credential: c, Env: []providers.Variable{{Name: gh, Value: c.Secret}, {Name: "WERF_REPO_GITHUB_TOKEN", Value: c.Secret}}}
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
	if err != nil {
		return at, l, err
	}
	if l.scoped {
		for _, scope := range nativeScopes(r.Grants) {
			if !l.has(scope) {
				return at, l, s.lacks(r.Host, at, l, scope)
			}
		}
	}
	return at, l, nil
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
	c, err := s.mint(ctx, r, s.nativeQuestion(r))
	if err != nil {
		return providers.Native{}, err
	}
	return native(at, c), nil
}

// CheckNative implements providers.NativeChecker. Only a token that was made
// tells whether one is given; it is dropped.
func (s *appSource) CheckNative(ctx context.Context, r providers.Request) error {
	n, err := s.MintNative(ctx, r)
	if err != nil {
		return err
	}
	if at, err := s.site(r.Host); err == nil {
		if err := s.drop(ctx, r.Host, at, n.Secret); err != nil {
			s.deps.Log.Debug("a token of a check was not dropped", "err", httpx.Printable(err.Error(), 200))
		}
	}
	return nil
}
