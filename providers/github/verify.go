// SPDX-License-Identifier: Apache-2.0

package github

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/registryauth"
)

// Verify implements providers.Verifier. The registry says "denied: denied" to
// whatever it does not like, so a refusal is looked into.
func (s *source) Verify(ctx context.Context, r providers.Request, c providers.Credential) error {
	at, err := s.site(r.Host)
	if err != nil {
		return err
	}
	err = registryauth.Verify(ctx, registryauth.Config{HTTP: s.http, Host: r.Host, Account: s.account, Now: s.deps.Now}, c, r.Grants)
	e, ok := errors.AsType[*providers.Error](err)
	switch {
	case err == nil:
		return s.learn(ctx, r, at, c)
	case !ok || e.Kind != providers.Denied:
		return err
	}
	out := *e
	text := c.Secret.Reveal()
	switch {
	case !s.options.PrivateKey.IsZero():
		out.Hint = "registries of GitHub are reported to deny private images to tokens of Apps; use GITHUB_TOKEN or a classic token"
	case strings.HasPrefix(text, prefixInstallation):
		out.Hint = "the job needs permissions: packages: write, and the package must list its repository under Manage Actions access"
	default:
		l := login{secret: c.Secret, origin: "token"}
		if s.options.GH {
			l.by, l.origin = byGH, "gh login"
		}
		if _, err := s.whoAmI(ctx, r.Host, at, l); providers.KindOf(err) == providers.LoginRequired && err != nil {
			return err
		}
		out.Err = fmt.Errorf("%w (the token itself is valid)", e.Err)
		out.Hint = "its owner may lack the right, or must authorize it for the organization's SSO: https://" + at.web + "/settings/tokens"
	}
	return &out
}
