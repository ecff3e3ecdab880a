// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
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
	accounts []string // that ever had an assignment
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

// Assign lets a person enter an account with a role that has these policies,
// for an hour at a time unless Role.MaxSession says otherwise.
// The role is arn:aws:iam::ACCOUNT:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_NAME_….
func (s *Center) Assign(person, account, role string, policies ...string) *Role {
	partition := partitionOf(s.region)
	arn := fmt.Sprintf("arn:%s:iam::%s:role/aws-reserved/sso.%s/AWSReservedSSO_%s_0123456789abcdef", partition, account, "amazonaws.com", role)
	r := s.a.Role(arn, fmt.Sprintf(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:%s:iam::%s:saml-provider/AWSSSO_DO_NOT_DELETE"},"Action":"sts:AssumeRoleWithSAML"}]}`,
		partition, account))
	r.Attach(policies...)
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	s.accounts = append(s.accounts, account)
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

// Saved is a login of a person as the AWS tools keep it: the text of
// ~/.aws/sso/cache/SHA1.json, SHA1 being that of the session's name or, for
// profiles without one, of the start URL. refresh says whether it can be
// renewed.
func (s *Center) Saved(person, session string, refresh bool) (file, text string) {
	key := session
	if key == "" {
		key = s.startURL
	}
	sum := sha1.Sum([]byte(key))
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	k := s.a.register(s.region, []string{grantDevice, grantRefresh})
	token, l := s.newLogin(person, k.id, s.a.c.Now().Add(s.session), refresh)
	all := map[string]string{"startUrl": s.startURL, "region": s.region, "accessToken": token, "expiresAt": iso(l.expires)}
	if refresh {
		all["clientId"], all["clientSecret"], all["registrationExpiresAt"] = k.id, k.secret, iso(k.until)
		all["refreshToken"] = l.refresh
	}
	b, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return hex.EncodeToString(sum[:]) + ".json", string(b)
}

// Config is what ~/.aws/config says for a profile of this center; with a
// session's name as [sso-session], else with everything in the profile.
func (s *Center) Config(profile, session, account, role string) string {
	where := fmt.Sprintf("sso_start_url = %s\nsso_region = %s\n", s.startURL, s.region)
	who := fmt.Sprintf("sso_account_id = %s\nsso_role_name = %s\n", account, role)
	if session == "" {
		return fmt.Sprintf("[profile %s]\n%s%s\n", profile, where, who)
	}
	return fmt.Sprintf("[profile %s]\nsso_session = %s\n%s\n[sso-session %s]\n%ssso_registration_scopes = %s\n\n", profile, session, who, session, where, scopeAccess)
}

// newLogin is called with the lock held.
func (s *Center) newLogin(person, client string, until time.Time, refresh bool) (string, *login) {
	now := s.a.c.Now()
	l := &login{center: s, person: person, client: client, expires: now.Add(s.life), until: until}
	if l.expires.After(until) {
		l.expires = until
	}
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
