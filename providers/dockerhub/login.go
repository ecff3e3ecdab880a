// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"context"
	"errors"
	"fmt"

	"github.com/regmint/regmint/providers"
)

// LoginGroup implements providers.LoginGrouper: device logins that are kept in
// one place are one.
func (Provider) LoginGroup(a providers.Account) string {
	if o, ok := a.Options.(*Options); ok && o != nil && kind(o.Identity) == byDevice && !a.Password.IsZero() {
		return "Docker Hub login " + a.Password.String()
	}
	return ""
}

// Login implements providers.Loginer: the device code login of the docker
// command. A federated account is tried; a user name with a password or an
// access token is a login with -u.
func (Provider) Login(ctx context.Context, q providers.LoginRequest) (providers.LoginResult, error) {
	a := q.Account
	own := a.Layer == providers.LayerConfigured || a.Layer == providers.LayerJobConfig
	o, _ := a.Options.(*Options)
	if o == nil {
		o = &Options{}
	}
	if o.OIDCConnection != "" || kind(o.Identity) == byOIDC {
		return try(ctx, q)
	}
	if own && kind(o.Identity) != byDevice {
		return providers.LoginResult{}, &providers.Error{
			Kind: providers.Misconfigured, Host: q.Host, Err: fmt.Errorf("account %q is a user name and a password", a.Name),
			Hint: "run: regmint login " + q.Host.String() + ` -u USER, or write identity = "device"`,
		}
	}
	if own && a.Password.IsZero() {
		return providers.LoginResult{}, &providers.Error{
			Kind: providers.Misconfigured, Host: q.Host, Err: fmt.Errorf("account %q has no place for the login", a.Name), Hint: `write password = "keyring:NAME"`,
		}
	}
	written := *o
	written.Identity = string(byDevice)
	a.Options = &written
	opened := a
	opened.Layer, opened.ExpiresIn = providers.LayerSaved, 0
	s, err := open(opened, q.Deps)
	if err != nil {
		return providers.LoginResult{}, err
	}
	client := s.oauth(q.Host)
	t, err := client.Device(ctx, q.UI, "Docker Hub")
	if e, ok := errors.AsType[*providers.Error](err); ok && e.Kind == providers.Unavailable && e.Hint == "" && ctx.Err() == nil {
		own := *e
		own.Hint = "with an access token instead: regmint login " + q.Host.String() + " -u USER"
		err = &own
	}
	if err != nil {
		return providers.LoginResult{}, err
	}
	if t.Refresh.IsZero() {
		return providers.LoginResult{}, s.fail(q.Host, providers.Unavailable, "", errors.New("no refresh token from Docker Hub: the application must allow offline_access"))
	}
	name, ok := personOf(t.Access)
	if !ok {
		return providers.LoginResult{}, s.fail(q.Host, providers.Unavailable, "", errors.New("the login of Docker Hub does not say whose it is"))
	}
	made, err := s.generate(ctx, q.Host, t.Access)
	if err != nil {
		return providers.LoginResult{}, err
	}
	pair := client.Keep(t, name)
	pair.Made = made.Reveal()
	if !own {
		a.Username = "" // whoever logs in next may be another
		a.ExpiresIn = 0
	}
	return providers.LoginResult{Account: a, Write: !own, Secret: pair.Secret(), Who: name}, nil
}

// try mints with the account as it is.
func try(ctx context.Context, q providers.LoginRequest) (providers.LoginResult, error) {
	s, err := open(q.Account, q.Deps)
	if err != nil {
		return providers.LoginResult{}, err
	}
	c, err := s.Mint(ctx, providers.Request{Host: q.Host})
	if err != nil {
		return providers.LoginResult{}, err
	}
	return providers.LoginResult{Account: q.Account, Who: c.Username}, nil
}
