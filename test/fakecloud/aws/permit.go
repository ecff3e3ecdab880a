// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"fmt"
	"strings"
)

// owned is the resource of a question that may have a policy of its own.
type owned struct {
	account string    // "" = the caller's: resources of nobody, "*"
	policy  *document // nil for none
	// trust: the policy must allow, whatever the identity may.
	trust bool
}

// permit answers whether a key may do something: AWS's sentence if not, "" if it
// may. The lock is held. The order is that of
// docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html:
// a deny anywhere, then identity or resource (both across accounts), cut by the
// session's policy.
func (a *AWS) permit(k *accessKey, q asked, o owned) string {
	no := func(why string) string {
		return fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s %s", k.caller, q.action, q.resource, why)
	}
	identity, denied := verdict(k.who.policies, q)
	if k.role != nil && !k.made.After(k.role.revoked) {
		denied = true
	}
	session, sessionDenied := len(k.session) == 0, false
	if !session {
		session, sessionDenied = verdict(k.session, q)
	}
	resource, direct, resourceDenied := o.policy.judge(q, k.named)
	foreign := o.account != "" && o.account != k.who.account
	because := func(what string) string { return "because no " + what + " allows the " + q.action + " action" }
	switch {
	case denied:
		return no("with an explicit deny in an identity-based policy")
	case sessionDenied:
		return no("with an explicit deny in a session policy")
	case resourceDenied:
		return no("with an explicit deny in a resource-based policy")
	case (o.trust || foreign) && !resource:
		return no(because("resource-based policy"))
	case !identity && (foreign || !direct):
		return no(because("identity-based policy"))
	case !session:
		return no(because("session policy"))
	}
	return ""
}

// named reports whether a policy's principal is the key's: itself, or only its
// account.
func (k *accessKey) named(p *principals) (named, direct bool) {
	if p.everyone {
		return true, true
	}
	for _, s := range p.by["AWS"] {
		switch s {
		case "*", k.who.arn, k.caller:
			return true, true
		case k.who.account, "arn:" + k.who.partition + ":iam::" + k.who.account + ":root":
			named = true
		}
	}
	return named, false
}

// judge asks a policy that has principals. direct: who asks is named itself,
// which within an account needs no permission besides.
func (d *document) judge(q asked, who func(*principals) (named, direct bool)) (allow, direct, deny bool) {
	if d == nil {
		return false, false, false
	}
	for _, s := range d.Statement {
		named, itself := who(s.Principal)
		if !named || !s.applies(q) {
			continue
		}
		if s.Effect == "Deny" {
			return false, false, true
		}
		allow, direct = true, direct || itself
	}
	return allow, direct, false
}

// managed are AWS's own policies that a session can be narrowed to by ARN.
func managed(arn string) (string, bool) {
	_, name, ok := strings.Cut(arn, ":iam::aws:policy/")
	if !ok {
		return "", false
	}
	switch name {
	case "AmazonEC2ContainerRegistryPullOnly":
		return PullOnly, true
	case "AmazonEC2ContainerRegistryPowerUser":
		return PowerUser, true
	case "AmazonEC2ContainerRegistryFullAccess":
		return Allow("ecr:*", "cloudtrail:LookupEvents"), true
	case "AdministratorAccess":
		return Allow("*"), true
	}
	return "", false
}
