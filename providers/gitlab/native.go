// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// apiVariable is what glab and most clients read.
const apiVariable = "GITLAB_TOKEN"

// MintNative implements providers.NativeMinter: the account's own token for
// GitLab's API, where it has the scope api; in a CI job the job's token, which
// cleans up in its own project and goes into the header JOB-TOKEN.
func (s *source) MintNative(ctx context.Context, r providers.Request) (providers.Native, error) {
	t, err := s.nativeToken(ctx, r)
	if err != nil {
		return providers.Native{}, err
	}
	n := providers.Native{Credential: providers.Credential{
		Username: t.user, Secret: t.secret, IssuedAt: s.deps.Now(), ExpiresAt: t.expires, Wider: len(r.Grants) > 0, Origin: t.origin,
	}}
	name := apiVariable
	if s.isJob(t) {
		name = envJobToken
		n.Origin += ", for its own project alone, in the header JOB-TOKEN"
	}
	n.Env = []providers.Variable{{Name: name, Value: t.secret}}
	return n, nil
}

// CheckNative implements providers.NativeChecker.
func (s *source) CheckNative(ctx context.Context, r providers.Request) error {
	_, err := s.nativeToken(ctx, r)
	return err
}

func (s *source) isJob(t token) bool {
	return t.user == jobUser && (s.plan.kind == byJob || s.plan.kind == byAmbient)
}

func (s *source) nativeToken(ctx context.Context, r providers.Request) (token, error) {
	t, err := s.own(ctx, r.Host)
	if err != nil {
		return t, err
	}
	switch {
	case s.isJob(t):
		return t, s.ownProject(r)
	case t.oauth:
		err = s.oauthScopes(ctx, r.Host, &t)
	case t.checked:
		var i info
		if i, err = s.self(ctx, r.Host, t); err == nil {
			t.tell(i)
		}
	default:
		return t, s.fail(r.Host, providers.Denied, "use an access token with the scope api", errors.New("a deploy token cannot call GitLab's API"))
	}
	if err != nil {
		return t, err
	}
	if forAPI(r, t.scopes) || slices.Contains(t.scopes, scopeGranular) {
		return t, nil
	}
	return t, s.needsAPI(r.Host, t.scopes)
}

// readsAlone reports a request that changes nothing.
func readsAlone(r providers.Request) bool {
	return len(r.Grants) > 0 && !slices.ContainsFunc(r.Grants, func(g providers.Grant) bool { return g.Access != providers.Pull })
}

// forAPI reports scopes with which the API does what r asks for.
func forAPI(r providers.Request, scopes []string) bool {
	return slices.Contains(scopes, scopeAPI) || readsAlone(r) && slices.Contains(scopes, scopeReadAPI)
}

func (s *source) needsAPI(h providers.Host, scopes []string) error {
	hint := "make a token with the scope api"
	switch {
	case s.plan.kind == byDevice, s.plan.perJob() && len(s.plan.Scopes) > 0:
		hint = "add api to the account's scopes"
	}
	return s.fail(h, providers.Denied, hint, fmt.Errorf("the registry's API needs the scope api, and the token has %s", scopeList(scopes)))
}

// ownProject refuses what a job's token is known not to reach.
func (s *source) ownProject(r providers.Request) error {
	own := s.deps.Env[envProject]
	if _, other := outside(r, own); own != "" && other {
		return s.fail(r.Host, providers.Denied, "use an access token with the scope api", fmt.Errorf("a job's token cleans up in its own project alone, %s", httpx.Printable(own, 100)))
	}
	return nil
}

// oauthScopes asks what a token of an application may do.
func (s *source) oauthScopes(ctx context.Context, h providers.Host, t *token) error {
	v, err := s.gitlab(ctx, h)
	if err != nil {
		return err
	}
	res, err := v.http.Do(ctx, httpx.Request{
		Host: h, What: "look at the token", URL: v.base + "/oauth/token/info", SameOrigin: true, Secrets: []providers.Secret{t.secret},
		Header: http.Header{"Authorization": {"Bearer " + t.secret.Reveal()}, "Accept": {"application/json"}},
	})
	if err != nil {
		return s.explain(h, err)
	}
	m, err := httpx.ParseJSON(res.Body)
	o, ok := m.(map[string]any)
	if err != nil || !ok {
		return s.notGitLab(h, "look at the token", res)
	}
	t.scopes = []string{}
	for _, key := range []string{"scope", "scopes"} {
		l, _ := o[key].([]any)
		for _, x := range l {
			if one, ok := x.(string); ok {
				t.scopes = append(t.scopes, one)
			}
		}
	}
	return nil
}
