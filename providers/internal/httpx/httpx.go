// SPDX-License-Identifier: Apache-2.0

// Package httpx is the one way providers speak HTTP: per-account trust and
// proxy, time limits, capped bodies, bounded retries, redirects that never
// carry a credential to another origin, and errors made for people.
package httpx

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/regmint/regmint/providers"
)

// MaxBody is the cap of an answer's body after decompression, in bytes.
const MaxBody = 1 << 20

// The limits of one call. A try ends after tryTimeout even where the caller's
// context allows more, so that one dead peer cannot eat the whole deadline of
// a mint.
const (
	maxTries    = 3
	maxWait     = 8 * time.Second // sum of all waits between tries
	maxAfter    = 60 * time.Second
	maxHops     = 5
	dialTimeout = 5 * time.Second
	tlsTimeout  = 5 * time.Second
	tryTimeout  = 10 * time.Second
	skewAllowed = 5 * time.Minute
	maxErrBody  = 64 << 10
)

// Config says whose requests a Client makes. Nothing is shared between
// accounts: not the trusted authorities, not the proxy, not the connections.
type Config struct {
	Account providers.Account
	Network providers.Network
	Log     *slog.Logger
	Now     func() time.Time
	// UserAgent is "regmint" unless set.
	UserAgent string
	// Resolver is the system's unless set.
	Resolver *net.Resolver
}

// ConfigOf is the Config of an account opened with d.
func ConfigOf(a providers.Account, d providers.Deps) Config {
	return Config{Account: a, Network: d.Network, Log: d.Log, Now: d.Now}
}

// Client is safe for concurrent use.
type Client struct {
	log       *slog.Logger
	now       func() time.Time
	userAgent string
	proxy     func(*url.URL) (*url.URL, error)
	build     builder
	direct    *http.Transport // never uses a proxy; carries the guard
	proxied   *http.Transport
	guard     *AddrPolicy
	skew      *atomic.Bool // set once the clock warning was given
	// send replaces the network in tests.
	send func(*http.Request) (*http.Response, error)
}

// New reads the account's CA file and settles the proxy: the account's own,
// else the agent's [network], else the process's proxy environment. Errors are
// *Error of kind Misconfigured. No network.
func New(c Config) (*Client, error) {
	pool, err := trust(c.Network.CAFile, c.Account.CAFile)
	if err != nil {
		return nil, err
	}
	proxy, err := proxyFunc(c.Account, c.Network)
	if err != nil {
		return nil, err
	}
	if c.UserAgent == "" {
		c.UserAgent = "regmint"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	b := builder{pool: pool, resolver: c.Resolver}
	return &Client{
		log: c.Log, now: c.Now, userAgent: c.UserAgent, proxy: proxy, build: b,
		direct: b.transport(nil, nil), proxied: b.transport(nil, proxy), skew: new(atomic.Bool),
	}, nil
}

// Request is one call to an upstream.
type Request struct {
	// Host is the registry the call is for; errors carry it.
	Host providers.Host
	// What names the call in errors: "token exchange".
	What   string
	Method string // GET unless set
	URL    string
	Header http.Header
	Body   []byte
	// Replay allows a POST to be sent again after a failure. GET, HEAD, PUT
	// and DELETE are always replayable.
	Replay bool
	// SameOrigin refuses every redirect to another scheme, host or port.
	// Without it such a redirect of a GET or HEAD is followed with none of
	// the request's own headers but Accept, under the address rules of a
	// guarded client.
	SameOrigin bool
	// Unauthorized is the kind a 401 gets; LoginRequired unless set.
	Unauthorized providers.Kind
	// Secrets are kept out of every error text, in all their encodings. The
	// values of Header are treated as such without being named.
	Secrets []providers.Secret
}

// Response is an answer read to its end.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
	URL    *url.URL   // after redirects
	Remote netip.Addr // peer of the first hop; the zero value behind a proxy
}

// HTTPClient is for vendor SDKs that bring their own retries: the same trust,
// proxy, limits and body cap; redirects to another origin are refused. Their
// errors must pass through Failure before a person sees them.
func (c *Client) HTTPClient() *http.Client {
	return &http.Client{Transport: sdkTransport{c}, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if err := checkHop(via[len(via)-1].URL, next.URL, len(via)); err != nil {
			return err
		}
		if !sameOrigin(via[0].URL, next.URL) {
			return &redirectError{to: next.URL, why: "to another origin"}
		}
		return nil
	}}
}

// Guarded is a Client that checks each address right before it is dialled, so
// that a name that changes its mind between two lookups gains nothing. Its
// connections are its own: close them with CloseIdle. Requests that go through
// a proxy are not checked.
func (c *Client) Guarded(p AddrPolicy) *Client {
	g := *c
	g.guard = &p
	g.direct = c.build.transport(p.Check, nil)
	return &g
}

// Proxied reports whether requests to u go through a proxy.
func (c *Client) Proxied(u *url.URL) bool {
	p, err := c.proxy(u)
	return err == nil && p != nil
}

// CloseIdle closes idle connections.
func (c *Client) CloseIdle() {
	c.direct.CloseIdleConnections()
	c.proxied.CloseIdleConnections()
}
