// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/regmint/regmint/providers"
)

// paste takes a token that a person makes in the browser. Where nobody is there
// the error says how it is saved.
func (s *source) paste(ctx context.Context, q providers.LoginRequest) (providers.LoginResult, error) {
	none := providers.LoginResult{}
	s.plan.kind = byToken // in the words of refusals
	own := q.Account.Layer == providers.LayerConfigured || q.Account.Layer == providers.LayerJobConfig
	if own && q.Account.Password.Scheme != "keyring" {
		return none, s.wants(ctx, q.Host)
	}
	v, err := s.gitlab(ctx, q.Host)
	if err != nil {
		return none, err
	}
	secret, err := q.UI.Secret(ctx, fmt.Sprintf("Make a token at %s and paste it here (it does not show)", v.page(s.wanted()...)))
	if errors.Is(err, providers.ErrNobody) {
		return none, s.wants(ctx, q.Host)
	}
	if err != nil {
		return none, err
	}
	a := q.Account
	if !own {
		a.Username = ""
		a.Options = Provider{}.LoginOptions(q.Account)
	}
	if isDeploy(a.Username, secret) && a.Username == "" {
		if a.Username, err = q.UI.Ask(ctx, "User name of the deploy token"); err != nil {
			return none, err
		}
	}
	if _, err := (Provider{}).KeepsLogin(q.Host, a.Username, secret); err != nil {
		return none, err
	}
	t := token{user: a.Username, secret: secret, checked: !isDeploy(a.Username, secret), origin: "deploy token " + a.Username}
	if t.checked {
		t.origin = ""
		if err := s.look(ctx, q.Host, &t); err != nil {
			return none, err
		}
		if err := s.allows(ctx, providers.Request{Host: q.Host}, t); err != nil {
			return none, err
		}
		if err := s.fits(q.Host, t); err != nil {
			return none, err
		}
	}
	who := s.who(ctx, q.Host, t)
	if a.Username == "" && !own { // the registry takes any name
		a.Username = anyUser
	}
	return providers.LoginResult{Account: a, Write: !own, Secret: secret, Who: who, Until: t.expires}, nil
}

// fits refuses a token without the scopes of what the account does besides pulls
// and pushes: a person is there to make another one.
func (s *source) fits(h providers.Host, t token) error {
	has := func(scopes ...string) bool {
		return t.scopes == nil || slices.ContainsFunc(append(scopes, scopeAPI, scopeGranular), func(x string) bool { return slices.Contains(t.scopes, x) })
	}
	switch {
	case s.plan.perJob() && !has():
		return s.fail(h, providers.Denied, "make a token with the scope api", fmt.Errorf("making tokens for jobs needs the scope api, and the token has %s", scopeList(t.scopes)))
	case s.account.Rotate > 0 && !has(scopeSelf):
		return s.fail(h, providers.Denied, "make a token with self_rotate as well", fmt.Errorf("rotation needs the scope self_rotate or api, and the token has %s", scopeList(t.scopes)))
	}
	return nil
}
