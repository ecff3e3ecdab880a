// SPDX-License-Identifier: Apache-2.0

package dockerhub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/registryauth"
)

// apiLife is the life of an API token made with a password or a token, unless
// it says otherwise itself.
const apiLife = 10 * time.Minute

// werfVariable is how werf takes a token of the API.
const werfVariable = "WERF_REPO_DOCKER_HUB_TOKEN"

// sort is what a secret is.
type sort int

const (
	password sort = iota
	personalToken
	organisationToken
)

// sortOf tells by the secret's form. Personal access tokens made before 2020 are
// UUIDs.
func sortOf(s providers.Secret) sort {
	switch v := s.Reveal(); {
	case strings.HasPrefix(v, "dckr_oat_"):
		return organisationToken
	case strings.HasPrefix(v, "dckr_pat_"), isUUID(v):
		return personalToken
	}
	return password
}

func (s sort) String() string {
	return [...]string{"saved login", "personal access token", "organisation access token"}[s]
}

// CheckNative implements providers.NativeChecker: Docker Hub's API deletes
// nothing for tokens that come from a personal access token, and federated
// tokens are for registries alone.
func (s *source) CheckNative(ctx context.Context, r providers.Request) error {
	if err := s.owns(r.Host); err != nil {
		return err
	}
	_, k, err := s.who(ctx, r.Host)
	switch {
	case err != nil || k == byDevice:
		return err
	case k == byOIDC:
		return s.fail(r.Host, providers.Denied, "use an organisation access token there", errors.New("tokens of an OIDC connection are for the registry, not for Docker Hub's API"))
	case k != byPassword:
		return s.nobody(r.Host)
	}
	secret, err := httpx.Resolve(ctx, s.deps, r.Host, s.account.Password)
	if err == nil && sortOf(secret) == personalToken {
		return s.patRefused(r.Host)
	}
	return err
}

func (s *source) patRefused(h providers.Host) error {
	return s.fail(h, providers.Denied, "use an organisation access token or the password, or run: regmint login "+h.String(),
		errors.New("the API of Docker Hub deletes nothing for a personal access token"))
}

// MintNative implements providers.NativeMinter: a token of Docker Hub's API.
func (s *source) MintNative(ctx context.Context, r providers.Request) (providers.Native, error) {
	if err := s.CheckNative(ctx, r); err != nil {
		return providers.Native{}, err
	}
	c, err := s.apiCredential(ctx, r.Host)
	if err != nil {
		return providers.Native{}, err
	}
	if !c.ExpiresAt.After(s.deps.Now()) {
		return providers.Native{}, s.fail(r.Host, providers.Unavailable, "check the time of this machine", errors.New("the API's token is expired already"))
	}
	c.Wider = len(r.Grants) > 0 // it opens all that its owner has
	return providers.Native{Credential: c, Env: []providers.Variable{{Name: werfVariable, Value: c.Secret}}}, nil
}

func (s *source) apiCredential(ctx context.Context, h providers.Host) (providers.Credential, error) {
	now := s.deps.Now()
	_, k, err := s.who(ctx, h)
	if err != nil {
		return providers.Credential{}, err
	}
	if k == byDevice { // the login's own token is one of the API's
		p, err := s.oauth(h).Fresh(ctx, s.deps, s.account.Password, 0)
		if err != nil {
			return providers.Credential{}, err
		}
		c := providers.Credential{Username: p.User, Secret: providers.NewSecret(p.Access), IssuedAt: now, ExpiresAt: p.ExpiresAt, Origin: "device login of " + httpx.Printable(p.User, 100)}
		if c.ExpiresAt.IsZero() {
			c.ExpiresAt = now.Add(apiLife)
		}
		return c, nil
	}
	if s.account.Username == registryauth.TokenUser {
		return providers.Credential{}, s.fail(h, providers.Denied, "run: regmint login "+h.String(), errors.New("an identity token is for the registry, not for Docker Hub's API"))
	}
	secret, err := httpx.Resolve(ctx, s.deps, h, s.account.Password)
	if err != nil {
		return providers.Credential{}, err
	}
	token, err := s.apiToken(ctx, h, secret)
	return providers.Credential{
		Username: s.account.Username, Secret: token.secret, IssuedAt: now, ExpiresAt: token.ends(now, apiLife),
		Origin: "Docker Hub API as " + httpx.Printable(s.account.Username, 100) + ", by " + sortOf(secret).String(),
	}, err
}

// apiToken is POST /v2/auth/token. A password that it refuses is shown to the
// older /v2/users/login once, which alone tells a second factor from a mistake.
func (s *source) apiToken(ctx context.Context, h providers.Host, secret providers.Secret) (answer, error) {
	user := s.account.Username
	res, err := s.call(ctx, h, "/v2/auth/token", map[string]string{"identifier": user, "secret": secret.Reveal()}, secret)
	if err == nil {
		return s.tokenIn(h, res, "access_token", secret)
	}
	refused := res != nil && res.Status == http.StatusUnauthorized
	if !refused || sortOf(secret) != password {
		return answer{}, s.refusedAPI(res, err)
	}
	res, err = s.call(ctx, h, "/v2/users/login", map[string]string{"username": user, "password": secret.Reveal()}, secret)
	if err == nil {
		return s.tokenIn(h, res, "token", secret)
	}
	if res == nil || res.Status != http.StatusUnauthorized {
		return answer{}, s.refusedAPI(res, err)
	}
	v, _ := httpx.ParseJSON(res.Body)
	m, _ := v.(map[string]any)
	if half, _ := m["login_2fa_token"].(string); sendable(half) {
		return s.secondFactor(ctx, h, providers.NewSecret(half))
	}
	return answer{}, s.refusedAPI(res, err)
}

// secondFactor is POST /v2/users/2fa-login.
func (s *source) secondFactor(ctx context.Context, h providers.Host, half providers.Secret) (answer, error) {
	if s.plan.TwoFactorCode.IsZero() {
		return answer{}, s.fail(h, providers.LoginRequired, "use an organisation access token, set two_factor_code, or run: regmint login "+h.String(),
			fmt.Errorf("%s has two-factor authentication", httpx.Printable(s.account.Username, 60)))
	}
	code, err := httpx.Resolve(ctx, s.deps, h, s.plan.TwoFactorCode)
	if err != nil {
		return answer{}, err
	}
	res, err := s.call(ctx, h, "/v2/users/2fa-login", map[string]string{"login_2fa_token": half.Reveal(), "code": strings.TrimSpace(code.Reveal())}, half, code)
	if err != nil {
		if res != nil && res.Status == http.StatusUnauthorized {
			return answer{}, s.fail(h, providers.LoginRequired, "see what "+s.plan.TwoFactorCode.String()+" gives", errors.New("the code of two-factor authentication is refused"))
		}
		return answer{}, s.refusedAPI(res, err)
	}
	return s.tokenIn(h, res, "token", half, code)
}

// call posts JSON to the API. A repeated login makes one more token, no harm.
func (s *source) call(ctx context.Context, h providers.Host, path string, body map[string]string, secrets ...providers.Secret) (*httpx.Response, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, s.fail(h, providers.Misconfigured, "", errors.New("a name or secret that JSON cannot hold"))
	}
	return s.http.Do(ctx, httpx.Request{
		Host: h, What: "Docker Hub API", Method: http.MethodPost, URL: s.plan.api + path, SameOrigin: true, Body: b, Secrets: secrets,
		Header: http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}},
	})
}

func (s *source) tokenIn(h providers.Host, res *httpx.Response, key string, secrets ...providers.Secret) (answer, error) {
	v, err := httpx.ParseJSON(res.Body)
	m, _ := v.(map[string]any)
	token, _ := m[key].(string)
	if err != nil || !sendable(token) {
		return answer{}, s.noToken(h, "the API of Docker Hub", res.Body, err, secrets...)
	}
	return answer{providers.NewSecret(token), res.Header}, nil
}
