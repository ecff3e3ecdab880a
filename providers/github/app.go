// SPDX-License-Identifier: Apache-2.0

package github

import (
	"cmp"
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// The times of an App's JWT: GitHub allows ten minutes and no clock that is
// ahead.
const (
	jwtBack = time.Minute
	jwtLife = 9 * time.Minute
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
func (s *source) issuer() string { return cmp.Or(s.options.AppID, s.options.ClientID) }

// key reads the private key. Secrets of CI systems have its line ends as \n, or
// the whole in base64.
func (s *source) key(ctx context.Context, h providers.Host) (*rsa.PrivateKey, error) {
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
	return key, nil
}

// appCall asks the API as the App.
type appCall struct {
	s    *appSource
	host providers.Host
	at   site
	key  *rsa.PrivateKey
}

// do signs for now; where GitHub says that the JWT's times are wrong, once more
// by GitHub's own clock.
func (c appCall) do(ctx context.Context, method, path string, body []byte) (*httpx.Response, error) {
	now := c.s.deps.Now()
	for try := 0; ; try++ {
		text, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
			"iat": now.Add(-jwtBack).Unix(), "exp": now.Add(jwtLife - jwtBack).Unix(), "iss": c.s.issuer(),
		}).SignedString(c.key)
		if err != nil {
			return nil, c.s.fail(c.host, providers.Misconfigured, "", errors.New("the App's private key cannot sign"))
		}
		res, err := c.s.call(ctx, c.host, method, c.at.api+path, providers.NewSecret(text), body)
		if res == nil || res.Status != http.StatusUnauthorized {
			return res, c.word(res, err)
		}
		date, derr := http.ParseTime(res.Header.Get("Date"))
		if try > 0 || derr != nil || !aboutTime(err) {
			return res, c.word(res, err)
		}
		now = date
	}
}

func aboutTime(err error) bool {
	se, ok := errors.AsType[*httpx.StatusError](err)
	return ok && (strings.Contains(se.Message, "'exp'") || strings.Contains(se.Message, "'iat'"))
}

// word says what a refusal means for an App.
func (c appCall) word(res *httpx.Response, err error) error {
	e, ok := errors.AsType[*providers.Error](err)
	if !ok || res == nil {
		return err
	}
	out := *e
	switch {
	case res.Status == http.StatusUnauthorized && aboutTime(err):
		out.Kind, out.Hint = providers.Unavailable, "check the time of this machine"
	case res.Status == http.StatusUnauthorized:
		out.Kind, out.Hint = providers.Misconfigured, "is private_key that of the App?"
	case res.Status == http.StatusNotFound:
		out.Kind, out.Hint = providers.Misconfigured, "is the App installed there, and app_id its own?"
	}
	return &out
}

// find looks for the installation.
func (c appCall) find(ctx context.Context, q question) (installation, error) {
	o := c.s.options
	path := ""
	owner, repo, two := strings.Cut(o.Installation, "/")
	switch {
	case o.InstallationID != "":
		path = "/app/installations/" + o.InstallationID
	case two:
		path = "/repos/" + url.PathEscape(owner) + "/" + url.PathEscape(repo) + "/installation"
	case owner != "":
		path = "/users/" + url.PathEscape(owner) + "/installation" // for organisations too
	case len(q.owners) == 1:
		path = "/users/" + url.PathEscape(q.owners[0]) + "/installation"
	default:
		return c.only(ctx)
	}
	res, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return installation{}, err
	}
	var in installation
	if json.Unmarshal(res.Body, &in) != nil || in.ID == 0 || in.Account.Login == "" {
		return in, c.odd("an installation")
	}
	return in, nil
}

func (c appCall) odd(what string) error {
	return c.s.fail(c.host, providers.Unavailable, "", errors.New("GitHub's answer is not "+what))
}

// only is the installation of an App that has one.
func (c appCall) only(ctx context.Context) (installation, error) {
	res, err := c.do(ctx, http.MethodGet, "/app/installations?per_page=100", nil)
	if err != nil {
		return installation{}, err
	}
	var list []installation
	if json.Unmarshal(res.Body, &list) != nil {
		return installation{}, c.odd("a list of installations")
	}
	switch {
	case len(list) == 0:
		return installation{}, c.s.fail(c.host, providers.Misconfigured, "install it", errors.New("the App is installed nowhere"))
	case len(list) > 1:
		names := make([]string, 0, 3)
		for _, in := range list[:min(3, len(list))] {
			names = append(names, httpx.Printable(in.Account.Login, 40))
		}
		return installation{}, c.s.fail(c.host, providers.Misconfigured, "set installation", fmt.Errorf("the App is installed on several accounts (%s)", strings.Join(names, ", ")))
	case list[0].ID == 0 || list[0].Account.Login == "":
		return installation{}, c.odd("a list of installations")
	}
	return list[0], nil
}
