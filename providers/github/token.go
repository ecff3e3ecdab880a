// SPDX-License-Identifier: Apache-2.0

package github

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
	"github.com/regmint/regmint/providers/internal/oauth"
)

// How a token came here.
type means int

const (
	byPassword means = iota
	byJob
	byGH
	byDevice
	byApp
)

// login is a token and what is known of it.
type login struct {
	by      means
	secret  providers.Secret
	user    string
	expires time.Time // zero: not known
	origin  string
	scoped  bool // scopes are all that it has
	scopes  []string
	unheard error // why GitHub did not say whose it is
}

// has reports a scope.
func (l login) has(scope string) bool {
	return slices.Contains(l.scopes, scope) || scope == scopeRead && slices.Contains(l.scopes, scopeWrite)
}

// with are the scopes about packages of a token in its place that has one more.
func (l login) with(scope string) []string {
	write := scope == scopeWrite || l.has(scopeWrite)
	var out []string
	switch {
	case write:
		out = append(out, scopeWrite)
	default:
		out = append(out, scopeRead)
	}
	if scope == scopeDelete || l.has(scopeDelete) {
		out = append(out, scopeDelete)
	}
	return out
}

// login finds the account's token and asks GitHub whose it is.
func (s *source) login(ctx context.Context, h providers.Host, at site) (login, error) {
	l, err := s.found(ctx, h, at)
	if err != nil {
		return l, err
	}
	return s.ask(ctx, h, at, l)
}

// found is the account's token, unless it is certain not to do.
func (s *source) found(ctx context.Context, h providers.Host, at site) (login, error) {
	l, err := s.find(ctx, h, at)
	if err != nil {
		return l, err
	}
	if err = at.refuses(h, l.secret); l.by == byGH {
		if e, ok := errors.AsType[*providers.Error](err); ok {
			e.Hint = s.again(h, at, l)
		}
	}
	return l, err
}

// ask asks GitHub whose a token is.
func (s *source) ask(ctx context.Context, h providers.Host, at site, l login) (login, error) {
	text := l.secret.Reveal()
	if strings.HasPrefix(text, prefixInstallation) { // belongs to nobody: /user is not for it
		l.user = cmp.Or(l.user, anyUser)
		return l, nil
	}
	me, err := s.whoAmI(ctx, h, at, l)
	switch {
	case err == nil:
		s.facts.keep(l.secret, me)
		l.user = cmp.Or(s.account.Username, me.user, l.user, anyUser)
		l.tell(me)
	case providers.KindOf(err) == providers.LoginRequired:
		return l, err
	default: // the registry may do though the API does not
		s.deps.Log.Warn("GitHub did not say whose the token is", "err", err.Error())
		l.unheard = err
		l.user = cmp.Or(s.account.Username, l.user, anyUser)
	}
	return l, nil
}

// find gets the token.
func (s *source) find(ctx context.Context, h providers.Host, at site) (login, error) {
	switch {
	case s.account.Layer == providers.LayerAmbient:
		return s.job(h, at)
	case s.options.GH:
		return s.borrow(ctx, h, at)
	case s.account.Password.IsZero():
		hint := "run: regmint login " + h.String()
		if s.options.ClientID != "" {
			hint = "set password = \"keyring:" + h.String() + "\", then " + hint
		}
		return login{}, s.fail(h, providers.LoginRequired, hint, errors.New("no token is saved for this account"))
	}
	secret, err := httpx.Resolve(ctx, s.deps, h, s.account.Password)
	if err != nil {
		return login{}, err
	}
	p, ok := oauth.ParsePair(secret)
	if !ok {
		s.facts.read(secret)
		return login{by: byPassword, secret: secret, user: s.account.Username, origin: "token"}, nil
	}
	if p, err = s.fresh(ctx, h, at, p); err != nil {
		return login{}, err
	}
	return login{by: byDevice, secret: providers.NewSecret(p.Access), user: p.User, expires: p.ExpiresAt, origin: "device login"}, nil
}

// fresh is a device login that lives. A pair that lies where no new one can be
// kept is used to its end: a renewal kills it, here and wherever it was copied
// from.
func (s *source) fresh(ctx context.Context, h providers.Host, at site, p oauth.Pair) (oauth.Pair, error) {
	ref := s.account.Password
	if ref.Scheme == "keyring" {
		c := s.oauth(h, at)
		c.ClientID = cmp.Or(c.ClientID, p.ClientID)
		p, err := c.Fresh(ctx, s.deps, ref, 0)
		return p, s.explain(h, err)
	}
	switch {
	case p.Issuer != at.tokenURL():
		return p, s.fail(h, providers.Misconfigured, "", fmt.Errorf("%s is a login of another server", ref))
	case !p.Live(s.deps.Now(), 0):
		return p, s.fail(h, providers.LoginRequired, "set password = \"keyring:"+h.String()+"\", then run: regmint login "+h.String(), fmt.Errorf("the login in %s has expired, and cannot be renewed there", ref))
	}
	return p, nil
}

// job is the GITHUB_TOKEN of an Actions job. It is good for the registry of the
// server that runs the job, and outside of a job the variable may hold anything.
func (s *source) job(h providers.Host, at site) (login, error) {
	env := s.deps.Env
	nobody := func(format string, args ...any) (login, error) {
		return login{}, s.fail(h, providers.NoAccount, "run: regmint login "+h.String(), fmt.Errorf(format, args...))
	}
	if env[envActions] != "true" {
		return nobody("nobody is logged in to GitHub here")
	}
	server, err := serverOf(cmp.Or(env[envServer], "https://github.com"))
	if err != nil || server != at.web {
		return nobody("this job's GITHUB_TOKEN is of another GitHub: %s", httpx.Printable(cmp.Or(server, env[envServer]), 80))
	}
	token := env[envToken]
	switch {
	case token == "":
		e := s.fail(h, providers.NoAccount, "give the step env: GITHUB_TOKEN: ${{ github.token }}", errors.New("this step has no GITHUB_TOKEN"))
		return login{}, e
	case httpx.HasBreak(token):
		return login{}, s.fail(h, providers.Misconfigured, "", errors.New("GITHUB_TOKEN holds a line break or a NUL byte"))
	}
	user := env[envActor]
	if user == "" || strings.ContainsRune(user, ':') || httpx.HasBreak(user) {
		user = anyUser
	}
	return login{by: byJob, secret: providers.NewSecret(token), user: user, origin: "GITHUB_TOKEN of " + httpx.Printable(user, 60)}, nil
}

// person is what GET /user tells.
type person struct {
	user    string
	scopes  []string
	scoped  bool
	expires time.Time
}

// askLimit bounds the question whose a token is: the registry may do without.
const askLimit = 4 * time.Second

// whoAmI asks GET /user. X-OAuth-Scopes is there for classic tokens and those of
// OAuth apps, github-authentication-token-expiration where a token has an end.
func (s *source) whoAmI(ctx context.Context, h providers.Host, at site, l login) (person, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	res, err := s.call(ctx, h, http.MethodGet, at.api+"/user", l.secret, nil)
	if err != nil {
		if e, ok := errors.AsType[*providers.Error](err); ok && e.Kind == providers.LoginRequired {
			e.Hint, e.Err = s.again(h, at, l), fmt.Errorf("the %s is not valid any more (HTTP 401)", l.origin)
		}
		return person{}, err
	}
	v, err := httpx.ParseJSON(res.Body)
	m, ok := v.(map[string]any)
	name, _ := m["login"].(string)
	if err != nil || !ok || name == "" || strings.ContainsAny(name, ":\r\n\x00") {
		return person{}, s.fail(h, providers.Unavailable, "", errors.New("GitHub did not say whose the token is"))
	}
	p := person{user: httpx.Printable(name, 100)}
	if list, ok := res.Header["X-Oauth-Scopes"]; ok {
		p.scoped = true
		p.scopes = strings.FieldsFunc(strings.Join(list, ","), func(r rune) bool { return r == ',' || r == ' ' })
	}
	p.expires = expiration(res.Header.Get("Github-Authentication-Token-Expiration"))
	return p, nil
}

// expiration reads "2026-12-21 10:00:00 UTC" and "… +0100".
func expiration(text string) time.Time {
	for _, layout := range []string{"2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05 UTC"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// again is what a person does about a token that is over.
func (s *source) again(h providers.Host, at site, l login) string {
	switch l.by {
	case byGH:
		return "run: gh auth login -h " + at.web + " -s read:packages,write:packages"
	case byJob:
		return "its job is over, or GITHUB_TOKEN holds something else"
	case byApp:
		return "run: regmint refresh " + h.String()
	}
	if ref := s.account.Password; !ref.IsZero() && ref.Scheme != "keyring" { // where no login writes
		return "put a new token into " + ref.String()
	}
	return "run: regmint login " + h.String()
}

// oauth is the client of device logins.
func (s *source) oauth(h providers.Host, at site) oauth.Client {
	c := oauth.Client{
		HTTP: s.http, Host: h, Product: "GitHub", DeviceURL: at.deviceURL(), TokenURL: at.tokenURL(), ClientID: s.options.ClientID,
		Scope: strings.Join(s.options.scopes(), " "), Now: s.deps.Now, Pause: s.pause, Extra: url.Values{},
	}
	return c
}
