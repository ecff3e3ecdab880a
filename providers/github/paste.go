// SPDX-License-Identifier: Apache-2.0

package github

import (
	"context"
	"errors"
	"fmt"

	"github.com/regmint/regmint/providers"
)

// paste takes a token that a person makes in the browser. Where nobody is there
// the error says how it is saved. why is why there is no other way, "" = there
// was a choice.
func (s *source) paste(ctx context.Context, q providers.LoginRequest, at site, why string) (providers.LoginResult, error) {
	none := providers.LoginResult{}
	question := fmt.Sprintf("Make a token at %s and paste it here (it does not show)", at.newToken(scopeRead, scopeWrite))
	if why != "" {
		question = why + ". " + question
	}
	secret, err := q.UI.Secret(ctx, question)
	switch {
	case errors.Is(err, providers.ErrNobody):
		if why == "" {
			why = "a token made by hand is wanted"
		}
		return none, s.byHand(q.Host, at, why)
	case err != nil:
		return none, err
	}
	if err := at.refuses(q.Host, secret); err != nil {
		return none, err
	}
	l, err := s.ask(ctx, q.Host, at, login{by: byPassword, secret: secret, origin: "token"})
	if err != nil {
		return none, err
	}
	if err := s.mayUse(providers.Request{Host: q.Host}, at, l); err != nil {
		return none, err
	}
	a := q.Account
	own := a.Layer == providers.LayerConfigured || a.Layer == providers.LayerJobConfig
	if !own {
		a.Provider, a.Username = "github", l.user
		a.Options = Provider{}.LoginOptions(q.Account)
	}
	return providers.LoginResult{Account: a, Write: !own, Secret: secret, Who: l.user, Until: l.expires}, nil
}
