// SPDX-License-Identifier: Apache-2.0

package aws_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sso"
	ssotypes "github.com/aws/aws-sdk-go-v2/service/sso/types"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/aws"
)

const startURL = "https://acme.awsapps.com/start"

const (
	grantDevice  = "urn:ietf:params:oauth:grant-type:device_code"
	grantRefresh = "refresh_token"
)

// flow is a client that logs a person in.
type flow struct {
	t    *testing.T
	oidc *ssooidc.Client
	reg  *ssooidc.RegisterClientOutput
	dev  *ssooidc.StartDeviceAuthorizationOutput
}

func oidcOf(c *fakecloud.Cloud, region string) *ssooidc.Client {
	return ssooidc.New(ssooidc.Options{Region: region, HTTPClient: client(c), Retryer: sdk.NopRetryer{}})
}

func begin(t *testing.T, c *fakecloud.Cloud, scopes ...string) *flow {
	t.Helper()
	f := &flow{t: t, oidc: oidcOf(c, region)}
	f.reg = must2(f.oidc.RegisterClient(t.Context(), &ssooidc.RegisterClientInput{
		ClientName: sdk.String("test"), ClientType: sdk.String("public"), Scopes: scopes, GrantTypes: []string{grantDevice, grantRefresh},
	}))(t)
	f.device()
	return f
}

func (f *flow) device() {
	f.t.Helper()
	f.dev = must2(f.oidc.StartDeviceAuthorization(f.t.Context(), &ssooidc.StartDeviceAuthorizationInput{
		ClientId: f.reg.ClientId, ClientSecret: f.reg.ClientSecret, StartUrl: sdk.String(startURL),
	}))(f.t)
}

func (f *flow) poll() (*ssooidc.CreateTokenOutput, error) {
	return f.oidc.CreateToken(f.t.Context(), &ssooidc.CreateTokenInput{
		ClientId: f.reg.ClientId, ClientSecret: f.reg.ClientSecret, GrantType: sdk.String(grantDevice), DeviceCode: f.dev.DeviceCode,
	})
}

func (f *flow) refresh(token string) (*ssooidc.CreateTokenOutput, error) {
	return f.oidc.CreateToken(f.t.Context(), &ssooidc.CreateTokenInput{
		ClientId: f.reg.ClientId, ClientSecret: f.reg.ClientSecret, GrantType: sdk.String(grantRefresh), RefreshToken: &token,
	})
}

func is[E error](t *testing.T, err error) {
	t.Helper()
	if _, ok := errors.AsType[E](err); !ok {
		t.Errorf("want %T, got %v", *new(E), err)
	}
}

func TestAPersonLogsInByDevice(t *testing.T) {
	c, a := start(t, aws.Options{})
	s := a.Center(startURL, region)
	f := begin(t, c, "sso:account:access")
	_, err := f.poll()
	is[*types.AuthorizationPendingException](t, err)
	_, err = f.poll()
	is[*types.SlowDownException](t, err)
	c.Advance(6 * time.Second)
	if got := s.Pending(); len(got) != 1 || got[0] != *f.dev.UserCode {
		t.Fatal(got)
	}
	if err := s.Approve("XXXX-YYYY", "jane"); err == nil {
		t.Error("a code of nobody was approved")
	}
	if err := s.Approve(*f.dev.UserCode, "jane"); err != nil {
		t.Fatal(err)
	}
	out, err := f.poll()
	if err != nil || *out.AccessToken == "" || out.ExpiresIn != 3600 || *out.RefreshToken == "" {
		t.Fatalf("%+v %v", out, err)
	}
	_, err = f.poll()
	is[*types.InvalidGrantException](t, err)
	next, err := f.refresh(*out.RefreshToken)
	if err != nil || *next.AccessToken == *out.AccessToken || *next.RefreshToken == *out.RefreshToken {
		t.Fatalf("%+v %v", next, err)
	}
	_, err = f.refresh(*out.RefreshToken)
	is[*types.InvalidGrantException](t, err)
	s.End("jane")
	_, err = f.refresh(*next.RefreshToken)
	is[*types.InvalidGrantException](t, err)
}

func TestALoginFailsAsIdentityCenterFailsIt(t *testing.T) {
	c, a := start(t, aws.Options{})
	s := a.Center(startURL, region)
	f := begin(t, c)
	if err := s.Deny(*f.dev.UserCode); err != nil {
		t.Fatal(err)
	}
	_, err := f.poll()
	is[*types.AccessDeniedException](t, err)
	f.device()
	c.Advance(10 * time.Minute)
	if err := s.Approve(*f.dev.UserCode, "jane"); err == nil {
		t.Error("an expired code was approved")
	}
	_, err = f.poll()
	is[*types.ExpiredTokenException](t, err)
	f.device()
	if err := s.Approve(*f.dev.UserCode, "jane"); err != nil {
		t.Fatal(err)
	}
	if out, err := f.poll(); err != nil || out.RefreshToken != nil { // no scope, no refresh
		t.Errorf("%+v %v", out, err)
	}
	_, err = f.oidc.StartDeviceAuthorization(t.Context(), &ssooidc.StartDeviceAuthorizationInput{
		ClientId: f.reg.ClientId, ClientSecret: f.reg.ClientSecret, StartUrl: sdk.String("https://other.awsapps.com/start"),
	})
	is[*types.InvalidRequestException](t, err)
	wrong := *f
	wrong.reg = &ssooidc.RegisterClientOutput{ClientId: f.reg.ClientId, ClientSecret: sdk.String("x")}
	_, err = wrong.poll()
	is[*types.InvalidClientException](t, err)
	wrong.reg, wrong.oidc = f.reg, oidcOf(c, "us-east-1") // registered in another region
	_, err = wrong.poll()
	is[*types.InvalidClientException](t, err)
	_, err = f.oidc.CreateToken(t.Context(), &ssooidc.CreateTokenInput{ClientId: f.reg.ClientId, ClientSecret: f.reg.ClientSecret, GrantType: sdk.String("password")})
	is[*types.UnsupportedGrantTypeException](t, err)
	c.Advance(91 * 24 * time.Hour)
	_, err = f.poll()
	is[*types.InvalidClientException](t, err)
}

func portalOf(c *fakecloud.Cloud) *sso.Client {
	return sso.New(sso.Options{Region: region, HTTPClient: client(c), Retryer: sdk.NopRetryer{}})
}

func TestThePortalGivesWhatIsAssigned(t *testing.T) {
	c, a := start(t, aws.Options{})
	s := a.Center(startURL, region)
	s.Assign("jane", one, "Dev", aws.PowerUser).MaxSession(2 * time.Hour)
	s.Assign("jane", one, "Admin", aws.Allow("*"))
	s.Assign("joe", two, "Dev", aws.PowerUser)
	token, _ := s.Login("jane")
	p := portalOf(c)
	accounts, err := p.ListAccounts(t.Context(), &sso.ListAccountsInput{AccessToken: &token})
	if err != nil || len(accounts.AccountList) != 1 || *accounts.AccountList[0].AccountId != one {
		t.Errorf("%+v %v", accounts, err)
	}
	roles, err := p.ListAccountRoles(t.Context(), &sso.ListAccountRolesInput{AccessToken: &token, AccountId: sdk.String(one)})
	if err != nil || len(roles.RoleList) != 2 {
		t.Errorf("%+v %v", roles, err)
	}
	enter := func(token, account, role string) (*sso.GetRoleCredentialsOutput, error) {
		return p.GetRoleCredentials(t.Context(), &sso.GetRoleCredentialsInput{AccessToken: &token, AccountId: &account, RoleName: &role})
	}
	out, err := enter(token, one, "Dev")
	if err != nil {
		t.Fatal(err)
	}
	if left := time.UnixMilli(out.RoleCredentials.Expiration).Sub(c.Now()).Round(time.Minute); left != 2*time.Hour {
		t.Error(left)
	}
	_, err = enter(token, two, "Dev")
	refused(t, err, "ForbiddenException", http.StatusForbidden, "No access")
	_, err = enter(token, "999999999999", "Dev")
	is[*ssotypes.ResourceNotFoundException](t, err)
	_, err = enter("x", one, "Dev")
	is[*ssotypes.UnauthorizedException](t, err)
	_, err = sso.New(sso.Options{Region: "us-east-1", HTTPClient: client(c), Retryer: sdk.NopRetryer{}}).
		ListAccounts(t.Context(), &sso.ListAccountsInput{AccessToken: &token})
	is[*ssotypes.UnauthorizedException](t, err)
	a.Throttle("sso:GetRoleCredentials", 1)
	_, err = enter(token, one, "Dev")
	is[*ssotypes.TooManyRequestsException](t, err)
	s.Unassign("jane", one)
	_, err = enter(token, one, "Dev")
	refused(t, err, "ForbiddenException", http.StatusForbidden)
	c.Advance(time.Hour)
	_, err = enter(token, one, "Dev")
	is[*ssotypes.UnauthorizedException](t, err)
	refused(t, err, "UnauthorizedException", http.StatusUnauthorized, "Session token not found or invalid")
}

func TestSavedLoginsAreThoseOfTheSDK(t *testing.T) {
	c, a := start(t, aws.Options{})
	s := a.Center(startURL, region)
	role := s.Assign("jane", one, "Dev", aws.PowerUser)
	name, text := s.Saved("jane", "corp", true)
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := ssocreds.New(portalOf(c), one, "Dev", startURL, func(o *ssocreds.Options) {
		o.CachedTokenFilepath = file
		o.SSOTokenProvider = ssocreds.NewSSOTokenProvider(oidcOf(c, region), file)
	})
	who, err := stsOf(c, region, sdk.CredentialsProviderFunc(p.Retrieve)).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil || *who.Arn != "arn:aws:sts::"+one+":assumed-role/AWSReservedSSO_Dev_0123456789abcdef/jane" {
		t.Fatalf("%+v %v", who, err)
	}
	if _, err := ecrOf(c, region, sdk.CredentialsProviderFunc(p.Retrieve)).GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{}); err != nil {
		t.Error(err)
	}
	if a.Count()[role.ARN()] != 1 {
		t.Error(a.Count())
	}
}
