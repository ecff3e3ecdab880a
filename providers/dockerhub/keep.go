// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// KeepsLogin implements providers.LoginKeeper: a password, any access token, and
// an identity token.
func (Provider) KeepsLogin(_ providers.Host, user string, _ providers.Secret) (bool, error) {
	return user != "" && !httpx.HasBreak(user), nil
}

// NeedsUser implements providers.LoginKeeper: access tokens do not say whose
// they are.
func (Provider) NeedsUser() bool { return true }

// LoginOptions implements providers.LoginKeeper.
func (Provider) LoginOptions(like providers.Account) any {
	out := &Options{}
	if o, ok := like.Options.(*Options); ok && o != nil {
		out.LoginEndpoint, out.IdentityEndpoint = o.LoginEndpoint, o.IdentityEndpoint
	}
	return out
}
