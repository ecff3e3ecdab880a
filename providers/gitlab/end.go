// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"context"
	"errors"
	"strings"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/oauth"
)

// EndLogin implements providers.Ender: a login in the browser is revoked, by
// POST /oauth/revoke. Tokens that a person made are theirs, and live on.
func (Provider) EndLogin(ctx context.Context, q providers.EndRequest) providers.Ended {
	s, err := open(q.Account, q.Deps)
	if errors.Is(err, errNoIdentity) {
		probe := q.Account
		probe.Layer = providers.LayerAmbient
		s, err = open(probe, q.Deps)
	}
	if err != nil {
		return providers.Ended{}
	}
	base := s.knownBase(q.Host)
	if base == "" {
		base = "GitLab" // its address would be a question to the registry
	}
	switch pair, ok := oauth.ParsePair(q.Secret); {
	case s.plan.kind == byGlab:
		return providers.Ended{Left: "the login of glab: glab auth logout"}
	case ok:
		at, err := s.revokePair(ctx, q.Host, pair)
		if at != "" {
			base = at
		}
		if err != nil {
			s.deps.Log.Debug("the login is not revoked", "host", q.Host.String(), "reason", err.Error())
			return providers.Ended{Left: "the login at " + base + ", which did not answer: revoke it at " + base + "/-/user_settings/applications"}
		}
		return providers.Ended{What: "the login at " + base}
	case isDeploy(q.Account.Username, q.Secret):
		return providers.Ended{Left: "the deploy token: revoke it in its project or group, Settings, Repository"}
	case strings.HasPrefix(q.Secret.Reveal(), "glpat-"):
		return providers.Ended{Left: "the access token: revoke it at " + base + "/-/user_settings/personal_access_tokens"}
	}
	return providers.Ended{} // a password ends nowhere
}

// revokePair says at which GitLab.
func (s *source) revokePair(ctx context.Context, h providers.Host, p oauth.Pair) (base string, err error) {
	v, err := s.gitlab(ctx, h)
	if err != nil {
		return "", err
	}
	return v.base, s.oauthClient(v, h).End(ctx, v.base+"/oauth/revoke", p)
}
