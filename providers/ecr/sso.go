// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"cmp"
	"context"
	"crypto/sha1" //nolint:gosec // the name of a file, as the AWS tools choose it
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sso"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
	"github.com/aws/smithy-go"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// center is a login at IAM Identity Center and what is entered with it.
type center struct {
	session  string // name of the sso-session, "" where there is none
	startURL string
	region   string
	account  string
	role     string
}

// key is what the AWS tools name a login's file by.
func (s center) key() string { return cmp.Or(s.session, s.startURL) }

// String names the login for people.
func (s center) String() string {
	return fmt.Sprintf("AWS SSO session %q", httpx.Printable(s.key(), 80))
}

// file is where the AWS tools keep the login's token:
// ~/.aws/sso/cache/<sha1 of the key>.json.
func (s center) file(home string) string {
	sum := sha1.Sum([]byte(s.key())) //nolint:gosec // see above
	return filepath.Join(home, ".aws", "sso", "cache", hex.EncodeToString(sum[:])+".json")
}

// center settles the options: what sso_session does not say inline is in
// ~/.aws/config.
func (c *call) center() (center, error) {
	o := c.options
	s := center{session: o.SSOSession, startURL: o.SSOStartURL, region: o.SSORegion, account: cmp.Or(o.SSOAccountID, c.place.account), role: o.SSORoleName}
	if s.startURL == "" {
		keys := c.sections(files{})["sso-session "+s.session]
		s.startURL, s.region = keys["sso_start_url"], keys["sso_region"]
	}
	if s.startURL == "" || !isRegion(s.region) {
		return s, c.fail(providers.Misconfigured, "set sso_start_url and sso_region", fmt.Errorf("~/.aws/config has no sso-session %q", httpx.Printable(s.session, 60)))
	}
	if s.account == "" {
		return s, c.fail(providers.Misconfigured, "set sso_account_id", errors.New("ECR Public has no account of its own"))
	}
	return s, nil
}

func (c *call) fromSSO() (*plan, error) {
	s, err := c.center()
	if err != nil {
		return nil, err
	}
	return s.plan(s.String()), nil
}

// profileSSO is a profile with sso_session, or with everything in itself.
func (c *call) profileSSO(cfg *config.SharedConfig) (*plan, error) {
	s := centerOf(cfg)
	if s.startURL == "" || !isRegion(s.region) || !isAccount(s.account) || s.role == "" {
		return nil, c.fail(providers.Misconfigured, "run: aws configure sso --profile "+httpx.Printable(cfg.Profile, 60),
			fmt.Errorf("profile %q lacks a part of sso_session, sso_start_url, sso_region, sso_account_id and sso_role_name", httpx.Printable(cfg.Profile, 60)))
	}
	return s.plan(fmt.Sprintf("profile %q", httpx.Printable(cfg.Profile, 60))), nil
}

func centerOf(cfg *config.SharedConfig) center {
	s := center{startURL: cfg.SSOStartURL, region: cfg.SSORegion, account: cfg.SSOAccountID, role: cfg.SSORoleName}
	if cfg.SSOSession != nil {
		s.session, s.startURL, s.region = cfg.SSOSession.Name, cfg.SSOSession.SSOStartURL, cfg.SSOSession.SSORegion
	}
	return s
}

func (s center) plan(who string) *plan {
	return &plan{who: who, first: func(ctx context.Context, c *call, _ string) (session, error) {
		return c.enter(ctx, s, who)
	}}
}

// loginHint is for everything that a new login mends.
const loginHint = "run: regmint login"

// enter exchanges the login for credentials of an account and a role.
func (c *call) enter(ctx context.Context, s center, who string) (session, error) {
	t, err := c.ssoToken(ctx, s)
	if err != nil {
		return session{}, err
	}
	secret := providers.NewSecret(t.access)
	o := op{name: "sso:GetRoleCredentials", sess: session{who: s.String(), renew: loginHint, secrets: []providers.Secret{secret}}}
	out, err := c.portal(s).GetRoleCredentials(ctx, &sso.GetRoleCredentialsInput{
		AccessToken: aws.String(t.access), AccountId: aws.String(s.account), RoleName: aws.String(s.role),
	})
	if err != nil {
		return session{}, c.notEntered(ctx, s, o, err)
	}
	k := out.RoleCredentials
	if k == nil || aws.ToString(k.AccessKeyId) == "" || aws.ToString(k.SecretAccessKey) == "" || k.Expiration == 0 {
		return session{}, c.unusable(o, errors.New("the answer holds no credentials"))
	}
	return session{who: who, renew: loginHint}.with(aws.Credentials{
		AccessKeyID: *k.AccessKeyId, SecretAccessKey: *k.SecretAccessKey, SessionToken: aws.ToString(k.SessionToken), AccountID: s.account,
		CanExpire: true, Expires: local(time.UnixMilli(k.Expiration), out.ResultMetadata),
	}), nil
}

func (c *call) notEntered(ctx context.Context, s center, o op, err error) *providers.Error {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return c.explain(ctx, o, err)
	}
	switch api.ErrorCode() {
	case "UnauthorizedException":
		return c.fail(providers.LoginRequired, loginHint, fmt.Errorf("%s is over: AWS does not accept its token any more", s))
	case "ForbiddenException":
		return c.fail(providers.Denied, "ask for the assignment, or choose another sso_role_name", fmt.Errorf("%s gives no access to account %s as %s", s, s.account, httpx.Printable(s.role, 64)))
	case "ResourceNotFoundException":
		return c.fail(providers.Misconfigured, "see sso_account_id and sso_role_name", fmt.Errorf("%s knows no account %s", s, s.account))
	}
	return c.explain(ctx, o, err)
}

func (c *call) portal(s center) *sso.Client {
	return sso.New(sso.Options{
		Region: s.region, HTTPClient: c.http.HTTPClient(), Retryer: c.retryer(), BaseEndpoint: base(c.options.SSOEndpoint), AppID: "regmint",
	})
}

func (c *call) oidc(s center) *ssooidc.Client {
	return ssooidc.New(ssooidc.Options{
		Region: s.region, HTTPClient: c.http.HTTPClient(), Retryer: c.retryer(), BaseEndpoint: base(c.options.SSOEndpoint), AppID: "regmint",
	})
}
