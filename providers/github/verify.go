// SPDX-License-Identifier: Apache-2.0

package github

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	return s.denied(ctx, r, at, c, e)
}

// denied says what the registry does not: whether the token lives, which scope
// it lacks, who else has a say.
func (s *source) denied(ctx context.Context, r providers.Request, at site, c providers.Credential, e *providers.Error) error {
	out := *e
	text := c.Secret.Reveal()
	switch {
	case !s.options.PrivateKey.IsZero():
		out.Hint = "GitHub is reported to deny private images to Apps; use GITHUB_TOKEN or a classic token"
		return &out
	case strings.HasPrefix(text, prefixInstallation):
		out.Hint = "needs permissions: packages: write, and its repository under Manage Actions access"
		if !slices.ContainsFunc(r.Grants, func(g providers.Grant) bool { return g.Access.Has(providers.Push) }) {
			out.Hint = strings.Replace(out.Hint, "write", "read", 1)
		}
		return &out
	}
	l := login{secret: c.Secret, user: c.Username, origin: "token"}
	sso := "or needs SSO authorization: https://" + at.web + "/settings/tokens"
	switch {
	case s.options.GH:
		l.by, l.origin = byGH, "gh login"
		sso = "or for SSO run: gh auth refresh -h " + at.web
	case strings.HasPrefix(text, prefixOAuth), strings.HasPrefix(text, prefixUser):
		l.by, l.origin = byDevice, "device login"
		sso = "or for SSO run: regmint login " + r.Host.String()
	}
	p, err := s.whoAmI(ctx, r.Host, at, l)
	switch {
	case err == nil:
		l.tell(p)
		if err := s.mayUse(r, at, l); err != nil {
			return err
		}
		out.Err = fmt.Errorf("%w (the %s is valid)", e.Err, l.origin)
	case providers.KindOf(err) == providers.LoginRequired:
		return err
	}
	out.Hint = "it may lack the right, " + sso
	return &out
}
