// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// jobSource is an account that makes a project or group access token for each
// job: POST /projects/:id/access_tokens, and the same for groups
// (docs.gitlab.com/api/project_access_tokens).
type jobSource struct{ *source }

// shape is what a token for a job may do.
type shape struct {
	scopes []string
	level  int
}

// shapeOf is the least that does what r asks for.
func (s *jobSource) shapeOf(r providers.Request) shape {
	var a providers.Access
	for _, g := range r.Grants {
		a |= g.Access
		if g.Access == 0 {
			a |= providers.Push
		}
	}
	if len(r.Grants) == 0 {
		a = providers.Push
	}
	out := shape{scopes: []string{scopeRead}, level: levels["reporter"]}
	if a.Has(providers.Push) {
		out = shape{scopes: []string{scopeRead, scopeWrite}, level: levels["developer"]}
	}
	if a.Has(providers.Delete) {
		out = shape{scopes: []string{scopeAPI}, level: levels["maintainer"]}
	}
	if len(s.plan.Scopes) > 0 {
		out.scopes = slices.Clone(s.plan.Scopes)
	}
	if n := levels[s.plan.AccessLevel]; n > 0 {
		out.level = n
	}
	return out
}

// wider: a token is for a whole project, with one access for everything.
func wider(gs []providers.Grant) bool {
	return slices.ContainsFunc(gs, func(g providers.Grant) bool { return g.Repository != "" })
}

// prefix begins the names of everything made for a job.
func prefix(job string) string { return "regmint-" + job + "-" }

// name is that of the token for a request; it follows from the request alone.
func (s *jobSource) name(r providers.Request) string {
	sh := s.shapeOf(r)
	sum := sha256.Sum256([]byte(fmt.Sprint(r.Host, " ", sh.level, " ", sh.scopes)))
	return prefix(r.Job) + hex.EncodeToString(sum[:4])
}

// Key implements providers.Source.
func (s *jobSource) Key(r providers.Request) string {
	if r.Job == "" {
		return s.source.Key(r)
	}
	sh := s.shapeOf(r)
	return fmt.Sprintf("job %s level %d scopes %s", r.Job, sh.level, strings.Join(sh.scopes, " "))
}

// path is that of the tokens in the API.
func (s *jobSource) path() string {
	if s.plan.Project != "" {
		return "/projects/" + url.PathEscape(s.plan.Project) + "/access_tokens"
	}
	return "/groups/" + url.PathEscape(s.plan.Group) + "/access_tokens"
}

func (s *jobSource) place() string {
	if s.plan.Project != "" {
		return "project " + s.plan.Project
	}
	return "group " + s.plan.Group
}

// covers refuses repositories that are known to be outside.
func (s *jobSource) covers(r providers.Request) error {
	at := s.plan.Project + s.plan.Group
	if strings.Trim(at, "0123456789") == "" { // an id says nothing about paths
		return nil
	}
	for _, g := range r.Grants {
		rest, ok := strings.CutPrefix(strings.ToLower(g.Repository), strings.ToLower(at))
		if g.Repository != "" && (!ok || rest != "" && rest[0] != '/') {
			return s.fail(r.Host, providers.Denied, "", fmt.Errorf("%s is outside of %s, where this account makes its tokens", g.Repository, s.place()))
		}
	}
	return nil
}

// soon is how much of a day a token must have left at least: it ends as a day
// begins.
const soon = time.Hour

// ends is the day, in UTC, as which a new token ends: tomorrow, or the day
// after where tomorrow is close.
func ends(now time.Time) string {
	day := now.UTC().Truncate(24*time.Hour).AddDate(0, 0, 1)
	if day.Sub(now) < soon {
		day = day.AddDate(0, 0, 1)
	}
	return day.Format(time.DateOnly)
}

// Mint implements providers.Source.
func (s *jobSource) Mint(ctx context.Context, r providers.Request) (providers.Credential, error) {
	if r.Job == "" {
		return s.source.Mint(ctx, r)
	}
	if err := s.covers(r); err != nil {
		return providers.Credential{}, err
	}
	maker, err := s.own(ctx, r.Host)
	if err != nil {
		return providers.Credential{}, err
	}
	sh, now := s.shapeOf(r), s.deps.Now()
	var i info
	err = s.call(ctx, call{
		host: r.Host, what: "make a token for the job", method: http.MethodPost, path: s.path(), as: maker, into: &i,
		body: map[string]any{
			"name": s.name(r), "description": "made by regmint for one job", "scopes": sh.scopes, "access_level": sh.level, "expires_at": ends(now),
		},
	})
	if err != nil {
		return providers.Credential{}, s.cannotMake(r.Host, err)
	}
	if i.Token == "" || httpx.HasBreak(i.Token) {
		return providers.Credential{}, s.fail(r.Host, providers.Unavailable, "", errors.New("GitLab made a token and did not tell it"))
	}
	return providers.Credential{
		Username: anyUser, Secret: providers.NewSecret(i.Token), IssuedAt: now, ExpiresAt: i.expires(), Wider: wider(r.Grants),
		Origin: "token for this job in " + httpx.Printable(s.place(), 100),
	}, nil
}

// cannotMake adds what making tokens takes.
func (s *jobSource) cannotMake(h providers.Host, err error) error {
	se, ok := errors.AsType[*httpx.StatusError](err)
	if !ok {
		return err
	}
	switch se.Status {
	case http.StatusForbidden:
		return s.fail(h, providers.Denied, "it takes a personal token with the scope api, of a maintainer", &said{text: "GitLab does not let this account make tokens in " + s.place(), err: err})
	case http.StatusNotFound:
		return s.fail(h, providers.Misconfigured, "check project or group, and that the account is a member", &said{text: "GitLab shows no " + s.place(), err: err})
	case http.StatusBadRequest:
		return s.fail(h, providers.Misconfigured, "check scopes and access_level", &said{text: "GitLab does not make such a token in " + s.place() + ": " + httpx.Printable(se.Message, 100), err: err})
	}
	return err
}

// Revoke implements providers.Revoker: the token ends itself, which each may
// whatever became of the one it was made with; those of the same name are what
// renewals during the job have replaced.
func (s *jobSource) Revoke(ctx context.Context, r providers.Request, c providers.Credential) error {
	if r.Job == "" {
		return nil
	}
	self := errors.New("no token")
	if !c.Secret.IsZero() {
		self = s.call(ctx, call{host: r.Host, what: "revoke the job's token", method: http.MethodDelete, path: "/personal_access_tokens/self", as: token{secret: c.Secret}})
		if se, ok := errors.AsType[*httpx.StatusError](self); ok && se.Status == http.StatusUnauthorized { // it is revoked
			self = nil
		}
	}
	name := s.name(r)
	if err := s.sweep(ctx, r.Host, name, func(n string) bool { return n == name }); err != nil && self != nil {
		return err
	}
	return nil
}

// Sweep implements providers.Sweeper.
func (s *jobSource) Sweep(ctx context.Context, r providers.Request) error {
	if r.Job == "" {
		return nil
	}
	p := prefix(r.Job)
	return s.sweep(ctx, r.Host, p, func(n string) bool { return strings.HasPrefix(n, p) })
}

// maxPages bounds how much of a list is read, 100 entries a page.
const maxPages = 20

func (s *jobSource) sweep(ctx context.Context, h providers.Host, search string, mine func(name string) bool) error {
	maker, err := s.own(ctx, h)
	if err != nil {
		return err
	}
	var found []info
	for page := 1; page <= maxPages; page++ {
		var list []info
		q := url.Values{"state": {"active"}, "search": {search}, "per_page": {"100"}, "page": {fmt.Sprint(page)}}
		if err := s.call(ctx, call{host: h, what: "list the tokens of jobs", path: s.path() + "?" + q.Encode(), as: maker, into: &list}); err != nil {
			return err
		}
		for _, i := range list {
			if mine(i.Name) && !i.Revoked {
				found = append(found, i)
			}
		}
		if len(list) < 100 {
			break
		}
	}
	var errs []error
	for _, i := range found {
		err := s.call(ctx, call{host: h, what: "revoke the job's token", method: http.MethodDelete, path: fmt.Sprintf("%s/%d", s.path(), i.ID), as: maker})
		if se, ok := errors.AsType[*httpx.StatusError](err); err != nil && !(ok && se.Status == http.StatusNotFound) { // gone is gone
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
