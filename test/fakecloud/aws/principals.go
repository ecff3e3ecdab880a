// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Keys are access keys: of a user (AKIA…, no token, no end) or of a session
// (ASIA…).
type Keys struct {
	AccessKeyID, SecretAccessKey, SessionToken string
	Expires                                    time.Time
}

// Env are the keys as variables of the AWS tools.
func (k Keys) Env() map[string]string {
	env := map[string]string{"AWS_ACCESS_KEY_ID": k.AccessKeyID, "AWS_SECRET_ACCESS_KEY": k.SecretAccessKey}
	if k.SessionToken != "" {
		env["AWS_SESSION_TOKEN"] = k.SessionToken
	}
	return env
}

// Process are the keys as a credential_process prints them.
func (k Keys) Process() string {
	out := map[string]any{"Version": 1, "AccessKeyId": k.AccessKeyID, "SecretAccessKey": k.SecretAccessKey}
	if k.SessionToken != "" {
		out["SessionToken"] = k.SessionToken
	}
	if !k.Expires.IsZero() {
		out["Expiration"] = k.Expires.UTC().Format(time.RFC3339)
	}
	b, err := json.Marshal(out)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// identity is what users and roles have in common.
type identity struct {
	arn                string
	partition, account string
	path               string // with the name: "ci", "aws-reserved/sso.amazonaws.com/Dev"
	id                 string // AIDA… or AROA…
	policies           []*document
}

func (i *identity) name() string { return i.path[strings.LastIndex(i.path, "/")+1:] }

// User is an IAM user.
type User struct {
	a *AWS
	identity
}

// Role is an IAM role.
type Role struct {
	a *AWS
	identity
	trust   *document
	longest time.Duration
	revoked time.Time // sessions made up to then are denied everything
	gone    bool
}

// accessKey is what a signature is made with, and who that is.
type accessKey struct {
	Keys
	caller  string // ARN
	userID  string
	who     *identity
	role    *Role // nil for a user
	session []*document
	policy  string // the text of session policies
	made    time.Time
	revoked bool
}

// User makes a user, or finds one, by its ARN: arn:aws:iam::111111111111:user/jane.
func (a *AWS) User(arn string) *User {
	id := parseIdentity(arn, "user")
	a.mu.Lock()
	defer a.mu.Unlock()
	if u := a.users[arn]; u != nil {
		return u
	}
	id.id = newID("AIDA")
	u := &User{a: a, identity: id}
	a.users[arn] = u
	return u
}

// Role makes a role, or finds one and adds to its trust, by its ARN:
// arn:aws:iam::111111111111:role/ci.
func (a *AWS) Role(arn string, trust ...string) *Role {
	id := parseIdentity(arn, "role")
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.roles[arn]
	if r == nil {
		id.id = newID("AROA")
		r = &Role{a: a, identity: id, trust: &document{}, longest: time.Hour}
		a.roles[arn] = r
	}
	for _, t := range trust {
		r.trust.Statement = append(r.trust.Statement, mustDocument(t, kindTrust).Statement...)
	}
	return r
}

// ARN names the user.
func (u *User) ARN() string { return u.arn }

// Attach adds policies.
func (u *User) Attach(policies ...string) *User {
	u.a.attach(&u.identity, policies)
	return u
}

// Keys makes a new pair of long-lived access keys.
func (u *User) Keys() Keys {
	u.a.mu.Lock()
	defer u.a.mu.Unlock()
	k := &accessKey{
		Keys:   Keys{AccessKeyID: newID("AKIA"), SecretAccessKey: random(40)},
		caller: u.arn, userID: u.id, who: &u.identity, made: u.a.c.Now(),
	}
	u.a.keys[k.AccessKeyID] = k
	return k.Keys
}

// ARN names the role.
func (r *Role) ARN() string { return r.arn }

// Attach adds policies.
func (r *Role) Attach(policies ...string) *Role {
	r.a.attach(&r.identity, policies)
	return r
}

// Detach takes every policy away; sessions notice at once.
func (r *Role) Detach() *Role {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	r.policies = nil
	return r
}

// MaxSession sets the longest session; a new role has an hour.
func (r *Role) MaxSession(d time.Duration) *Role {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	r.longest = d
	return r
}

// Trust replaces who may take the role.
func (r *Role) Trust(policies ...string) *Role {
	doc := &document{}
	for _, t := range policies {
		doc.Statement = append(doc.Statement, mustDocument(t, kindTrust).Statement...)
	}
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	r.trust = doc
	return r
}

// Revoke denies everything to the sessions that exist, as "revoke active
// sessions" in the console does.
func (r *Role) Revoke() {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	r.revoked = r.a.c.Now()
}

// Delete removes the role: it cannot be taken, its sessions are unknown.
func (r *Role) Delete() {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	r.gone = true
	delete(r.a.roles, r.arn)
}

// Session makes a session of the role without asking anybody: what a test
// starts with. 0 = an hour.
func (r *Role) Session(name string, life time.Duration) Keys {
	if life == 0 {
		life = time.Hour
	}
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	return r.a.newSession(r, name, life, nil, "").Keys
}

// Revoke makes keys unknown, as when a user's key is deleted.
func (a *AWS) Revoke(k Keys) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if key := a.keys[k.AccessKeyID]; key != nil {
		key.revoked = true
	}
}

// Expire ends a session now.
func (a *AWS) Expire(k Keys) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if key := a.keys[k.AccessKeyID]; key != nil {
		key.Expires = a.c.Now()
	}
}

// IdentityProvider makes an account accept identity tokens of an issuer for
// audiences.
func (a *AWS) IdentityProvider(account, issuer string, audiences ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := account + " " + strings.TrimPrefix(issuer, "https://")
	a.providers[k] = append(a.providers[k], audiences...)
}

func (a *AWS) attach(id *identity, policies []string) {
	for _, p := range policies {
		doc := mustDocument(p, kindIdentity)
		a.mu.Lock()
		id.policies = append(id.policies, doc)
		a.mu.Unlock()
	}
}

// newSession makes the keys of a role's session. The lock is held.
func (a *AWS) newSession(r *Role, name string, life time.Duration, session []*document, policy string) *accessKey {
	now := a.c.Now()
	k := &accessKey{
		Keys: Keys{
			AccessKeyID: newID("ASIA"), SecretAccessKey: random(40), SessionToken: "IQoJb3JpZ2luX2Vj" + random(340),
			Expires: now.Add(life).Truncate(time.Second),
		},
		caller: "arn:" + r.partition + ":sts::" + r.account + ":assumed-role/" + r.name() + "/" + name,
		userID: r.id + ":" + name, who: &r.identity, role: r, session: session, policy: policy, made: now,
	}
	a.keys[k.AccessKeyID] = k
	return k
}

// newID makes an id as AWS does: a prefix and 16 letters.
func newID(prefix string) string { return prefix + rand.Text()[:16] }

func random(n int) string {
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(rand.Text())
	}
	return b.String()[:n]
}

func parseIdentity(arn, kind string) identity {
	f := strings.SplitN(arn, ":", 6)
	if len(f) != 6 || f[0] != "arn" || !slices.Contains(partitionNames, f[1]) || f[2] != "iam" || !isAccount(f[4]) {
		panic("fakecloud/aws: no ARN of a " + kind + ": " + arn)
	}
	path, ok := strings.CutPrefix(f[5], kind+"/")
	if !ok || path == "" {
		panic(fmt.Sprintf("fakecloud/aws: %s is no %s", arn, kind))
	}
	return identity{arn: arn, partition: f[1], account: f[4], path: path}
}

func isAccount(s string) bool { return len(s) == 12 && strings.Trim(s, "0123456789") == "" }

func cut(action string) (service, name string, ok bool) { return strings.Cut(action, ":") }
