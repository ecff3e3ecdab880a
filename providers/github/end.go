// SPDX-License-Identifier: Apache-2.0

package github

import (
	"context"
	"strings"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/oauth"
)

// EndLogin implements providers.Ender. GitHub ends the tokens of an application
// for whoever has its secret (DELETE /applications/CLIENT_ID/token), which no
// program on a person's machine has: it is said where the person does it.
func (Provider) EndLogin(_ context.Context, q providers.EndRequest) providers.Ended {
	o, _ := q.Account.Options.(*Options)
	if o == nil {
		o = &Options{}
	}
	at, ok := known(q.Host)
	if web := o.server(); web != "" {
		at = instance(web)
	} else if !ok {
		at = instance(enterprise(q.Host))
	}
	web := "https://" + at.web
	text := q.Secret.Reveal()
	p, device := oauth.ParsePair(q.Secret)
	switch {
	case o.GH:
		return providers.Ended{Left: "the login of gh, which is its own: gh auth logout -h " + at.web}
	case device && strings.HasPrefix(p.Access, prefixUser):
		return providers.Ended{Left: "what the GitHub App may do in your name: revoke it at " + web + "/settings/apps/authorizations"}
	case device:
		return providers.Ended{Left: "what the application may do in your name: revoke it at " + web + "/settings/connections/applications/" + p.ClientID}
	case strings.HasPrefix(text, prefixClassic):
		return providers.Ended{Left: "the access token: delete it at " + web + "/settings/tokens"}
	}
	return providers.Ended{}
}
