// SPDX-License-Identifier: Apache-2.0

package github

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/registryauth"
)

// Verify implements providers.Verifier. The registry says "denied: denied" to
// whatever it does not like, so a refusal is looked into. Its bearers are opaque:
// who wants to push opens an upload. Deleting is the API's business.
func (s *source) Verify(ctx context.Context, r providers.Request, c providers.Credential) error {
	at, err := s.site(r.Host)
	if err != nil {
		return err
	}
	cfg := registryauth.Config{HTTP: s.http, Host: r.Host, Account: s.account, Now: s.deps.Now}
	grants := s.asked(r.Grants)
	err = registryauth.Verify(ctx, cfg, c, grants)
	for _, g := range grants {
		if err == nil && g.Repository != "" && g.Access.Has(providers.Push) {
			err = s.mayPush(ctx, cfg, c, g)
		}
	}
	e, ok := errors.AsType[*providers.Error](err)
	switch {
	case err == nil:
		if err := s.learn(ctx, r, at, c); err != nil {
			return err
		}
		return s.mayDelete(ctx, r, at, c)
	case !ok || e.Kind != providers.Denied:
		return err
	}
	return s.denied(ctx, r, at, c, e)
}

// asked are the grants that the registry is asked about. It has names in lower
// case alone: OWNER/REPOSITORY of a workflow is meant so too.
func (s *source) asked(grants []providers.Grant) []providers.Grant {
	var out []providers.Grant
	for _, g := range grants {
		deletes := g.Access.Has(providers.Delete)
		g.Repository, g.Access = strings.ToLower(g.Repository), g.Access&^providers.Delete
		switch {
		case g.Access == 0 && deletes && !s.options.PrivateKey.IsZero(): // an App need not pull what it cleans up
			continue
		case g.Access == 0:
			g.Access = providers.Pull
		}
		out = append(out, g)
	}
	return out
}

// mayPush opens an upload, which the registry drops by itself.
func (s *source) mayPush(ctx context.Context, cfg registryauth.Config, c providers.Credential, g providers.Grant) error {
	reg, err := registryauth.Probe(ctx, cfg)
	if err != nil || reg.Challenge.Scheme != "bearer" || s.account.PlainHTTP {
		return err
	}
	t, err := reg.Exchange(ctx, c, registryauth.Scopes([]providers.Grant{g}), providers.Denied)
	if err != nil {
		return err
	}
	_, err = s.http.Do(ctx, httpx.Request{
		Host: cfg.Host, What: "upload", Method: http.MethodPost, URL: "https://" + cfg.Host.String() + "/v2/" + g.Repository + "/blobs/uploads/",
		Header: http.Header{"Authorization": {"Bearer " + t.Value.Reveal()}}, Body: []byte{}, SameOrigin: true, Unauthorized: providers.Denied,
		Secrets: []providers.Secret{t.Value, c.Secret},
	})
	e, ok := errors.AsType[*providers.Error](err)
	if se, is := errors.AsType[*httpx.StatusError](err); ok && is && e.Kind == providers.Denied {
		out := *e
		out.Err = fmt.Errorf("no right to push %s (%s)", g.Repository, cmp.Or(se.Message, fmt.Sprintf("HTTP %d", se.Status)))
		return &out
	}
	return err
}

// mayDelete asks the API about the scopes of who wants to delete.
func (s *source) mayDelete(ctx context.Context, r providers.Request, at site, c providers.Credential) error {
	deletes := slices.ContainsFunc(r.Grants, func(g providers.Grant) bool { return g.Access.Has(providers.Delete) })
	if !deletes || strings.HasPrefix(c.Secret.Reveal(), prefixInstallation) { // which tell no scopes
		return nil
	}
	l := s.loginOf(c)
	p, err := s.whoAmI(ctx, r.Host, at, l)
	if err != nil {
		return err
	}
	l.tell(p)
	return s.mayClean(r, at, l)
}

// loginOf is what was handed out.
func (s *source) loginOf(c providers.Credential) login {
	l := login{secret: c.Secret, user: c.Username, origin: "token"}
	switch text := c.Secret.Reveal(); {
	case !s.options.PrivateKey.IsZero():
		l.by, l.origin = byApp, "token of the App"
	case strings.HasPrefix(text, prefixInstallation):
		l.by, l.origin = byJob, "GITHUB_TOKEN"
	case s.options.GH:
		l.by, l.origin = byGH, "gh login"
	case strings.HasPrefix(text, prefixOAuth), strings.HasPrefix(text, prefixUser):
		l.by, l.origin = byDevice, "device login"
	}
	return l
}

// denied says what the registry does not: whether the token lives, which scope
// it lacks, who else has a say. A token that belongs to nobody is not told who
// it is, and that it lives.
func (s *source) denied(ctx context.Context, r providers.Request, at site, c providers.Credential, e *providers.Error) error {
	out := *e
	l := s.loginOf(c)
	p, err := s.whoAmI(ctx, r.Host, at, l)
	switch {
	case err == nil:
		l.tell(p)
		if err := s.mayUse(r, at, l); err != nil {
			return err
		}
		out.Err = fmt.Errorf("%w; the %s is valid", e.Err, l.origin)
	case providers.KindOf(err) == providers.LoginRequired:
		return err
	}
	const lacks = "it lacks the right, or single sign-on: "
	switch l.by {
	case byApp:
		out.Hint = "GitHub is reported to deny private images to Apps; use GITHUB_TOKEN or a classic token"
	case byJob:
		need := "read"
		if slices.ContainsFunc(r.Grants, func(g providers.Grant) bool { return g.Access.Has(providers.Push) }) {
			need = "write"
		}
		out.Hint = "needs permissions: packages: " + need + ", and its repository under Manage Actions access"
	case byGH:
		out.Hint = lacks + "run: gh auth refresh -h " + at.web
	case byDevice:
		out.Hint = lacks + "run: regmint login " + r.Host.String()
	default:
		out.Hint = lacks + "https://" + at.web + "/settings/tokens"
	}
	return &out
}
