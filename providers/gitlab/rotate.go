// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

const (
	day        = 24 * time.Hour
	longest    = 365 * day // what GitLab allows at most unless an instance says otherwise
	usualSpare = 7 * day   // what GitLab gives where no expiry is asked for
)

// RotationPlan implements providers.Rotator.
func (s *source) RotationPlan(ctx context.Context, old providers.Secret) (providers.RotationPlan, error) {
	i, err := s.rotatable(ctx, old)
	if err != nil {
		return providers.RotationPlan{}, err
	}
	return providers.RotationPlan{
		What:      fmt.Sprintf("access token %q", httpx.Printable(i.Name, 60)),
		Dies:      "the old token, at once, wherever else it is used; using it once more to rotate kills the new one too",
		ExpiresAt: i.expires(), Until: s.newEnd(i),
	}, nil
}

// rotatable is the token behind old, where it may rotate itself.
func (s *source) rotatable(ctx context.Context, old providers.Secret) (info, error) {
	h := s.host()
	if s.plan.kind != byToken {
		return info{}, s.fail(h, providers.Misconfigured, "", errors.New("nothing to rotate: the account has no token of its own"))
	}
	if isDeploy(s.account.Username, old) {
		return info{}, s.fail(h, providers.Misconfigured, "make a new one in GitLab", errors.New("a deploy token cannot rotate itself"))
	}
	if h.IsZero() {
		return info{}, s.fail(h, providers.Misconfigured, "set url to that of GitLab", errors.New("account "+s.account.Name+" names no host that could be asked"))
	}
	i, err := s.self(ctx, h, token{secret: old})
	if err != nil {
		return i, err
	}
	if !slices.Contains(i.Scopes, scopeAPI) && !slices.Contains(i.Scopes, scopeSelf) {
		return i, s.fail(h, providers.Denied, "make a token with self_rotate as well", fmt.Errorf("rotation needs the scope self_rotate or api, and the token has %s", scopeList(i.Scopes)))
	}
	return i, nil
}

// newEnd is the day as which the new token ends: it lives as many days as the
// old one was to (or as expires_in says), and no shorter than two rotations. Days are counted from the
// day of making, as GitLab counts them, so that no rotation takes one away.
func (s *source) newEnd(i info) time.Time {
	now := s.deps.Now().UTC()
	life := longest
	if end := i.expires(); s.account.ExpiresIn > 0 {
		life = time.Duration(s.account.ExpiresIn).Round(day)
	} else if !end.IsZero() {
		life = usualSpare
		if !i.Created.IsZero() {
			life = end.Sub(i.Created.UTC().Truncate(day))
		}
	}
	out := now.Truncate(day).Add(max(life, day))
	if two := now.Add(2 * time.Duration(s.account.Rotate)); out.Before(two) {
		out = two.Truncate(day).Add(day)
	}
	if last := now.Truncate(day).Add(longest); out.After(last) {
		return last
	}
	return out
}

// Rotate implements providers.Rotator: POST …/self/rotate, once.
func (s *source) Rotate(ctx context.Context, old providers.Secret) (providers.Rotated, error) {
	i, err := s.rotatable(ctx, old)
	if err != nil {
		return providers.Rotated{}, err
	}
	end := s.newEnd(i).Format(time.DateOnly)
	path := "/personal_access_tokens/self/rotate"
	if s.plan.TokenOwner != "" {
		path = "/" + s.plan.TokenOwner + "/access_tokens/self/rotate"
	} else if owner := s.owner(ctx, old); owner != "" {
		path = owner + "/access_tokens/self/rotate"
	}
	var out info
	h := s.host()
	err = s.call(ctx, call{
		host: h, what: "rotate the token", method: http.MethodPost, path: path, as: token{secret: old},
		body: map[string]string{"expires_at": end}, into: &out,
	})
	if err != nil {
		return providers.Rotated{}, s.cannotRotate(h, err)
	}
	if out.Token == "" || httpx.HasBreak(out.Token) {
		return providers.Rotated{}, s.fail(h, providers.Unavailable, "make a new token in GitLab", errors.New("GitLab rotated the token and did not tell the new one"))
	}
	return providers.Rotated{Secret: providers.NewSecret(out.Token), ExpiresAt: out.expires()}, nil
}

// cannotRotate adds what a rotation takes. All of these leave the old token as it
// was: GitLab puts a rotation that fails back.
func (s *source) cannotRotate(h providers.Host, err error) error {
	se, ok := errors.AsType[*httpx.StatusError](err)
	if !ok {
		return err
	}
	say := func(k providers.Kind, hint, text string) error {
		return s.fail(h, k, hint, &said{text: text, err: err})
	}
	switch se.Status {
	case http.StatusMethodNotAllowed, http.StatusNotFound:
		if s.plan.TokenOwner != "" {
			return say(providers.Misconfigured, "check token_owner", "the token is none of "+s.plan.TokenOwner+", or cannot rotate itself")
		}
		return say(providers.Misconfigured, "set token_owner to projects/ID or groups/ID", "the token is no personal one, and whose it is is not known")
	case http.StatusForbidden:
		return say(providers.Denied, "make a token with self_rotate or api", "GitLab does not let the token rotate itself")
	case http.StatusBadRequest:
		hint := "make a new token in GitLab"
		if speaksOfExpiry(se) {
			hint = "set expires_in to a life that the instance allows, and rotate to less than half of it"
		}
		return say(providers.Misconfigured, hint, "GitLab does not rotate the token: "+httpx.Printable(se.Message, 120))
	}
	return err
}

// owner is the path of the project or group that old belongs to, "" for a
// personal token and where it is not known: bots have it in their names
// (docs.gitlab.com/user/project/settings/project_access_tokens, bot users).
func (s *source) owner(ctx context.Context, old providers.Secret) string {
	var u struct {
		Username string `json:"username"`
	}
	if s.call(ctx, call{host: s.host(), what: "ask whose the token is", path: "/user", as: token{secret: old}, into: &u}) != nil {
		return ""
	}
	for word, path := range map[string]string{"project_": "/projects/", "group_": "/groups/"} {
		rest, ok := strings.CutPrefix(u.Username, word)
		id, _, bot := strings.Cut(rest, "_bot")
		if ok && bot && id != "" && strings.Trim(id, "0123456789") == "" {
			return path + id
		}
	}
	return ""
}

// Alive implements providers.Rotator.
func (s *source) Alive(ctx context.Context, secret providers.Secret) error {
	_, err := s.self(ctx, s.host(), token{secret: secret})
	return err
}

// host is the registry that stands for the account in errors and in the search
// for GitLab.
func (s *source) host() providers.Host {
	for _, p := range s.account.Hosts {
		if h, ok := p.Exact(); ok {
			return h
		}
	}
	h, _ := hostOf(s.plan.base)
	return h
}
