// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
	"github.com/aws/smithy-go"

	"github.com/regmint/regmint/providers"
)

// What a client of IAM Identity Center registers for: a device code
// (RFC 8628), then refreshes; the scope that GetRoleCredentials needs.
const (
	grantDevice  = "urn:ietf:params:oauth:grant-type:device_code"
	grantRefresh = "refresh_token"
	scopeAccess  = "sso:account:access"
)

// slower is what a client waits longer after slow_down (RFC 8628 section 3.5).
const slower = 5 * time.Second

// logIn runs the device flow and keeps the login where the AWS tools look for
// it.
func (c *call) logIn(ctx context.Context, s center, ui providers.LoginUI) (ssoToken, error) {
	if c.deps.Home == "" {
		return ssoToken{}, c.fail(providers.Misconfigured, "", errors.New("no home directory to keep ~/.aws/sso/cache in"))
	}
	name := s.file(c.deps.Home)
	file, err := openBeside(name)
	if err != nil {
		return ssoToken{}, c.fail(providers.Misconfigured, "make it writable", errors.New("~/.aws/sso/cache cannot be written to"))
	}
	defer file.discard()
	client := c.oidc(s)
	o := op{name: "sso-oidc:RegisterClient", sess: session{who: s.String()}}
	reg, err := client.RegisterClient(ctx, &ssooidc.RegisterClientInput{
		ClientName: aws.String("regmint"), ClientType: aws.String("public"), Scopes: []string{scopeAccess}, GrantTypes: []string{grantDevice, grantRefresh},
	})
	if err != nil {
		return ssoToken{}, c.explain(ctx, o, err)
	}
	t := ssoToken{clientID: aws.ToString(reg.ClientId), clientPass: aws.ToString(reg.ClientSecret)}
	if reg.ClientSecretExpiresAt > 0 {
		t.registered = time.Unix(reg.ClientSecretExpiresAt, 0)
	}
	o = op{name: "sso-oidc:StartDeviceAuthorization", sess: session{who: s.String(), secrets: []providers.Secret{providers.NewSecret(t.clientPass)}}}
	dev, err := client.StartDeviceAuthorization(ctx, &ssooidc.StartDeviceAuthorizationInput{ClientId: reg.ClientId, ClientSecret: reg.ClientSecret, StartUrl: aws.String(s.startURL)})
	if err != nil {
		return ssoToken{}, c.explain(ctx, o, err)
	}
	end := c.deps.Now().Add(time.Duration(dev.ExpiresIn) * time.Second)
	shown := providers.Device{
		For: s.String(), URL: aws.ToString(dev.VerificationUri), Complete: aws.ToString(dev.VerificationUriComplete), Code: aws.ToString(dev.UserCode), ExpiresAt: end,
	}
	if shown.URL == "" || shown.Code == "" || aws.ToString(dev.DeviceCode) == "" || dev.ExpiresIn <= 0 {
		return ssoToken{}, c.unusable(o, errors.New("the answer holds no device code"))
	}
	if err := ui.Device(ctx, shown); err != nil {
		return ssoToken{}, c.fail(providers.LoginRequired, loginHint+" "+c.host.String()+" on a terminal", fmt.Errorf("%s needs a person: %w", s, err))
	}
	if t, err = c.poll(ctx, s, client, dev, t, end); err != nil {
		return ssoToken{}, err
	}
	return t, c.keep(ctx, s, file, t, name)
}

// poll asks for the token until the person has entered the code.
func (c *call) poll(ctx context.Context, s center, client *ssooidc.Client, dev *ssooidc.StartDeviceAuthorizationOutput, t ssoToken, end time.Time) (ssoToken, error) {
	o := op{name: "sso-oidc:CreateToken", sess: session{who: s.String(), secrets: []providers.Secret{providers.NewSecret(t.clientPass), providers.NewSecret(aws.ToString(dev.DeviceCode))}}}
	late := c.fail(providers.LoginRequired, loginHint+" "+c.host.String(), fmt.Errorf("%s: the code expired before it was entered", s))
	interval := cmp.Or(time.Duration(dev.Interval)*time.Second, slower)
	for {
		if err := pause(ctx, interval); err != nil {
			return t, c.fail(providers.Unavailable, "", fmt.Errorf("%s: the login was given up", s))
		}
		if c.deps.Now().After(end) {
			return t, late
		}
		out, err := client.CreateToken(ctx, &ssooidc.CreateTokenInput{
			ClientId: aws.String(t.clientID), ClientSecret: aws.String(t.clientPass), GrantType: aws.String(grantDevice), DeviceCode: dev.DeviceCode,
		}, func(o *ssooidc.Options) { o.Retryer = aws.NopRetryer{} })
		if err == nil {
			if aws.ToString(out.AccessToken) == "" || out.ExpiresIn <= 0 {
				return t, c.unusable(o, errors.New("the answer holds no token"))
			}
			t.access, t.refresh = *out.AccessToken, aws.ToString(out.RefreshToken)
			t.expires = c.deps.Now().Add(time.Duration(out.ExpiresIn) * time.Second)
			return t, nil
		}
		code := ""
		if api, ok := errors.AsType[smithy.APIError](err); ok {
			code = api.ErrorCode()
		}
		switch code {
		case "AuthorizationPendingException":
		case "SlowDownException":
			interval += slower
		case "ExpiredTokenException":
			return t, late
		case "AccessDeniedException":
			return t, c.fail(providers.Denied, "", fmt.Errorf("%s: the login was refused in the browser", s))
		default:
			// A network that fails once does not end the person's login.
			if e := c.explain(ctx, o, err); e.Kind != providers.Unavailable || ctx.Err() != nil {
				return t, e
			}
			interval += slower
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// keep writes the login as the aws command line does.
func (c *call) keep(ctx context.Context, s center, file *beside, t ssoToken, name string) error {
	t.all = map[string]json.RawMessage{}
	for k, v := range map[string]string{"startUrl": s.startURL, "region": s.region} {
		text, err := json.Marshal(v)
		if err != nil {
			return c.fail(providers.Misconfigured, "", errors.New("the start URL cannot be written"))
		}
		t.all[k] = text
	}
	unlock, err := c.deps.Lock(ctx, "aws-sso-"+filepath.Base(name))
	if err != nil {
		return c.fail(providers.Unavailable, "", fmt.Errorf("%s: its login is being renewed by another process", s))
	}
	defer unlock()
	if err := file.save(t); err != nil {
		return c.fail(providers.Unavailable, "", fmt.Errorf("%s: the login cannot be saved in ~/.aws/sso/cache", s))
	}
	return nil
}
