// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"fmt"
	"slices"
	"strings"
)

func either(flags map[string]string, long, short string) string {
	if v := flags[long]; v != "" {
		return v
	}
	return flags[short]
}

func (s *session) find(name string) int {
	if name == "" {
		return 0
	}
	return slices.IndexFunc(s.subs, func(x Subscription) bool { return strings.EqualFold(x.ID, name) || strings.EqualFold(x.Name, name) })
}

func noSubscription(name string) *azError {
	return &azError{1, "ERROR: Subscription '" + name + "' not found. Check the spelling and casing and try again."}
}

func (s *session) show(flags map[string]string) (any, *azError) {
	name := either(flags, "--subscription", "-s")
	if name == "" {
		name = either(flags, "--name", "-n")
	}
	i := s.find(name)
	if i < 0 {
		return nil, noSubscription(name)
	}
	return s.list(true)[i], nil
}

// accessToken is `account get-access-token`: for the tenant named, else for
// the one of the subscription.
func (c *CLI) accessToken(s *session, flags map[string]string) (any, *azError) {
	sub, tenant := either(flags, "--subscription", "-s"), either(flags, "--tenant", "-t")
	if sub != "" && tenant != "" {
		return nil, &azError{1, "ERROR: Please specify only one of subscription and tenant, not both"}
	}
	i := s.find(sub)
	if i < 0 {
		return nil, noSubscription(sub)
	}
	c.az.mu.Lock()
	t := s.subs[i].Tenant
	e := t.Environment
	if tenant != "" {
		t = c.az.tenant(e, tenant)
	}
	refused := c.az.mayCLI(s, t, tenant, e)
	c.az.mu.Unlock()
	resource := flags["--resource"]
	if resource == "" {
		resource = e.ARM
	}
	if refused == nil {
		resource, refused = resourceOf(strings.TrimSuffix(resource, defaultSuffix)+defaultSuffix, t, e)
	}
	if refused != nil {
		text := fmt.Sprintf("ERROR: AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s",
			refused.aadsts, refused.text, guid(), guid(), c.az.Cloud.Now().UTC().Format("2006-01-02 15:04:05Z"))
		return nil, &azError{1, text + "\nInteractive authentication is needed. Please run:\naz logout\naz login"}
	}
	life := c.az.lives().EntraLife
	until := c.az.Cloud.Now().Add(life)
	client := CLIClient
	if s.who.kind != kindUser {
		client = s.who.ClientID
	}
	out := map[string]any{
		"accessToken": c.az.accessToken(answer{who: s.who, tenant: t, resource: resource, client: client, user: s.who.kind == kindUser}, life),
		"expiresOn":   until.Local().Format("2006-01-02 15:04:05.000000"), "expires_on": until.Unix(),
		"tenant": t.ID, "tokenType": "Bearer",
	}
	if tenant == "" {
		out["subscription"] = s.subs[i].ID
	}
	return out, nil
}

// mayCLI tells whether a login is good in t. Callers hold mu.
func (a *Azure) mayCLI(s *session, t *Tenant, name string, e Environment) *refusal {
	if t == nil {
		f := noTenant(name)
		return &f
	}
	now := a.Cloud.Now()
	if s.expired {
		return &refusal{400, "invalid_grant", 700082, "The refresh token has expired due to inactivity. The token was issued on " + now.AddDate(0, 0, -91).UTC().Format("2006-01-02T15:04:05Z") + " and was inactive for 90.00:00:00."}
	}
	if s.who.kind != kindUser {
		if s.who.objectID(t) == "" {
			return noApp(s.who.ClientID, t)
		}
		return nil
	}
	return a.signIn(&grant{who: s.who, client: CLIClient, since: now.Add(1), expires: now.Add(1 << 40)}, t, e)
}
