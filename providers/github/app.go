// SPDX-License-Identifier: Apache-2.0

package github

import (
	"cmp"
	"context"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// question is what an installation token is asked for.
type question struct {
	owners       []string // of the grants; none: not said
	repositories []string // "OWNER/NAME"; none: all
	level        string   // "read", "write"; "" = what the installation has
}

// question reads grants. A package is taken for one of the repository of its
// name: ghcr.io/acme/app/web belongs to acme/app.
func (s *appSource) question(grants []providers.Grant) question {
	var q question
	if len(grants) > 0 {
		q.level = "read"
	}
	all := false
	for _, g := range grants {
		if g.Access != providers.Pull {
			q.level = "write"
		}
		part := strings.Split(g.Repository, "/")
		if len(part) < 2 {
			all = true
			continue
		}
		q.owners = append(q.owners, part[0])
		q.repositories = append(q.repositories, part[0]+"/"+part[1])
	}
	if all {
		q.repositories = nil
	}
	slices.Sort(q.owners)
	slices.Sort(q.repositories)
	q.owners, q.repositories = slices.Compact(q.owners), slices.Compact(q.repositories)
	return q
}

// installation is an App in an account.
type installation struct {
	ID      int64  `json:"id"`
	AppSlug string `json:"app_slug"`
	Account struct {
		Login string `json:"login"`
	} `json:"account"`
	Permissions map[string]string `json:"permissions"`
	Suspended   *string           `json:"suspended_at"`
}

// installationToken mints.
func (s *appSource) installationToken(ctx context.Context, h providers.Host, at site, q question) (providers.Credential, error) {
	none := providers.Credential{}
	key, err := s.key(ctx, h)
	if err != nil {
		return none, err
	}
	c := appCall{s: s, host: h, at: at, key: key}
	in, err := c.find(ctx, q)
	if err != nil {
		return none, err
	}
	owner := httpx.Printable(in.Account.Login, 80)
	app := "app " + cmp.Or(httpx.Printable(in.AppSlug, 60), s.issuer()) + " on " + owner
	have := in.Permissions["packages"]
	switch {
	case in.Suspended != nil:
		return none, s.fail(h, providers.Denied, "", fmt.Errorf("%s is suspended", app))
	case have == "":
		return none, s.fail(h, providers.Denied, "give it Packages in the App's settings, and accept that on "+owner, fmt.Errorf("%s has no permission packages", app))
	case q.level == "write" && have == "read":
		return none, s.fail(h, providers.Denied, "", fmt.Errorf("%s has the permission packages: read, and write is asked for", app))
	case q.level == "" && have == "read":
		q.level = "read"
	case q.level == "":
		q.level = "write"
	}
	names, err := namesOf(q, in.Account.Login)
	if err != nil {
		return none, s.fail(h, providers.Denied, "", fmt.Errorf("%s: %w", app, err))
	}
	asked := s.deps.Now()
	t, wider, err := c.token(ctx, in.ID, q.level, names)
	if err != nil {
		return none, err
	}
	expires := asked.Add(t.life)
	if t.life <= 0 {
		return none, s.fail(h, providers.Unavailable, "", errors.New("GitHub answered a token that is expired already"))
	}
	return providers.Credential{
		Username: anyUser, Secret: t.secret, IssuedAt: asked, ExpiresAt: expires, Wider: wider,
		Origin: app + " (private images may be denied to it)",
	}, nil
}

// namesOf are the repositories without their owner.
func namesOf(q question, owner string) ([]string, error) {
	var out []string
	for _, r := range q.repositories {
		o, name, _ := strings.Cut(r, "/")
		if !strings.EqualFold(o, owner) {
			return nil, fmt.Errorf("%s is not of %s", httpx.Printable(r, 100), httpx.Printable(owner, 80))
		}
		out = append(out, name)
	}
	return out, nil
}

// issuer is the App in its JWT.
func (s *appSource) issuer() string { return cmp.Or(s.options.AppID, s.options.ClientID) }

// key reads the private key. Secrets of CI systems have its line ends as \n, or
// the whole in base64.
func (s *appSource) key(ctx context.Context, h providers.Host) (*rsa.PrivateKey, error) {
	d := s.deps
	d.Resolve = func(ctx context.Context, ref providers.SecretRef) (providers.Secret, error) {
		v, err := s.deps.Resolve(ctx, ref)
		return providers.NewSecret(strings.NewReplacer("\r", "", "\n", `\n`).Replace(v.Reveal())), err
	}
	v, err := httpx.Resolve(ctx, d, h, s.options.PrivateKey)
	if err != nil {
		return nil, err
	}
	text := v.Reveal()
	if !strings.Contains(text, "-----BEGIN") {
		if b, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(text, `\n`, "")); err == nil {
			text = string(b)
		}
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(strings.ReplaceAll(strings.Trim(text, `"' `), `\n`, "\n")))
	if err != nil { // its text could repeat the key
		return nil, s.fail(h, providers.Misconfigured, "", fmt.Errorf("%s holds no RSA private key in PEM", s.options.PrivateKey))
	}
	if err := s.remember(key); err != nil {
		return nil, s.fail(h, providers.Misconfigured, "", errors.New("the App's private key is of no use"))
	}
	return key, nil
}
