// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/oauth"
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
	return login(ctx, q, nil)
}

// login waits between polls by pause; nil: by the clock.
func login(ctx context.Context, q providers.LoginRequest, pause func(context.Context, time.Duration) bool) (providers.LoginResult, error) {
	a := q.Account
	own := a.Layer == providers.LayerConfigured || a.Layer == providers.LayerJobConfig
	o, _ := a.Options.(*Options)
	if o == nil {
		o = &Options{}
	}
	if byHand(a, o) {
		if res, done, err := again(ctx, q, own); done {
			return res, err
		}
	}
	switch {
	case o.OIDCConnection != "" || kind(o.Identity) == byOIDC:
		return try(ctx, q)
	case own && kind(o.Identity) != byDevice:
		return providers.LoginResult{}, &providers.Error{
			Kind: providers.Misconfigured, Host: q.Host, Err: fmt.Errorf("account %q is a user name and a password", a.Name),
			Hint: "run: regmint login " + q.Host.String() + ` -u USER, or write identity = "device"`,
		}
	case own && a.Password.IsZero():
		return providers.LoginResult{}, &providers.Error{
			Kind: providers.Misconfigured, Host: q.Host, Err: fmt.Errorf("account %q has no place for the login", a.Name), Hint: `write password = "keyring:NAME"`,
		}
	}
	written := *o
	written.Identity = string(byDevice)
	a.Options = &written
	s, err := open(unsaved(a), q.Deps)
	if err != nil {
		return providers.LoginResult{}, err
	}
	s.pause = pause
	pair, err := s.authorize(ctx, q)
	if err != nil {
		return providers.LoginResult{}, err
	}
	if !own {
		a.Username = "" // whoever logs in next may be another
		a.ExpiresIn = 0
	}
	return providers.LoginResult{Account: a, Write: !own, Secret: pair.Secret(), Who: pair.User, Until: pair.RefreshExpiresAt}, nil
}

// unsaved is a as it is opened before there is anything in its place.
func unsaved(a providers.Account) providers.Account {
	a.Layer, a.ExpiresIn = providers.LayerSaved, 0
	return a
}

// authorize is the device login itself, with the access token for the registry.
func (s *source) authorize(ctx context.Context, q providers.LoginRequest) (oauth.Pair, error) {
	client := s.oauth(q.Host)
	instead := "with an access token instead: regmint login " + q.Host.String() + " -u USER"
	t, err := client.Device(ctx, q.UI, "Docker Hub")
	if e, ok := errors.AsType[*providers.Error](err); ok && e.Kind == providers.Unavailable && e.Hint == "" && ctx.Err() == nil {
		hinted := *e
		hinted.Hint = instead
		err = &hinted
	}
	if err != nil {
		return oauth.Pair{}, err
	}
	if t.Refresh.IsZero() {
		return oauth.Pair{}, s.fail(q.Host, providers.Unavailable, instead, errors.New("no refresh token from Docker Hub (offline_access)"))
	}
	name, ok := personOf(t.Access)
	if !ok {
		return oauth.Pair{}, s.fail(q.Host, providers.Unavailable, instead, errors.New("the login of Docker Hub does not say whose it is"))
	}
	pair := client.Keep(t, name)
	made, err := s.generate(ctx, q.Host, t.Access)
	if err != nil {
		_ = s.end(ctx, q.Host, pair) // nobody would know of it
		return oauth.Pair{}, err
	}
	pair.Made = made.Reveal()
	return pair, nil
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

// madeToken says where a person finds the token that was made with a login.
const madeToken = "the access token made with the login: delete it at " + tokensPage

// EndLogin implements providers.Ender: the session ends as by docker logout. The
// access token made with it goes on: nothing is known that would delete it by
// its secret.
func (Provider) EndLogin(ctx context.Context, q providers.EndRequest) providers.Ended {
	p, ok := oauth.ParsePair(q.Secret)
	if !ok {
		return providers.Ended{}
	}
	var left []string
	s, err := open(unsaved(q.Account), q.Deps)
	if err == nil {
		err = s.revoke(ctx, q.Host, p)
	}
	out := providers.Ended{What: "the login at Docker Hub"}
	if err != nil {
		out.What, left = "", append(left, "the login at Docker Hub: it did not answer")
	}
	if p.Made != "" {
		left = append(left, madeToken)
	}
	out.Left = strings.Join(left, "; ")
	return out
}

// endLimit bounds the end of a login whose person has gone.
const endLimit = 5 * time.Second

func (s *source) end(ctx context.Context, h providers.Host, p oauth.Pair) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endLimit)
	defer cancel()
	return s.revoke(ctx, h, p)
}

func (s *source) revoke(ctx context.Context, h providers.Host, p oauth.Pair) error {
	return s.oauth(h).End(ctx, s.plan.login+"/oauth/revoke", p)
}
