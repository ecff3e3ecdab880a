// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sso"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// LoginGroup implements providers.LoginGrouper: accounts of one login at IAM
// Identity Center.
func (Provider) LoginGroup(a providers.Account) string {
	o, ok := a.Options.(*Options)
	if !ok || !o.sso() {
		return ""
	}
	return center{session: o.SSOSession, startURL: o.SSOStartURL}.String()
}

// CanNarrow implements providers.Narrower: what assumes a role can be narrowed.
// Whether a profile does is in its file; the credential says it then.
func (Provider) CanNarrow(a providers.Account, _ []providers.Grant) bool {
	o, ok := a.Options.(*Options)
	if !ok {
		return false
	}
	who := o.sources()
	return len(o.RoleARN) > 0 || len(who) == 0 || who[0] == "profile"
}

// MintedUser implements providers.MintedUser: a password of
// `aws ecr get-login-password`, which is base64 of JSON with its end in
// "expiration" (seconds of Unix time).
func (p Provider) MintedUser(h providers.Host, user string, secret providers.Secret, now time.Time) (time.Duration, bool) {
	if user != userName || !p.Match(h) {
		return 0, false
	}
	var v struct {
		Expiration int64 `json:"expiration"`
	}
	raw, err := base64.StdEncoding.DecodeString(secret.Reveal())
	if err != nil || json.Unmarshal(raw, &v) != nil || v.Expiration <= 0 {
		return tokenLife, true
	}
	return min(max(time.Unix(v.Expiration, 0).Sub(now), 0), tokenLife), true
}

// Login implements providers.Loginer. An account that says who it is gets its
// login at IAM Identity Center where that is what it lacks. Another one gets
// the profile that fits the registry's account.
func (p Provider) Login(ctx context.Context, q providers.LoginRequest) (providers.LoginResult, error) {
	o, _ := q.Account.Options.(*Options)
	if o == nil {
		o = &Options{}
		q.Account.Options = o
	}
	if len(o.sources()) > 0 || len(o.RoleARN) > 0 {
		return p.confirm(ctx, q, q.Account, false)
	}
	c, err := p.caller(q, q.Account)
	if err != nil {
		return providers.LoginResult{}, err
	}
	found, err := c.discover(ctx)
	if err != nil {
		return providers.LoginResult{}, err
	}
	if len(found) == 0 {
		return p.withoutProfile(ctx, q, c)
	}
	var texts []string
	for _, f := range found {
		texts = append(texts, fmt.Sprintf("profile %q (%s)", httpx.Printable(f.name, 60), f.what))
	}
	i, err := q.UI.Choose(ctx, "Which profile of AWS logs in to "+q.Host.String()+"?", texts)
	if err != nil {
		return providers.LoginResult{}, c.fail(providers.Misconfigured, "write an [[account]] with one of them as profile", fmt.Errorf("several profiles fit: %s: %w", names(found), err))
	}
	made := *o
	made.Profile = found[i].name
	a := q.Account
	a.Options, a.Layer = &made, providers.LayerSaved
	return p.confirm(ctx, q, a, true)
}

func names(found []candidate) string {
	var out []string
	for _, f := range found {
		out = append(out, httpx.Printable(f.name, 60))
	}
	return strings.Join(out, ", ")
}

// caller opens an account for a login. What is configured reads nothing of the
// terminal's environment, as in the agent.
func (p Provider) caller(q providers.LoginRequest, a providers.Account) (*call, error) {
	d := q.Deps
	if a.Layer != providers.LayerAmbient {
		d.Env = nil
	}
	s, err := p.open(a, d)
	if err != nil {
		return nil, err
	}
	c := &call{source: s, host: q.Host}
	if c.place, err = s.place(q.Host); err != nil {
		return nil, c.fail(providers.Misconfigured, "", err)
	}
	return c, nil
}

// confirm asks AWS who the account is, with a new login where it lacks one.
func (p Provider) confirm(ctx context.Context, q providers.LoginRequest, a providers.Account, write bool) (providers.LoginResult, error) {
	c, err := p.caller(q, a)
	if err != nil {
		return providers.LoginResult{}, err
	}
	who, account, err := c.whoAmI(ctx)
	s, isSSO := c.ownCenter(ctx)
	until := time.Time{}
	if providers.KindOf(err) == providers.LoginRequired && err != nil && isSSO {
		t, lerr := c.logIn(ctx, s, q.UI)
		if lerr != nil {
			return providers.LoginResult{}, lerr
		}
		if t.refresh == "" {
			until = t.expires
		}
		who, account, err = c.whoAmI(ctx)
	}
	if err != nil {
		return providers.LoginResult{}, err
	}
	if write && c.place.account != "" && account != c.place.account {
		return providers.LoginResult{}, c.fail(providers.Misconfigured, "", fmt.Errorf("host is account %s, %s is %s", c.place.account, httpx.Printable(who, 120), account))
	}
	return providers.LoginResult{Account: a, Write: write, Who: who, Until: until}, nil
}

// whoAmI is GetCallerIdentity, which needs no permission.
func (c *call) whoAmI(ctx context.Context) (arn, account string, err error) {
	p, err := c.plan(ctx)
	if err != nil {
		return "", "", err
	}
	s, err := c.session(ctx, p, nil, false)
	if err != nil {
		return "", "", err
	}
	out, err := c.sts(s.provider()).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", "", c.explain(ctx, op{name: "sts:GetCallerIdentity", sess: s}, err)
	}
	return httpx.Printable(aws.ToString(out.Arn), 200), aws.ToString(out.Account), nil
}

// ownCenter is the login at IAM Identity Center that the account begins with.
func (c *call) ownCenter(ctx context.Context) (center, bool) {
	if c.options.sso() {
		s, err := c.center()
		return s, err == nil
	}
	if c.account.Layer == providers.LayerAmbient || c.options.Profile == "" && len(c.options.sources()) > 0 {
		return center{}, false
	}
	cfg, found, err := c.load(ctx, cmp.Or(c.options.Profile, config.DefaultSharedConfigProfile), files{})
	if err != nil || !found {
		return center{}, false
	}
	at := &cfg
	for range maxProfiles {
		if at.Source == nil {
			break
		}
		at = at.Source
	}
	s := centerOf(at)
	return s, s.startURL != "" && isRegion(s.region)
}

// withoutProfile logs in where no profile fits: the identity that is there
// without any, or a role of IAM Identity Center in the registry's account.
func (p Provider) withoutProfile(ctx context.Context, q providers.LoginRequest, c *call) (providers.LoginResult, error) {
	ambient := q.Account
	ambient.Layer = providers.LayerAmbient
	at, err := p.caller(q, ambient)
	if err != nil {
		return providers.LoginResult{}, err
	}
	if arn, account, err := at.whoAmI(ctx); err == nil {
		if c.place.public || account == c.place.account {
			return providers.LoginResult{Account: q.Account, Who: arn}, nil
		}
		q.UI.Say("%s is account %s, %s is of %s", q.Host, c.place.account, arn, account)
	}
	all := c.sections(files{})
	var sessions []string
	for name := range all {
		if s, ok := strings.CutPrefix(name, "sso-session "); ok {
			sessions = append(sessions, s)
		}
	}
	if len(sessions) == 0 || c.place.public {
		what := "is in account " + c.place.account
		if c.place.public {
			what = "can log in"
		}
		return providers.LoginResult{}, c.fail(providers.Misconfigured, "run: aws configure sso, or write an [[account]] with sso_start_url and sso_region", errors.New("no profile in ~/.aws/config "+what))
	}
	return p.throughCenter(ctx, q, c, slices.Sorted(slices.Values(sessions)))
}

// throughCenter logs in to IAM Identity Center and asks which role to take.
func (p Provider) throughCenter(ctx context.Context, q providers.LoginRequest, c *call, sessions []string) (providers.LoginResult, error) {
	var texts []string
	for _, s := range sessions {
		texts = append(texts, center{session: s}.String())
	}
	i, err := q.UI.Choose(ctx, "No profile is in account "+c.place.account+". Which login has it?", texts)
	if err != nil {
		return providers.LoginResult{}, c.fail(providers.Misconfigured, "write an [[account]] with sso_session and sso_role_name", fmt.Errorf("no profile in ~/.aws/config is in account %s: %w", c.place.account, err))
	}
	made := *c.options
	made.SSOSession, made.SSOAccountID = sessions[i], c.place.account
	one := *c.source
	one.options = &made
	at := &call{source: &one, host: c.host, place: c.place}
	s, err := at.center()
	if err != nil {
		return providers.LoginResult{}, err
	}
	t, err := at.ssoToken(ctx, s)
	if providers.KindOf(err) == providers.LoginRequired && err != nil {
		t, err = at.logIn(ctx, s, q.UI)
	}
	if err != nil {
		return providers.LoginResult{}, err
	}
	roles, err := at.rolesOf(ctx, s, t)
	if err != nil {
		return providers.LoginResult{}, err
	}
	if i, err = q.UI.Choose(ctx, "Which role in account "+s.account+"?", roles); err != nil {
		return providers.LoginResult{}, c.fail(providers.Misconfigured, "write an [[account]] with sso_role_name", fmt.Errorf("roles in account %s: %s: %w", s.account, strings.Join(roles, ", "), err))
	}
	made.SSORoleName = roles[i]
	a := q.Account
	a.Options, a.Layer = &made, providers.LayerSaved
	return p.confirm(ctx, q, a, true)
}

// rolesOf lists what the login may enter the account as.
func (c *call) rolesOf(ctx context.Context, s center, t ssoToken) ([]string, error) {
	o := op{name: "sso:ListAccountRoles", sess: session{who: s.String(), renew: loginHint, secrets: []providers.Secret{providers.NewSecret(t.access)}}}
	var out []string
	pages := sso.NewListAccountRolesPaginator(c.portal(s), &sso.ListAccountRolesInput{AccessToken: aws.String(t.access), AccountId: aws.String(s.account)})
	for n := 0; pages.HasMorePages() && n < 20; n++ {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, c.notEntered(ctx, s, o, err)
		}
		for _, r := range page.RoleList {
			out = append(out, httpx.Printable(aws.ToString(r.RoleName), 64))
		}
	}
	if len(out) == 0 {
		return nil, c.fail(providers.Denied, "ask for an assignment", fmt.Errorf("%s gives no access to account %s", s, s.account))
	}
	return slices.Sorted(slices.Values(out)), nil
}
