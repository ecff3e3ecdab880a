// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"context"
	"errors"
	"fmt"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// tokensPage is where a person makes and deletes access tokens.
const tokensPage = "https://app.docker.com/settings/personal-access-tokens"

// byHand reports an account that is a user name with a secret in the keyring,
// made by a person.
func byHand(a providers.Account, o *Options) bool {
	k := kind(o.Identity)
	return a.Username != "" && a.Password.Scheme == "keyring" && (k == "" || k == byPassword)
}

// again logs such an account in anew. done is false where nobody is there to
// answer, or where somebody wants to log in with a code instead.
func again(ctx context.Context, q providers.LoginRequest, own bool) (res providers.LoginResult, done bool, err error) {
	who := httpx.Printable(q.Account.Username, 100)
	if !own {
		i, err := q.UI.Choose(ctx, "Who logs in to Docker Hub?", []string{who + ", with a token or a password", "a person, with a code in the browser"})
		if errors.Is(err, providers.ErrNobody) || err == nil && i != 0 {
			return res, false, nil
		}
		if err != nil {
			return res, true, err
		}
	}
	secret, err := q.UI.Secret(ctx, fmt.Sprintf("Make a token of %s at %s and paste it here (it does not show)", who, tokensPage))
	if errors.Is(err, providers.ErrNobody) {
		return res, false, nil
	}
	return providers.LoginResult{Account: q.Account, Write: !own, Secret: secret, Who: who}, true, err
}
