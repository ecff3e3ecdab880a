// SPDX-License-Identifier: Apache-2.0

// Package fakecloud is the part that the fake clouds of tests have in common:
// one process that stands for any number of https hosts under their real names.
//
// Clients reach it through its HTTP proxy, which answers CONNECT for every name
// that a handler was registered for, ends TLS there with a certificate of a
// throw-away CA, and refuses every other name. So a client under test uses the
// real addresses, and a test sees every host that it tried to reach. Metadata
// services, which have no TLS and no names, get a plain loopback server each.
//
// The clouds themselves are in the packages below.
package fakecloud

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Cloud is a running process. All methods are safe for concurrent use.
type Cloud struct {
	ca       *authority
	proxy    *httptest.Server
	https    *http.Server
	conns    *connListener
	closing  chan struct{}
	shift    atomic.Int64
	auth     atomic.Pointer[string]
	mu       sync.Mutex
	handlers []vhost
	refused  []string
	requests []Request
	faults   []*Fault
	issuers  map[string]*Issuer
	wg       sync.WaitGroup
}

type vhost struct {
	pattern string
	h       http.Handler
}

// Start serves until the test ends.
func Start(t testing.TB) *Cloud {
	t.Helper()
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// New serves until Close.
func New() (*Cloud, error) {
	ca, err := newAuthority()
	if err != nil {
		return nil, err
	}
	c := &Cloud{ca: ca, closing: make(chan struct{}), issuers: map[string]*Issuer{}}
	c.conns = &connListener{conns: make(chan net.Conn), closed: c.closing}
	c.https = &http.Server{Handler: http.HandlerFunc(c.serveHTTPS), ReadHeaderTimeout: 30 * time.Second, ErrorLog: quiet}
	c.wg.Go(func() { _ = c.https.Serve(c.conns) })
	c.proxy = httptest.NewUnstartedServer(http.HandlerFunc(c.serveProxy))
	c.proxy.Config.ErrorLog = quiet
	c.proxy.Start()
	return c, nil
}

// Close ends every connection.
func (c *Cloud) Close() {
	close(c.closing)
	_ = c.https.Close()
	c.proxy.CloseClientConnections()
	c.proxy.Close()
	c.wg.Wait()
}

// Handle serves https://PATTERN. In a pattern * stands for one label, and another
// port than 443 is written (reg.example:5050); the pattern registered first wins. The handler sees the name in Request.Host.
func (c *Cloud) Handle(pattern string, h http.Handler) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handlers = append(c.handlers, vhost{strings.ToLower(pattern), h})
}

// Plain serves h over plain http on a free loopback port and returns its URL:
// a metadata service. Its requests are recorded and its faults injected under
// the name given.
func (c *Cloud) Plain(name string, h http.Handler) string {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.serve(w, r, name, h)
	}))
	s.Config.ErrorLog = quiet
	s.Start()
	c.wg.Go(func() {
		<-c.closing
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}

// Listen serves what is registered for the host that it returns, name:port, at
// that very place: for what clients reach without a proxy, such as 127.0.0.2 or
// localhost.
func (c *Cloud) Listen(name string) (string, error) {
	cert, err := c.ca.leaf(name)
	if err != nil {
		return "", err
	}
	l, err := tls.Listen("tcp", net.JoinHostPort(name, "0"), &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*cert}, NextProtos: []string{"http/1.1"}})
	if err != nil {
		return "", err
	}
	c.wg.Go(func() { _ = c.https.Serve(l) })
	_, port, err := net.SplitHostPort(l.Addr().String())
	return net.JoinHostPort(name, port), err
}

// ProxyURL is the proxy for https: http://127.0.0.1:PORT.
func (c *Cloud) ProxyURL() string { return c.proxy.URL }

// ProxyAuth makes the proxy demand this user:password ("" = none): without it
// CONNECT answers 407.
func (c *Cloud) ProxyAuth(userinfo string) { c.auth.Store(&userinfo) }

// CAPEM is the certificate of the throw-away CA.
func (c *Cloud) CAPEM() []byte { return c.ca.pem }

// CAFile writes CAPEM into a directory of the test.
func (c *Cloud) CAFile(t testing.TB) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "fakecloud-ca.pem")
	if err := os.WriteFile(name, c.ca.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Client goes through the proxy and trusts the CA: for the vendors' SDKs.
func (c *Cloud) Client() *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(c.ca.pem)
	proxy, _ := url.Parse(c.proxy.URL)
	return &http.Client{Transport: &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) {
			if r.URL.Scheme == "http" { // metadata, on loopback
				return nil, nil
			}
			return proxy, nil
		},
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
	}}
}

// Now is the cloud's clock: what it signs, checks and lets expire goes by it.
func (c *Cloud) Now() time.Time { return time.Now().Add(time.Duration(c.shift.Load())) }

// Advance moves the clock.
func (c *Cloud) Advance(d time.Duration) { c.shift.Add(int64(d)) }

// handler finds who serves a host; nil: nobody.
func (c *Cloud) handler(host string) http.Handler {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range c.handlers {
		if matches(v.pattern, host) {
			return v.h
		}
	}
	return nil
}

func matches(pattern, host string) bool {
	p, h := strings.Split(pattern, "."), strings.Split(host, ".")
	if len(p) != len(h) {
		return false
	}
	for i := range p {
		if p[i] != "*" && p[i] != h[i] {
			return false
		}
	}
	return true
}

func (c *Cloud) serveProxy(w http.ResponseWriter, r *http.Request) {
	if want := c.auth.Load(); want != nil && *want != "" {
		if user, pass, ok := proxyAuth(r); !ok || user+":"+pass != *want {
			w.Header().Set("Proxy-Authenticate", `Basic realm="proxy"`)
			http.Error(w, "proxy authentication required", http.StatusProxyAuthRequired)
			return
		}
	}
	host, port, err := net.SplitHostPort(r.Host)
	host = strings.ToLower(host)
	at := host
	if port != "443" {
		at += ":" + port
	}
	if r.Method != http.MethodConnect || err != nil || c.handler(at) == nil {
		c.mu.Lock()
		c.refused = append(c.refused, r.Host)
		c.mu.Unlock()
		http.Error(w, "no such host", http.StatusBadGateway)
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if _, err := conn.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		_ = conn.Close()
		return
	}
	c.conns.give(tls.Server(conn, &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.ca.leaf(host)
		},
	}))
}

func proxyAuth(r *http.Request) (user, pass string, ok bool) {
	q := http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	return q.BasicAuth()
}

func (c *Cloud) serveHTTPS(w http.ResponseWriter, r *http.Request) {
	host := strings.ToLower(strings.TrimSuffix(r.Host, ":443"))
	h := c.handler(host)
	if h == nil {
		http.Error(w, "misdirected", http.StatusMisdirectedRequest)
		return
	}
	c.serve(w, r, host, h)
}

// serve injects faults, records and hands on.
func (c *Cloud) serve(w http.ResponseWriter, r *http.Request, name string, h http.Handler) {
	rec := &recorder{ResponseWriter: w, status: http.StatusOK}
	begin := c.Now()
	defer func() {
		c.mu.Lock()
		c.requests = append(c.requests, Request{
			Time: begin, Host: name, Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery,
			Target: r.Header.Get("X-Amz-Target"), Status: rec.status,
		})
		c.mu.Unlock()
	}()
	if f := c.fault(name, r.URL.Path); f != nil && f.play(rec, r, c.closing) {
		return
	}
	h.ServeHTTP(rec, r)
}

type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// connListener hands hijacked connections to an http.Server.
type connListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *connListener) give(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.closed:
		_ = c.Close()
	}
}

func (l *connListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *connListener) Close() error   { return nil }
func (l *connListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// errHung ends a request that was made to hang.
var errHung = errors.New("hung until the client left")

func wait(ctx context.Context, closing <-chan struct{}, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return errHung
	case <-closing:
		return errHung
	}
}
