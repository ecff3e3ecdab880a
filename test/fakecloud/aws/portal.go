// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"net/http"
	"slices"

	"github.com/regmint/regmint/test/fakecloud"
)

// portal serves the access portal of IAM Identity Center: a person's accounts
// and roles, for an access token in x-amz-sso_bearer_token
// (docs.aws.amazon.com/singlesignon/latest/PortalAPIReference).
func (a *AWS) portal(w http.ResponseWriter, r *http.Request, ep endpoint) {
	call := map[string]struct {
		action string
		f      func(*login, *http.Request) (any, *refusal)
	}{
		"GET /federation/credentials": {"sso:GetRoleCredentials", a.roleCredentials},
		"GET /assignment/accounts":    {"sso:ListAccounts", a.listAccounts},
		"GET /assignment/roles":       {"sso:ListAccountRoles", a.listAccountRoles},
		"POST /logout":                {"sso:Logout", a.logout},
	}[r.Method+" "+r.URL.Path]
	if call.f == nil {
		a.refuseREST(w, &refusal{status: 404, code: "UnknownOperationException", message: "unknown operation"})
		return
	}
	if f := a.failure(call.action); f != nil {
		a.refuseREST(w, f.refusal())
		return
	}
	token := r.Header.Get("X-Amz-Sso_bearer_token")
	a.mu.Lock()
	l := a.logins[token]
	var out any
	no := &refusal{status: 401, code: "UnauthorizedException", message: "Session token not found or invalid"}
	if token != "" && l != nil && !l.ended && a.c.Now().Before(l.expires) && l.center.region == ep.region {
		out, no = call.f(l, r)
	}
	a.mu.Unlock()
	if no != nil {
		a.refuseREST(w, no)
		return
	}
	a.head(w, kindJSON)
	fakecloud.WriteJSON(w, http.StatusOK, out)
}

// The calls below are made with the lock held.

func (a *AWS) roleCredentials(l *login, r *http.Request) (any, *refusal) {
	account, role := r.URL.Query().Get("account_id"), r.URL.Query().Get("role_name")
	if !isAccount(account) || role == "" {
		return nil, &refusal{status: 400, code: "InvalidRequestException", message: "Input is not valid"}
	}
	for _, g := range l.center.grants {
		if g.person != l.person || g.account != account || g.role != role || g.to.gone {
			continue
		}
		k := a.newSession(g.to, l.person, g.to.longest, nil, "")
		a.assumed = append(a.assumed, Assumed{
			Time: k.made, By: l.person, Via: "GetRoleCredentials", Host: hostOf(r), Role: g.to.arn, Session: l.person, Duration: g.to.longest, Keys: k.Keys,
		})
		return map[string]any{"roleCredentials": map[string]any{
			"accessKeyId": k.AccessKeyID, "secretAccessKey": k.SecretAccessKey, "sessionToken": k.SessionToken, "expiration": k.Expires.UnixMilli(),
		}}, nil
	}
	if !slices.Contains(l.center.accounts, account) {
		return nil, &refusal{status: 404, code: "ResourceNotFoundException", message: "Account not found"}
	}
	return nil, &refusal{status: 403, code: "ForbiddenException", message: "No access"}
}

func (a *AWS) listAccounts(l *login, _ *http.Request) (any, *refusal) {
	list, seen := []any{}, map[string]bool{}
	for _, g := range l.center.grants {
		if g.person == l.person && !seen[g.account] {
			seen[g.account] = true
			list = append(list, map[string]string{"accountId": g.account, "accountName": "account-" + g.account, "emailAddress": "aws+" + g.account + "@example.com"})
		}
	}
	return map[string]any{"accountList": list}, nil
}

func (a *AWS) listAccountRoles(l *login, r *http.Request) (any, *refusal) {
	account := r.URL.Query().Get("account_id")
	list := []any{}
	for _, g := range l.center.grants {
		if g.person == l.person && g.account == account {
			list = append(list, map[string]string{"roleName": g.role, "accountId": account})
		}
	}
	if len(list) == 0 {
		return nil, &refusal{status: 403, code: "ForbiddenException", message: "No access"}
	}
	return map[string]any{"roleList": list}, nil
}

// logout ends the person's sessions, with it the refresh tokens.
func (a *AWS) logout(l *login, _ *http.Request) (any, *refusal) {
	l.ended = true
	for _, other := range a.logins {
		if other.center == l.center && other.person == l.person {
			other.ended = true
		}
	}
	return map[string]any{}, nil
}
