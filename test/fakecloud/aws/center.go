// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Center is an IAM Identity Center: people, and the roles of accounts that they
// may enter by its portal.
type Center struct {
	a        *AWS
	startURL string
	region   string
	life     time.Duration // of access tokens
	session  time.Duration // of logins, with refreshes
	grants   []assignment
}

type assignment struct {
	person, account, role string
	to                    *Role
}

// Center makes an Identity Center, or finds one. Its services are
// oidc.REGION.amazonaws.com and portal.sso.REGION.amazonaws.com.
func (a *AWS) Center(startURL, region string) *Center {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.centers {
		if s.startURL == startURL && s.region == region {
			return s
		}
	}
	s := &Center{a: a, startURL: startURL, region: region, life: time.Hour, session: 8 * time.Hour}
	a.centers = append(a.centers, s)
	return s
}

// Life sets how long access tokens live (an hour unless set) and how long a
// login can be refreshed (8 hours).
func (s *Center) Life(token, session time.Duration) *Center {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	s.life, s.session = token, session
	return s
}

// Assign lets a person enter an account with a role that has these policies.
// The role is arn:aws:iam::ACCOUNT:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_NAME_….
func (s *Center) Assign(person, account, role string, policies ...string) *Role {
	partition := partitionOf(s.region)
	arn := fmt.Sprintf("arn:%s:iam::%s:role/aws-reserved/sso.%s/AWSReservedSSO_%s_0123456789abcdef", partition, account, "amazonaws.com", role)
	r := s.a.Role(arn, fmt.Sprintf(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:%s:iam::%s:saml-provider/AWSSSO_DO_NOT_DELETE"},"Action":"sts:AssumeRoleWithSAML"}]}`,
		partition, account)).MaxSession(12 * time.Hour)
	r.Attach(policies...)
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	s.grants = append(s.grants, assignment{person: person, account: account, role: role, to: r})
	return r
}

// Unassign takes every role in an account from a person.
func (s *Center) Unassign(person, account string) {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	s.grants = slices.DeleteFunc(s.grants, func(g assignment) bool { return g.person == person && g.account == account })
}

// login is a person's session at the portal.
type login struct {
	center  *Center
	person  string
	client  string // client id
	refresh string
	expires time.Time // of the access token
	until   time.Time // of refreshes
	ended   bool
}

// Login gives an access token to a person at once.
func (s *Center) Login(person string) (accessToken string, expires time.Time) {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	token, l := s.newLogin(person, "", s.a.c.Now().Add(s.session), false)
	return token, l.expires
}

// newLogin is called with the lock held.
func (s *Center) newLogin(person, client string, until time.Time, refresh bool) (string, *login) {
	now := s.a.c.Now()
	l := &login{center: s, person: person, client: client, expires: now.Add(s.life), until: until}
	if l.expires.After(until) {
		l.expires = until
	}
	l.expires = l.expires.Truncate(time.Second)
	if refresh {
		l.refresh = "aorAAAAAG" + random(200)
	}
	token := "aoaAAAAAG" + random(200)
	s.a.logins[token] = l
	return token, l
}

// End ends every login of a person, as an administrator does.
func (s *Center) End(person string) {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	for _, l := range s.a.logins {
		if l.center == s && l.person == person {
			l.ended = true
		}
	}
}

// client is a registered client of the OIDC service.
type client struct {
	id, secret string
	region     string
	grants     []string
	scopes     []string
	until      time.Time
}

// device is a device authorization that waits for a person.
type device struct {
	center   *Center
	client   string
	code     string
	user     string // user code
	until    time.Time
	polled   time.Time
	interval time.Duration
	person   string // who approved
	denied   bool
	used     bool
}

// Pending lists the user codes that wait to be approved or denied.
func (s *Center) Pending() []string {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	var out []string
	for _, d := range s.a.devices {
		if d.center == s && d.person == "" && !d.denied && s.a.c.Now().Before(d.until) {
			out = append(out, d.user)
		}
	}
	return out
}

// Approve is what a person does in the browser with a user code; an error for
// a code that nobody waits for.
func (s *Center) Approve(userCode, person string) error {
	return s.decide(userCode, func(d *device) { d.person = person })
}

// Deny refuses a user code.
func (s *Center) Deny(userCode string) error {
	return s.decide(userCode, func(d *device) { d.denied = true })
}

func (s *Center) decide(userCode string, f func(*device)) error {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	for _, d := range s.a.devices {
		if d.center == s && strings.EqualFold(d.user, userCode) && d.person == "" && !d.denied && s.a.c.Now().Before(d.until) {
			f(d)
			return nil
		}
	}
	return fmt.Errorf("no login waits for the code %q", userCode)
}
