// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"context"
	"errors"
	"time"

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
	switch pair, ok := oauth.ParsePair(q.Secret); {
	case s.plan.kind == byGlab:
		return providers.Ended{Left: "the login of glab: glab auth logout"}
	case ok:
		if err := s.revokePair(ctx, q.Host, pair); err != nil {
			s.deps.Log.Debug("the login is not revoked", "host", q.Host.String(), "reason", err.Error())
			return providers.Ended{Left: "the login at GitLab, for two hours at least; it is revoked in your profile under Applications"}
		}
		return providers.Ended{What: "the login at GitLab"}
	case q.Secret.IsZero():
		return providers.Ended{}
	case isDeploy(q.Account.Username, q.Secret):
		return providers.Ended{Left: "the deploy token at GitLab; it is revoked in the settings of its project or group"}
	}
	return providers.Ended{Left: "the token at GitLab; it is revoked in your profile under Access tokens"}
}

// endLimit bounds the end of a login whose person has gone.
const endLimit = 5 * time.Second

func (s *source) revokePair(ctx context.Context, h providers.Host, p oauth.Pair) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endLimit)
	defer cancel()
	v, err := s.gitlab(ctx, h)
	if err != nil {
		return err
	}
	return s.oauthClient(v, h).End(ctx, v.base+"/oauth/revoke", p)
}
