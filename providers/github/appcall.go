// SPDX-License-Identifier: Apache-2.0

package github

import (
	"cmp"
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
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

// appCall asks the API as the App.
type appCall struct {
	s    *appSource
	host providers.Host
	at   site
	key  *rsa.PrivateKey
}

// do signs for now; where GitHub says that the JWT's times are wrong, once more
// by GitHub's own clock, which counts from then on.
func (c appCall) do(ctx context.Context, method, path string, body []byte) (*httpx.Response, error) {
	now := c.s.deps.Now().Add(time.Duration(c.s.skew.Load()))
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
		c.s.skew.Store(int64(date.Sub(c.s.deps.Now())))
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
		out.Kind, out.Hint = providers.Misconfigured, "check app_id"
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
		return installation{}, c.nowhere(res, err, cmp.Or(o.InstallationID, o.Installation, strings.Join(q.owners, ", ")))
	}
	var in installation
	if json.Unmarshal(res.Body, &in) != nil || in.ID == 0 || in.Account.Login == "" {
		return in, c.odd("an installation")
	}
	return in, nil
}

// nowhere is an App that is not installed where it is looked for.
func (c appCall) nowhere(res *httpx.Response, err error, where string) error {
	se, ok := errors.AsType[*httpx.StatusError](err)
	if !ok || res == nil || res.Status != http.StatusNotFound || strings.Contains(se.Message, "Integration") {
		return err
	}
	return c.s.fail(c.host, providers.Misconfigured, "install it there, or check app_id", fmt.Errorf("the App %s is not installed on %s (HTTP 404)", c.s.issuer(), httpx.Printable(where, 80)))
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
