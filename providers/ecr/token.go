// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// token is an authorization token of ECR, taken apart.
type token struct {
	password providers.Secret
	expires  time.Time
	// account is whose registry the answer names: the caller's own.
	account string
}

// authorize asks for a token. The region is the host's, whatever a profile
// says: a token opens the registries of one region.
func (c *call) authorize(ctx context.Context, s session) (token, error) {
	o := op{name: "ecr:GetAuthorizationToken", sess: s}
	target, service := "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken", "ecr"
	if c.place.public {
		o.name, target, service = "ecr-public:GetAuthorizationToken", "SpencerFrontendService.GetAuthorizationToken", "ecr-public"
	}
	body, skew, err := c.ask(ctx, o, target, service)
	if err != nil {
		return token{}, err
	}
	// ECR answers a list, ECR Public one object.
	var v struct{ AuthorizationData json.RawMessage }
	d := make([]authorization, 1)
	if err = json.Unmarshal(body, &v); err == nil && len(v.AuthorizationData) > 0 && string(v.AuthorizationData) != "null" {
		if c.place.public {
			err = json.Unmarshal(v.AuthorizationData, &d[0])
		} else {
			err = json.Unmarshal(v.AuthorizationData, &d)
		}
	} else {
		d = nil
	}
	switch {
	case err != nil:
		return token{}, c.unusable(o, errors.New("the answer is not what AWS sends (HTTP 200)"))
	case len(d) == 0:
		return token{}, c.unusable(o, errors.New("the answer holds no authorization data"))
	}
	t, err := c.take(o, d[0], skew)
	if err == nil && !c.place.public {
		if t.account, err = c.proxied(d[0].ProxyEndpoint); err != nil {
			err = c.unusable(o, err)
		}
	}
	return t, err
}

// authorization is AuthorizationData of ECR's API; ExpiresAt is in seconds of
// Unix time with a fraction.
type authorization struct {
	AuthorizationToken string
	ExpiresAt          float64
	ProxyEndpoint      string
}

// unusable is a success that holds no token.
func (c *call) unusable(o op, err error) *providers.Error {
	return c.fail(providers.Unavailable, "", fmt.Errorf("%s: %w", o.name, err))
}

// take reads base64("AWS:" + password).
// skew is how far AWS's clock is ahead of this machine's.
func (c *call) take(o op, d authorization, skew time.Duration) (token, error) {
	raw, err := base64.StdEncoding.DecodeString(d.AuthorizationToken)
	user, password, found := strings.Cut(string(raw), ":")
	switch {
	case d.AuthorizationToken == "":
		return token{}, c.unusable(o, errors.New("the answer holds no token"))
	case err != nil:
		return token{}, c.unusable(o, errors.New("the token is no base64 text"))
	case !found || user != userName:
		return token{}, c.unusable(o, errors.New("the token is not made of "+userName+" and a password"))
	case password == "":
		return token{}, c.unusable(o, errors.New("the token holds no password"))
	case httpx.HasBreak(password):
		return token{}, c.unusable(o, errors.New("the token holds a line break or a NUL byte"))
	case d.ExpiresAt <= 0 || d.ExpiresAt > 1e11:
		return token{}, c.unusable(o, errors.New("the answer does not say how long the token lives"))
	}
	t := token{password: providers.NewSecret(password), expires: time.UnixMilli(int64(d.ExpiresAt * 1000)).Add(-skew)}
	now := c.deps.Now()
	if !t.expires.After(now) {
		return token{}, c.unusable(o, fmt.Errorf("the answer is a token that expired at %s already", clock(t.expires)))
	}
	if limit := now.Add(tokenLife + time.Hour); t.expires.After(limit) {
		t.expires = limit
	}
	return t, nil
}

// proxied reads the registry that an answer names: the caller's own one in the
// region that was asked, under its classic name. It is not the registry the
// token is for: a token opens those of other accounts too, where they allow it.
func (c *call) proxied(endpoint string) (account string, err error) {
	if endpoint == "" || c.account.Endpoint != "" {
		return "", nil // a stand-in for ECR has names of its own
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "https" {
		return "", errors.New("the answer names a registry that is none of ECR")
	}
	h, err := providers.ParseHost(u.Host)
	if err != nil {
		return "", errors.New("the answer names a registry that is none of ECR")
	}
	p, ok := placeOf(h)
	switch {
	case !ok || p.public:
		return "", fmt.Errorf("the answer is for %s, no registry of ECR", h)
	case p.region != c.place.region:
		return "", fmt.Errorf("the answer is for the region %s, not %s", p.region, c.place.region)
	}
	return p.account, nil
}
