// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
)

// Do sends a request, at most three times, under ctx. A status of 300 and more
// that is no redirect to follow is an *Error wrapping a *StatusError, returned beside the Response; so is a
// failure to get an answer, wrapping a *TransportError (with a nil Response).
func (c *Client) Do(ctx context.Context, r Request) (*Response, error) {
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	u, err := parseURL(r.URL)
	if err != nil {
		return nil, c.configFailure(r, err)
	}
	start := time.Now()
	var waited time.Duration
	for try := 1; ; try++ {
		res, at, err := c.try(ctx, r, u)
		if err == nil && res.Status < 300 {
			return res, nil
		}
		fail := c.judge(ctx, r, at, res, err, time.Since(start))
		wait, again := c.next(ctx, r, fail, try, waited)
		if !again {
			return res, fail
		}
		c.log.Debug("trying again", "host", r.Host.String(), "what", r.What, "after", wait, "reason", fail.Err.Error())
		if !sleep(ctx, wait) {
			return res, fail
		}
		waited += wait
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// try is one attempt: up to six requests along redirects, one body. It also
// says which URL it was at.
func (c *Client) try(ctx context.Context, r Request, u *url.URL) (*Response, *url.URL, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	var peer netip.Addr
	hop := hopOf(r, u)
	for n := 1; ; n++ {
		res, addr, err := c.hop(ctx, hop, peer)
		if err != nil {
			return nil, hop.url, err
		}
		if n == 1 {
			peer = addr
		}
		next, err := hop.follow(res, n, r.SameOrigin)
		if err != nil {
			_ = res.Body.Close()
			return nil, hop.url, err
		}
		if next == nil {
			out, err := c.finish(res, hop.url, peer)
			return out, hop.url, err
		}
		_ = res.Body.Close()
		hop = next
	}
}

// hop sends one request of a chain and says who answered.
func (c *Client) hop(ctx context.Context, h *hop, first netip.Addr) (*http.Response, netip.Addr, error) {
	var addr netip.Addr
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		if ap, err := netip.ParseAddrPort(i.Conn.RemoteAddr().String()); err == nil {
			addr = ap.Addr().Unmap()
		}
	}}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), h.method, h.url.String(), body(h.body))
	if err != nil {
		return nil, addr, &configError{"the request cannot be built"}
	}
	for k, v := range h.header {
		req.Header[http.CanonicalHeaderKey(k)] = v
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", c.userAgent)
	}
	to := c
	if h.foreign && c.guard == nil {
		// A redirect to elsewhere is the word of the first peer: it leads to
		// no address that the first peer is not like.
		to = c.Guarded(PolicyLike(first))
		to.direct.DisableKeepAlives = true // one request, and nobody to close the pool
	}
	res, err := to.roundTrip(req)
	if c.Proxied(h.url) {
		addr = netip.Addr{}
	}
	return res, addr, err
}

func body(b []byte) io.Reader {
	if b == nil {
		return nil
	}
	return bytes.NewReader(b)
}

// roundTrip picks the connection pool. The guard belongs to the direct one.
func (c *Client) roundTrip(req *http.Request) (*http.Response, error) {
	if c.send != nil {
		return c.send(req)
	}
	p, err := c.proxy(req.URL)
	if err != nil {
		return nil, err
	}
	if p != nil {
		return c.proxied.RoundTrip(req)
	}
	return c.direct.RoundTrip(req)
}

// finish reads the body and looks at the clock. A failed status stands even
// where its body does not arrive.
func (c *Client) finish(res *http.Response, u *url.URL, peer netip.Addr) (*Response, error) {
	defer func() { _ = res.Body.Close() }()
	c.checkClock(res)
	out := &Response{Status: res.StatusCode, Header: res.Header, URL: u, Remote: peer}
	if res.StatusCode >= 300 {
		out.Body, _ = io.ReadAll(io.LimitReader(res.Body, maxErrBody))
		return out, nil
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, MaxBody+1))
	if len(b) > MaxBody {
		return nil, errTooLarge
	}
	if err != nil {
		return nil, err
	}
	out.Body = b
	return out, nil
}

// checkClock warns once where the server's clock and ours differ by more than
// five minutes: signed and dated tokens fail in odd ways then.
func (c *Client) checkClock(res *http.Response) {
	d, err := http.ParseTime(res.Header.Get("Date"))
	if err != nil {
		return
	}
	diff := c.now().Sub(d)
	if diff.Abs() <= skewAllowed || c.skew.Swap(true) {
		return
	}
	c.log.Warn("the clock differs from a server's; check the time of this machine", "by", diff.Abs().Round(time.Minute).String(), "server", Printable(res.Request.URL.Host, 100))
}

// hop is one request of a redirect chain.
type hop struct {
	method  string
	url     *url.URL
	header  http.Header
	body    []byte
	origin  *url.URL
	foreign bool // the chain has left the origin: nothing of the request's own goes along
}

func hopOf(r Request, u *url.URL) *hop {
	return &hop{method: r.Method, url: u, header: r.Header, body: r.Body, origin: u}
}

// redirectError is a redirect that is not followed.
type redirectError struct {
	to  *url.URL
	why string
}

func (e *redirectError) Error() string {
	if e.to == nil {
		return "redirect " + e.why + " refused"
	}
	return "redirect " + e.why + " (" + Printable(e.to.Scheme+"://"+e.to.Host, 100) + ") refused"
}

// follow returns the next hop, nil where the answer is the last. A chain that
// left the origin gets its credentials not even back at the origin: what it
// asks for there was chosen by somebody else.
func (h *hop) follow(res *http.Response, n int, sameOnly bool) (*hop, error) {
	switch res.StatusCode {
	case 301, 302, 303, 307, 308:
	default:
		return nil, nil
	}
	loc := res.Header.Get("Location")
	if loc == "" {
		return nil, &redirectError{why: "without a target"}
	}
	to, err := h.url.Parse(loc)
	if err != nil || to.Host == "" {
		return nil, &redirectError{why: "to an invalid URL"}
	}
	if err := checkHop(h.url, to, n); err != nil {
		return nil, err
	}
	next := &hop{method: h.method, url: to, header: h.header, body: h.body, origin: h.origin, foreign: h.foreign}
	if res.StatusCode <= 303 && h.method != http.MethodGet && h.method != http.MethodHead {
		next.method, next.body = http.MethodGet, nil
	}
	if !next.foreign && sameOrigin(h.origin, to) {
		return next, nil
	}
	if sameOnly || (h.method != http.MethodGet && h.method != http.MethodHead) {
		return nil, &redirectError{to: to, why: "to another origin"}
	}
	next.foreign, next.header = true, http.Header{}
	if a := h.header.Values("Accept"); len(a) > 0 {
		next.header["Accept"] = a
	}
	return next, nil
}

// checkHop holds for every redirect.
func checkHop(from, to *url.URL, n int) error {
	switch {
	case n > maxHops:
		return &redirectError{why: "number 6"}
	case to.Scheme != "https" && to.Scheme != "http":
		return &redirectError{to: to, why: "to another scheme"}
	case from.Scheme == "https" && to.Scheme == "http":
		return &redirectError{to: to, why: "from https to http"}
	case to.User != nil:
		return &redirectError{to: to, why: "with a user name"}
	}
	return nil
}

// parseURL accepts absolute http and https URLs without userinfo.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil, u.Host == "", u.Hostname() == "", u.Opaque != "":
		return nil, &configError{"not a valid URL"}
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, &configError{"not an http or https URL"}
	case u.User != nil:
		return nil, &configError{"a URL must not hold a user name or password"}
	case strings.ContainsFunc(u.Host, func(r rune) bool { return r <= 0x20 || r >= 0x7f }):
		return nil, &configError{"not a valid URL"}
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// replayable says whether a request may be sent twice.
func (r Request) replayable() bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions:
		return true
	}
	return r.Replay
}

func (c *Client) configFailure(r Request, err error) *providers.Error {
	return &providers.Error{Kind: providers.Misconfigured, Host: r.Host, Err: &TransportError{What: r.What, Reason: err.Error()}}
}
