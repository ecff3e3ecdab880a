// SPDX-License-Identifier: Apache-2.0

// Package httpx is the one way providers speak HTTP: per-account trust and
// proxy, time limits, capped bodies, bounded retries, redirects that never
// carry a credential to another origin, and errors made for people.
package httpx

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/regmint/regmint/providers"
)

// MaxBody is the cap of an answer's body after decompression, in bytes.
const MaxBody = 1 << 20

// Config says whose requests a Client makes. Only Account is looked at for
// trust and proxy; nothing is shared between accounts.
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
type Client struct{ cfg Config }

// New reads the account's CA file and settles the proxy. Errors are *Error of
// kind Misconfigured. No network.
func New(c Config) (*Client, error) { return &Client{cfg: c}, nil }

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
	// the request's own headers but Accept.
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

// StatusError is the cause inside an *Error for an HTTP status that is no
// success.
type StatusError struct {
	What    string
	Status  int
	Code    string // error code of a recognised envelope, "" if none
	Message string // its message, printable, redacted, at most 200 bytes
	URL     string // without userinfo and query
}

// Error reads "token exchange: HTTP 403 at https://…: DENIED: message".
func (e *StatusError) Error() string { return e.What }

// Do sends a request, at most three times, under ctx. A status of 400 and more
// is an *Error wrapping a *StatusError, returned beside the Response; so is
// every failure to get an answer (with a nil Response).
func (c *Client) Do(ctx context.Context, r Request) (*Response, error) {
	return nil, errors.New("unwritten")
}

// HTTPClient is for vendor SDKs that bring their own retries: the same trust,
// proxy, limits and body cap; redirects to another origin are refused.
func (c *Client) HTTPClient() *http.Client { return nil }

// Guarded is a Client that checks each address right before it is dialled.
// Requests that go through a proxy are not checked.
func (c *Client) Guarded(p AddrPolicy) *Client { return c }

// Proxied reports whether requests to u go through a proxy.
func (c *Client) Proxied(u *url.URL) bool { return false }

// CloseIdle closes idle connections.
func (c *Client) CloseIdle() {}

// AddrPolicy says which addresses a guarded client may dial besides public
// ones. Link-local and metadata addresses never pass.
type AddrPolicy struct{ Loopback, Private bool }

// Printable shows control and other unprintable characters of s as escapes
// and cuts the text to max bytes.
func Printable(s string, max int) string { return s }

// ParseJSON decodes strictly: UTF-8, one value, no duplicate keys, at most 32
// levels; numbers are json.Number.
func ParseJSON(b []byte) (any, error) { return nil, errors.New("unwritten") }

// Resolve reads a secret reference; a failure is an *Error that names the
// reference and what to do, never the secret.
func Resolve(ctx context.Context, d providers.Deps, a providers.Account, h providers.Host, ref providers.SecretRef) (providers.Secret, error) {
	return providers.Secret{}, errors.New("unwritten")
}
