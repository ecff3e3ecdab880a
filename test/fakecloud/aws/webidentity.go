// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/regmint/regmint/test/fakecloud"
)

// assumeWeb serves AssumeRoleWithWebIdentity, which is not signed: the token is
// the proof.
func (a *AWS) assumeWeb(form url.Values, ep endpoint) (any, *refusal) {
	w, no := a.readWish(form)
	if no != nil {
		return nil, no
	}
	token := form.Get("WebIdentityToken")
	if len(token) < 4 {
		return nil, &refusal{status: 400, code: "ValidationError", message: "1 validation error detected: Value at 'webIdentityToken' failed to satisfy constraint: Member must have length greater than or equal to 4"}
	}
	claims, no := a.identity(token, w.arn)
	if no != nil {
		return nil, no
	}
	issuer, _ := claims.GetIssuer()
	subject, _ := claims.GetSubject()
	audience, _ := claims.GetAudience()
	name := strings.TrimPrefix(issuer, "https://")
	a.mu.Lock()
	defer a.mu.Unlock()
	denied := &refusal{status: 403, code: "AccessDenied", message: "Not authorized to perform sts:AssumeRoleWithWebIdentity"}
	role := a.roles[w.arn]
	if role == nil || role.partition != ep.partition {
		return nil, denied
	}
	q := asked{"sts:AssumeRoleWithWebIdentity", w.arn, map[string][]string{
		strings.ToLower(name) + ":sub": {subject}, strings.ToLower(name) + ":aud": audience, "sts:rolesessionname": {w.name},
	}}
	provider := "arn:" + role.partition + ":iam::" + role.account + ":oidc-provider/" + name
	allow, _, _ := role.trust.judge(q, func(p *principals) (bool, bool) {
		return slices.Contains(p.by["Federated"], provider), true
	})
	if !allow {
		return nil, denied
	}
	if no := role.mayLast(w.seconds, false); no != nil {
		return nil, no
	}
	out := a.give(role, w, Assumed{By: subject, Via: "AssumeRoleWithWebIdentity", Host: ep.host})
	out.Provider, out.Subject, out.Audience = provider, subject, strings.Join(audience, ",")
	return out, nil
}

// identity verifies a token for the account of a role.
func (a *AWS) identity(token, role string) (jwt.MapClaims, *refusal) {
	invalid := func(text string) *refusal {
		return &refusal{status: 400, code: "InvalidIdentityToken", message: text}
	}
	// Who issued it is looked at first, unverified, as its provider decides
	// which keys and audiences count.
	unverified := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(token, unverified); err != nil {
		return nil, invalid("The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
	}
	issuer, _ := unverified.GetIssuer()
	f := strings.SplitN(role, ":", 6)
	account := ""
	if len(f) == 6 {
		account = f[4]
	}
	a.mu.Lock()
	audiences, known := a.providers[account+" "+strings.TrimPrefix(issuer, "https://")]
	a.mu.Unlock()
	if !known {
		return nil, invalid("No OpenIDConnect provider found in your account for " + issuer)
	}
	claims, err := a.c.Identity(token, "")
	switch {
	case errors.Is(err, fakecloud.ErrExpired):
		exp := int64(0)
		if t, err := unverified.GetExpirationTime(); err == nil && t != nil {
			exp = t.Unix()
		}
		return nil, &refusal{status: 400, code: "ExpiredTokenException", message: fmt.Sprintf("Token expired: current date/time %d must be before the expiration date/time %d", a.c.Now().Unix(), exp)}
	case err != nil:
		return nil, invalid("The web identity token's signature could not be validated")
	}
	audience, _ := claims.GetAudience()
	if !slices.ContainsFunc(audience, func(s string) bool { return slices.Contains(audiences, s) }) {
		return nil, invalid("Incorrect token audience")
	}
	return claims, nil
}
