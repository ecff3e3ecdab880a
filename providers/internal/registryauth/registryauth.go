// SPDX-License-Identifier: Apache-2.0

// Package registryauth speaks the registry's side of authentication: the
// challenge of GET /v2/, the rule which realm may see a credential, the token
// exchange, and the question whether a registry accepts a credential.
//
// Wire facts: the distribution specification's auth/token.md (GET form) and
// auth/oauth.md (POST form), RFC 7235 (challenges).
package registryauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// TokenUser is the user name docker stores beside an identity (refresh) token.
const TokenUser = "<token>"

// Config describes one registry as an account sees it.
type Config struct {
	HTTP *httpx.Client
	Host providers.Host
	// Account gives plain_http and realm_hosts.
	Account providers.Account
	// Realms are further hosts the provider knows as token servers of Host.
	Realms []providers.Host
	// Now is time.Now unless set.
	Now func() time.Time
}

// hubRegistry and hubRealm are Docker Hub's registry and token server.
const (
	hubRegistry = "registry-1.docker.io"
	hubRealm    = "auth.docker.io"
)

// Registry is a registry that was asked how it authenticates.
type Registry struct {
	cfg  Config
	base string // "https://reg.example.com", no slash
	// Challenge is what GET /v2/ answered; the zero value for a registry that
	// lets everybody in there.
	Challenge Challenge
	plain     bool       // reached by http
	peer      netip.Addr // zero behind a proxy
}

// Probe asks GET /v2/ without a credential. A loopback registry that does not
// speak TLS is asked again by http, as docker does. Errors are *Error:
// Misconfigured where this is no registry v2 API, Unavailable where it cannot
// be reached.
func Probe(ctx context.Context, cfg Config) (*Registry, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	name := cfg.Host.String()
	if cfg.Host == providers.DockerHub {
		name = hubRegistry
		hub, err := providers.ParseHost(hubRealm)
		if err != nil {
			return nil, &providers.Error{Kind: providers.Misconfigured, Host: cfg.Host, Err: err}
		}
		cfg.Realms = append(cfg.Realms[:len(cfg.Realms):len(cfg.Realms)], hub)
	}
	if cfg.Account.PlainHTTP && !cfg.Host.IsLoopback() {
		return probe(ctx, cfg, "http://"+name)
	}
	r, err := probe(ctx, cfg, "https://"+name)
	if err != nil && cfg.Host.IsLoopback() && errors.Is(err, httpx.ErrNotTLS) {
		return probe(ctx, cfg, "http://"+name)
	}
	return r, err
}

func probe(ctx context.Context, cfg Config, base string) (*Registry, error) {
	r := &Registry{cfg: cfg, base: base, plain: strings.HasPrefix(base, "http:")}
	res, err := r.get(ctx, "/v2/", nil, providers.LoginRequired)
	if res == nil {
		return nil, err
	}
	r.peer = res.Remote
	switch {
	case res.Status == http.StatusUnauthorized:
		r.Challenge, err = r.pick(res.Header.Values("WWW-Authenticate"))
		return r, err
	case err == nil && !isPage(res):
		return r, nil
	case err == nil || providers.KindOf(err) == providers.Misconfigured:
		e := r.fail(providers.Misconfigured, fmt.Errorf("not a registry v2 API: HTTP %d at %s", res.Status, httpx.CleanURL(res.URL)))
		if r.plain && res.Status == http.StatusBadRequest { // what TLS servers answer to plain requests
			e.Hint = "if the registry speaks https, remove plain_http"
		}
		return nil, e
	case providers.KindOf(err) == providers.Denied: // nobody has logged in yet: this speaks of no credential
		cause := error(fmt.Errorf("HTTP 403 at %s", httpx.CleanURL(res.URL)))
		if se, ok := errors.AsType[*httpx.StatusError](err); ok { // a firewall says whom it keeps out
			cause = se
		}
		return nil, r.fail(providers.Unavailable, fmt.Errorf("before any login: %w", cause))
	}
	return nil, err
}

// isPage reports a web page where an API should be.
func isPage(res *httpx.Response) bool {
	return strings.HasPrefix(res.Header.Get("Content-Type"), "text/html")
}

func (r *Registry) pick(values []string) (Challenge, error) {
	cs, perr := ParseChallenges(values)
	if c, ok := Usable(cs); ok {
		return c, nil
	}
	text := "the registry asks for a login but names no way to do it"
	if len(cs) > 0 {
		text = "the registry asks for a login of a kind that is not known here: " + schemes(cs)
	}
	if perr != nil {
		text += " (" + perr.Error() + ")"
	}
	return Challenge{}, r.fail(providers.Misconfigured, errors.New(text))
}

func schemes(cs []Challenge) string {
	var names []string
	for _, c := range cs {
		names = append(names, httpx.Printable(c.Scheme, 20))
	}
	return httpx.Printable(strings.Join(names, ", "), 100)
}

func (r *Registry) fail(k providers.Kind, err error) *providers.Error {
	return &providers.Error{Kind: k, Host: r.cfg.Host, Err: err}
}

// get asks the registry itself. unauthorized is the kind a 401 gets.
func (r *Registry) get(ctx context.Context, path string, h http.Header, unauthorized providers.Kind) (*httpx.Response, error) {
	what := "login check"
	if h == nil {
		what = "" // nobody logs in yet: "HOST: connection refused" says it all
	}
	return r.cfg.HTTP.Do(ctx, httpx.Request{Host: r.cfg.Host, What: what, URL: r.base + path, Header: h, SameOrigin: true, Unauthorized: unauthorized})
}
