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
	a := accessOf(r)
	if len(r.Grants) == 0 || slices.ContainsFunc(r.Grants, func(g providers.Grant) bool { return g.Access == 0 }) {
		a |= providers.Push
	}
	out := shape{scopes: []string{scopeRead}, level: levels["reporter"]}
	if a.Has(providers.Push) {
		out = shape{scopes: []string{scopeRead, scopeWrite}, level: levels["developer"]}
	}
	if a.Has(providers.Delete) {
		out = shape{scopes: []string{scopeAPI}, level: levels["maintainer"]}
	}
	return s.settled(out)
}

// nativeShape is the same for GitLab's API.
func (s *jobSource) nativeShape(r providers.Request) shape {
	out := shape{scopes: []string{scopeAPI}, level: levels["developer"]}
	switch {
	case readsAlone(r):
		out = shape{scopes: []string{scopeReadAPI}, level: levels["reporter"]}
	case accessOf(r).Has(providers.Delete):
		out.level = levels["maintainer"]
	}
	return s.settled(out)
}

// settled is a shape as the account's own keys want it.
func (s *jobSource) settled(out shape) shape {
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

// tokenName is that of a token of a shape for a request; it follows from the two alone.
func tokenName(r providers.Request, sh shape) string {
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
	if out, ok := outside(r, at); ok {
		return s.fail(r.Host, providers.Denied, "name a repository in it, or another account", fmt.Errorf("%s is outside of %s, where this account makes its tokens", out, s.place()))
	}
	return nil
}

// outside is a repository of r that is not at or below path.
func outside(r providers.Request, path string) (repository string, ok bool) {
	for _, g := range r.Grants {
		rest, below := strings.CutPrefix(strings.ToLower(g.Repository), strings.ToLower(path))
		if g.Repository != "" && (!below || rest != "" && rest[0] != '/') {
			return g.Repository, true
		}
	}
	return "", false
}

// skewAllowed is how far two clocks may differ and be called the same.
const skewAllowed = 5 * time.Minute

// soon is how much of its life a token must have at least. It ends as a day
// begins, so that all that are made on one day end together: one that is renewed
// with more than this left would bring no later end, and one more bot user.
const soon = 8 * time.Hour

// ends is the day, in UTC, as which a new token ends: tomorrow, or the day
// after where tomorrow is close.
func ends(now time.Time) time.Time {
	end := tomorrow(now)
	if end.Sub(now) < soon {
		end = end.AddDate(0, 0, 1)
	}
	return end
}

// tomorrow is the earliest end that an instance can be asked for.
func tomorrow(now time.Time) time.Time { return now.UTC().Truncate(day).AddDate(0, 0, 1) }

// Mint implements providers.Source.
func (s *jobSource) Mint(ctx context.Context, r providers.Request) (providers.Credential, error) {
	if r.Job == "" {
		return s.source.Mint(ctx, r)
	}
	sh := s.shapeOf(r)
	if s.isProxy(ctx, r.Host) {
		if s.plan.Project != "" {
			return providers.Credential{}, s.fail(r.Host, providers.Misconfigured, "set group instead of project", errProjectProxy)
		}
		if len(s.plan.Scopes) == 0 && !toProxy.met(sh.scopes) {
			sh.scopes = []string{scopeRead, scopeWrite} // it takes both, to pull too
		}
	}
	return s.make(ctx, r, sh)
}

// MintNative implements providers.NativeMinter: in a job a token of its own.
func (s *jobSource) MintNative(ctx context.Context, r providers.Request) (providers.Native, error) {
	if r.Job == "" {
		return s.source.MintNative(ctx, r)
	}
	sh := s.nativeShape(r)
	if !forAPI(r, sh.scopes) {
		return providers.Native{}, s.needsAPI(r.Host, sh.scopes)
	}
	c, err := s.make(ctx, r, sh)
	if err != nil {
		return providers.Native{}, err
	}
	return providers.Native{Credential: c, Env: []providers.Variable{{Name: apiVariable, Value: c.Secret}}, ForJob: true}, nil
}

// CheckNative implements providers.NativeChecker; nothing is made for it.
func (s *jobSource) CheckNative(ctx context.Context, r providers.Request) error {
	if sh := s.nativeShape(r); r.Job != "" && !forAPI(r, sh.scopes) {
		return s.needsAPI(r.Host, sh.scopes)
	}
	return s.source.CheckNative(ctx, r)
}

// make makes a token for the job.
func (s *jobSource) make(ctx context.Context, r providers.Request, sh shape) (providers.Credential, error) {
	if err := s.covers(r); err != nil {
		return providers.Credential{}, err
	}
	maker, err := s.own(ctx, r.Host)
	if err != nil {
		return providers.Credential{}, err
	}
	now := s.deps.Now()
	i, err := s.create(ctx, r, maker, sh, ends(now))
	if se, ok := errors.AsType[*httpx.StatusError](err); ok && se.Status == http.StatusBadRequest && speaksOfExpiry(se) && ends(now) != tomorrow(now) {
		i, err = s.create(ctx, r, maker, sh, tomorrow(now)) // an instance may allow a day at most
	}
	if err != nil {
		return providers.Credential{}, s.cannotMake(r.Host, err)
	}
	if i.Token == "" || httpx.HasBreak(i.Token) {
		return providers.Credential{}, s.fail(r.Host, providers.Unavailable, "", errors.New("GitLab made a token and did not tell it"))
	}
	end := i.expires()
	if skew := now.Sub(i.Created); !end.IsZero() && !i.Created.IsZero() && skew.Abs() > skewAllowed {
		end = end.Add(skew) // in the time of our clock, whoever's is wrong (H54)
	}
	if !end.IsZero() && !end.After(now) {
		return providers.Credential{}, s.fail(r.Host, providers.Unavailable, "compare this machine's clock with GitLab's", errors.New("GitLab made a token that is over already"))
	}
	return providers.Credential{
		Username: anyUser, Secret: providers.NewSecret(i.Token), IssuedAt: now, ExpiresAt: end, Wider: wider(r.Grants),
		Origin: "token for this job in " + httpx.Printable(s.place(), 100),
	}, nil
}

func (s *jobSource) create(ctx context.Context, r providers.Request, maker token, sh shape, end time.Time) (i info, err error) {
	err = s.call(ctx, call{
		host: r.Host, what: "make a token for the job", method: http.MethodPost, path: s.path(), as: maker, into: &i,
		body: map[string]any{
			"name": tokenName(r, sh), "description": "made by regmint for one job", "scopes": sh.scopes, "access_level": sh.level,
			"expires_at": end.Format(time.DateOnly),
		},
	})
	return i, err
}

func speaksOfExpiry(se *httpx.StatusError) bool {
	return strings.Contains(strings.ToLower(se.Message), "expir")
}

// cannotMake adds what making tokens takes. GitLab answers 400 to all that it
// does not do (gitlab-org/gitlab app/services/resource_access_tokens/create_service.rb).
func (s *jobSource) cannotMake(h providers.Host, err error) error {
	se, ok := errors.AsType[*httpx.StatusError](err)
	if !ok {
		return err
	}
	say := func(k providers.Kind, hint, text string) error {
		return s.fail(h, k, hint, &said{text: text, err: err})
	}
	who := "it takes a personal token with the scope api, of a maintainer of the project"
	if s.plan.Group != "" {
		who = "it takes a personal token with the scope api, of an owner of the group"
	}
	message := strings.ToLower(se.Message)
	switch {
	case se.Status == http.StatusForbidden, se.Status == http.StatusBadRequest && strings.Contains(message, "permission to create"):
		return say(providers.Denied, who, "GitLab does not let this account make tokens in "+s.place())
	case se.Status == http.StatusNotFound:
		return say(providers.Misconfigured, "check project or group, and that the account is a member", "GitLab shows no "+s.place())
	case se.Status == http.StatusBadRequest && strings.Contains(message, "access level"):
		return say(providers.Denied, "set access_level to a role that the account has", "GitLab does not make tokens of that role for this account in "+s.place())
	case se.Status == http.StatusBadRequest:
		return say(providers.Misconfigured, "check scopes and access_level", "GitLab does not make such a token in "+s.place()+": "+httpx.Printable(se.Message, 100))
	}
	return err
}
