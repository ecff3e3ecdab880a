// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"syscall"

	"golang.org/x/net/http/httpproxy"

	"github.com/regmint/regmint/providers"
)

// builder makes transports of one account.
type builder struct {
	pool     *x509.CertPool // nil: the system's
	resolver *net.Resolver
}

// transport verifies certificates always; there is no switch to turn it off.
func (b builder) transport(check func(netip.Addr) error, proxy func(*url.URL) (*url.URL, error)) *http.Transport {
	d := &net.Dialer{Timeout: dialTimeout, Resolver: b.resolver}
	if check != nil {
		d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err != nil {
				return &AddrError{Reason: "is no address"}
			}
			return check(ap.Addr())
		}
	}
	t := &http.Transport{
		DialContext:            d.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: b.pool},
		TLSHandshakeTimeout:    tlsTimeout,
		ResponseHeaderTimeout:  tryTimeout,
		IdleConnTimeout:        3 * tryTimeout,
		MaxIdleConnsPerHost:    2,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
		OnProxyConnectResponse: proxyAnswer,
	}
	if proxy != nil {
		t.Proxy = func(r *http.Request) (*url.URL, error) { return proxy(r.URL) }
	}
	return t
}

// proxyError is a proxy's refusal to open a tunnel.
type proxyError struct {
	proxy  string // host:port
	status int
}

func (e *proxyError) Error() string { return fmt.Sprintf("proxy %s: HTTP %d", e.proxy, e.status) }

func proxyAnswer(_ context.Context, proxy *url.URL, _ *http.Request, res *http.Response) error {
	if res.StatusCode == http.StatusOK {
		return nil
	}
	return &proxyError{proxy: Printable(proxy.Host, 100), status: res.StatusCode}
}

// trust is the system's authorities plus those of files; nil where there are
// no files.
func trust(files ...string) (*x509.CertPool, error) {
	var pool *x509.CertPool
	for _, f := range files {
		if f == "" {
			continue
		}
		if pool == nil {
			p, err := x509.SystemCertPool()
			if err != nil {
				p = x509.NewCertPool()
			}
			pool = p
		}
		pem, err := readCA(f)
		if err != nil {
			return nil, &providers.Error{Kind: providers.Misconfigured, Err: fmt.Errorf("ca_file %s: %w", Printable(f, 200), err)}
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, &providers.Error{Kind: providers.Misconfigured, Err: fmt.Errorf("ca_file %s: no PEM certificate in it", Printable(f, 200))}
		}
	}
	return pool, nil
}

// readCA reads a regular file of at most 8 MiB: the biggest system bundles
// are about 500 KiB.
func readCA(name string) ([]byte, error) {
	const limit = 8 << 20
	st, err := os.Stat(name)
	if err != nil {
		return nil, pathCause(err)
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, pathCause(err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, pathCause(err)
	}
	if len(b) > limit {
		return nil, errors.New("larger than 8 MiB")
	}
	return b, nil
}

// pathCause drops the path, which the message has already.
func pathCause(err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err
	}
	return err
}

// proxyFunc decides per URL. Loopback and metadata addresses are always
// reached directly: a proxy cannot reach ours, and must not see what a
// metadata service answers.
func proxyFunc(a providers.Account, n providers.Network) (func(*url.URL) (*url.URL, error), error) {
	cfg := httpproxy.FromEnvironment()
	cfg.CGI = false
	if p := firstOf(a.HTTPSProxy, n.HTTPSProxy); p != "" {
		if err := checkProxy(p); err != nil {
			return nil, &providers.Error{Kind: providers.Misconfigured, Err: err, Hint: "write https_proxy = \"http://HOST:PORT\""}
		}
		cfg.HTTPProxy, cfg.HTTPSProxy = p, p
	}
	cfg.NoProxy = firstOf(a.NoProxy, n.NoProxy, cfg.NoProxy)
	decide := cfg.ProxyFunc()
	return func(u *url.URL) (*url.URL, error) {
		if isLocalName(u.Hostname()) || isMetadataName(u.Hostname()) {
			return nil, nil
		}
		p, err := decide(u)
		if err != nil { // the library's text may repeat the value, password and all
			return nil, &configError{"the proxy settings of the environment cannot be used"}
		}
		return p, nil
	}, nil
}

// configError is a failure that only a change of the configuration mends.
type configError struct{ text string }

func (e *configError) Error() string { return e.text }

func checkProxy(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return errors.New("https_proxy is no valid URL")
	}
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
		return nil
	}
	return fmt.Errorf("https_proxy: scheme %q cannot be used", Printable(u.Scheme, 20))
}

func firstOf(ss ...string) string {
	for _, s := range ss {
		if s != "" {
			return s
		}
	}
	return ""
}

// sdkTransport is the transport under HTTPClient.
type sdkTransport struct{ c *Client }

// RoundTrip implements http.RoundTripper. It sends a copy of the body: smithy
// closes its own as soon as the answer begins, and net/http, which may still be
// looking for the body's end, ends the connection with the answer half read.
func (t sdkTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		b, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil {
			return nil, err
		}
		out := *r
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
		out.Body, _ = out.GetBody()
		r = &out
	}
	res, err := t.c.roundTrip(r)
	if err != nil {
		return nil, err
	}
	res.Body = &capped{ReadCloser: res.Body, left: MaxBody}
	return res, nil
}

// capped fails a body that is longer than allowed.
type capped struct {
	io.ReadCloser
	left int
}

var errTooLarge = errors.New("answer too large (more than 1 MiB)")

// Read implements io.Reader.
func (b *capped) Read(p []byte) (int, error) {
	if len(p) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if n > b.left {
		n, err = b.left, errTooLarge
	}
	b.left -= n
	return n, err
}
