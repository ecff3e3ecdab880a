// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/oauth"
	"github.com/regmint/regmint/providers/internal/registryauth"
)

// apiAudience is the resource of the OAuth tenant's access tokens, and the claim
// that says whose they are.
const apiAudience = "https://hub.docker.com"

// checkedFor is how long a secret made by a device login is handed out before
// the registry is asked about it again: one in use is renewed when two fifths of
// that have passed, so every ten minutes, as for other long-lived secrets.
const checkedFor = 25 * time.Minute

// uncheckedFor is the same where the registry did not answer.
const uncheckedFor = 5 * time.Minute

// oauth is the docker command's application at Docker's OAuth tenant (docker/cli
// internal/oauth).
func (s *source) oauth(h providers.Host) oauth.Client {
	return oauth.Client{
		HTTP: s.http, Host: h, Product: "Docker Hub", ClientID: s.plan.ClientID,
		DeviceURL: s.plan.login + "/oauth/device/code", TokenURL: s.plan.login + "/oauth/token",
		Scope: "openid offline_access", Extra: url.Values{"audience": {apiAudience}}, Now: s.deps.Now, Pause: s.pause,
	}
}

// device hands out the personal access token that was made with the login: the
// registry takes no OAuth tokens. Where it was deleted meanwhile, another is made
// with the login's own tokens, by one process at a time: Docker Hub keeps a few
// such tokens of a person and deletes the oldest.
func (s *source) device(ctx context.Context, h providers.Host, p oauth.Pair) (providers.Credential, error) {
	c := s.made(p)
	if p.Made != "" {
		err := s.check(ctx, h, c)
		if err != nil { // a registry that does not answer says nothing against it
			c.ExpiresAt = c.IssuedAt.Add(uncheckedFor)
		}
		if providers.KindOf(err) != providers.LoginRequired {
			return c, nil
		}
	}
	client, dead := s.oauth(h), p.Made
	p, err := client.Fresh(ctx, s.deps, s.account.Password, time.Minute)
	if err != nil {
		return providers.Credential{}, err
	}
	made, err := s.remake(ctx, h, dead)
	if providers.KindOf(err) == providers.LoginRequired {
		// The access token was ended before its time: the refresh token may live.
		if _, err = client.Renew(ctx, s.deps, s.account.Password, p.Access); err == nil {
			made, err = s.remake(ctx, h, dead)
		}
	}
	if err != nil {
		return providers.Credential{}, err
	}
	return s.made(made), nil
}

// remake puts another token in the place of dead, unless another process did
// meanwhile.
func (s *source) remake(ctx context.Context, h providers.Host, dead string) (oauth.Pair, error) {
	return s.oauth(h).Update(ctx, s.deps, s.account.Password, func(p *oauth.Pair) error {
		if p.Made != dead {
			return nil
		}
		token, err := s.generate(ctx, h, providers.NewSecret(p.Access))
		if err != nil {
			return err
		}
		p.Made = token.Reveal()
		return nil
	})
}

// checkLimit leaves time for a client whose registry hangs.
const checkLimit = 4 * time.Second

func (s *source) check(ctx context.Context, h providers.Host, c providers.Credential) error {
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	return registryauth.Verify(ctx, s.registry(h), c, nil)
}

// stored is the kept login. A person who later logged in there with a user name
// and a password has one of that kind.
func (s *source) stored(ctx context.Context, h providers.Host) (oauth.Pair, kind, error) {
	again := "run: regmint login " + h.String()
	if s.account.Password.IsZero() {
		return oauth.Pair{}, byDevice, s.fail(h, providers.LoginRequired, again, errors.New("nobody has logged in to Docker Hub yet"))
	}
	secret, err := httpx.Resolve(ctx, s.deps, h, s.account.Password)
	if err != nil {
		return oauth.Pair{}, byDevice, err
	}
	p, ok := oauth.ParsePair(secret)
	switch {
	case !ok && s.account.Username != "" && secret.Reveal()[0] != '{':
		return p, byPassword, nil
	case !ok || p.User == "":
		err = s.fail(h, providers.Misconfigured, again, errors.New(s.account.Password.String()+" holds no device login to Docker Hub"))
	case p.Issuer != s.plan.login+"/oauth/token" || p.ClientID != s.plan.ClientID:
		err = s.fail(h, providers.Misconfigured, again, errors.New(s.account.Password.String()+" is a login of another server or application"))
	}
	return p, byDevice, err
}

// who is how the account is somebody, and its kept login where it has one.
func (s *source) who(ctx context.Context, h providers.Host) (oauth.Pair, kind, error) {
	if s.plan.kind == byDevice {
		return s.stored(ctx, h)
	}
	return oauth.Pair{}, s.plan.kind, nil
}

func (s *source) made(p oauth.Pair) providers.Credential {
	now := s.deps.Now()
	return providers.Credential{
		Username: p.User, Secret: providers.NewSecret(p.Made), IssuedAt: now, ExpiresAt: now.Add(checkedFor),
		Origin: "device login of " + httpx.Printable(p.User, 100),
	}
}

// generate makes a personal access token for the person of an OAuth token:
// POST /v2/access-tokens/desktop-generate without a body answers 201
// {"data":{"token":"dckr_pat_…"}}. It is not repeated: each call makes one.
func (s *source) generate(ctx context.Context, h providers.Host, access providers.Secret) (providers.Secret, error) {
	res, err := s.http.Do(ctx, httpx.Request{
		Host: h, What: "access token", Method: http.MethodPost, URL: s.plan.api + "/v2/access-tokens/desktop-generate", SameOrigin: true,
		Header: http.Header{"Authorization": {"Bearer " + access.Reveal()}, "Accept": {"application/json"}}, Secrets: []providers.Secret{access},
	})
	if err != nil {
		return providers.Secret{}, s.refusedAPI(res, err)
	}
	v, err := httpx.ParseJSON(res.Body)
	m, _ := v.(map[string]any)
	data, _ := m["data"].(map[string]any)
	token, _ := data["token"].(string)
	if err != nil || !sendable(token) {
		return providers.Secret{}, s.noToken(h, "access token", res.Body, err, access)
	}
	return providers.NewSecret(token), nil
}

// personOf reads the user name of an access token. Nothing is verified, as the
// token came from its issuer.
func personOf(access providers.Secret) (string, bool) {
	claims, _ := httpx.JWTClaims(access.Reveal())
	m, _ := claims[apiAudience].(map[string]any)
	name, _ := m["username"].(string)
	return name, isName(name)
}
