// SPDX-License-Identifier: Apache-2.0

package httpxtest

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
)

// Fault is one way an upstream fails. Handler faults answer over good TLS;
// Server faults are broken below HTTP.
type Fault struct {
	Name    string
	Handler http.HandlerFunc
	Server  func(t testing.TB, ca *CA) (hostport string)
	// Kind is what the failure must be called; "" where that is up to who asks
	// (a well-formed answer of the wrong shape).
	Kind providers.Kind
	// Want is a part of the error's text; "" where it is up to who asks.
	Want string
	// Stuck faults only end with the caller's deadline.
	Stuck bool
}

// Start runs the fault and returns its host:port.
func (f Fault) Start(t testing.TB, ca *CA) string {
	t.Helper()
	if f.Server != nil {
		return f.Server(t, ca)
	}
	s := ca.Server(t, f.Handler)
	return s.Listener.Addr().String()
}

// echo repeats whatever a request brought, as careless upstreams do.
func echo(r *http.Request) string {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<16))
	return strings.Join(r.Header.Values("Authorization"), " ") + " " + r.URL.RawQuery + " " + string(body)
}

func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = fmt.Fprintf(w, `{"errors":[{"code":"SOME_CODE","message":%q}]}`, "no: "+echo(r))
	}
}

func text(contentType, s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, s)
	}
}

// Faults is the matrix.
func Faults() []Fault {
	fs := []Fault{
		{Name: "401", Handler: status(401), Kind: providers.LoginRequired, Want: "HTTP 401"},
		{Name: "403", Handler: status(403), Kind: providers.Denied, Want: "HTTP 403"},
		{Name: "404", Handler: status(404), Kind: providers.Misconfigured, Want: "HTTP 404"},
		{Name: "408", Handler: status(408), Kind: providers.Unavailable, Want: "HTTP 408"},
		{Name: "429 with Retry-After", Handler: status(429, "Retry-After", "99999999"), Kind: providers.Unavailable, Want: "HTTP 429"},
		{Name: "429 without Retry-After", Handler: status(429), Kind: providers.Unavailable, Want: "HTTP 429"},
		{Name: "500", Handler: status(500), Kind: providers.Unavailable, Want: "HTTP 500"},
		{Name: "502", Handler: status(502), Kind: providers.Unavailable, Want: "HTTP 502"},
		{Name: "503", Handler: status(503, "Retry-After", "120"), Kind: providers.Unavailable, Want: "HTTP 503"},
		{Name: "garbage JSON", Handler: text("application/json", `{"token": "x`)},
		{Name: "empty body", Handler: text("application/json", "")},
		{Name: "empty object", Handler: text("application/json", "{}")},
		{Name: "null", Handler: text("application/json", "null")},
		{Name: "HTML page", Handler: text("text/html", "<!DOCTYPE html><html><body>Sign in</body></html>")},
		{Name: "UTF-16", Handler: text("application/json", "\xff\xfe{\x00}\x00")},
		{Name: "64 MiB body", Handler: huge, Kind: providers.Unavailable, Want: "too large"},
		{Name: "gzip bomb", Handler: bomb(), Kind: providers.Unavailable, Want: "too large"},
		{Name: "slow loris", Handler: loris, Kind: providers.Unavailable, Want: "timed out", Stuck: true},
		{Name: "hang before headers", Handler: hang(""), Kind: providers.Unavailable, Want: "timed out", Stuck: true},
		{Name: "hang inside the body", Handler: hang(`{"tok`), Kind: providers.Unavailable, Want: "timed out", Stuck: true},
		{Name: "redirect loop", Handler: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }},
	}
	return append(fs, brokenServers()...)
}

func brokenServers() []Fault {
	leaf := func(from, until time.Duration, names ...string) func(testing.TB, *CA) string {
		return func(t testing.TB, ca *CA) string {
			now := time.Now()
			s := ca.ServerWith(t, http.NotFoundHandler(), &tls.Config{Certificates: []tls.Certificate{ca.Leaf(t, now.Add(from), now.Add(until), names...)}})
			return s.Listener.Addr().String()
		}
	}
	return []Fault{
		{Name: "connection reset", Server: reset, Kind: providers.Unavailable},
		{Name: "connection refused", Server: refused, Kind: providers.Unavailable, Want: "connection refused"},
		{Name: "TLS expired", Server: leaf(-2*time.Hour, -time.Hour, "127.0.0.1"), Kind: providers.Unavailable, Want: "expired at"},
		{Name: "TLS wrong name", Server: leaf(-time.Hour, time.Hour, "other.example"), Kind: providers.Unavailable, Want: "tls: certificate for 127.0.0.1 is for other.example"},
		{Name: "TLS name constraint", Kind: providers.Unavailable, Want: "signed by an authority that must not sign this name", Server: func(t testing.TB, ca *CA) string {
			return ca.Constrained(t).Server(t, http.NotFoundHandler()).Listener.Addr().String()
		}},
		{Name: "TLS self-signed", Kind: providers.Unavailable, Want: "certificate signed by unknown authority", Server: func(t testing.TB, _ *CA) string {
			return NewCA(t).Server(t, http.NotFoundHandler()).Listener.Addr().String()
		}},
		{Name: "TLS asks for a client certificate", Kind: providers.Unavailable, Want: "tls: ", Server: func(t testing.TB, ca *CA) string {
			// In TLS 1.3 the client is done before the server refuses, and the
			// first request may meet a closed connection in place of the alert.
			s := ca.ServerWith(t, http.NotFoundHandler(), &tls.Config{
				ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12,
				Certificates: []tls.Certificate{ca.Leaf(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "127.0.0.1")},
			})
			return s.Listener.Addr().String()
		}},
		{Name: "malformed answer that repeats the request", Kind: providers.Unavailable, Want: "no valid HTTP", Server: parrot},
		{Name: "TLS 1.0", Kind: providers.Unavailable, Want: "tls: ", Server: func(t testing.TB, ca *CA) string {
			s := ca.ServerWith(t, http.NotFoundHandler(), &tls.Config{
				MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10,
				Certificates: []tls.Certificate{ca.Leaf(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "127.0.0.1")},
			})
			return s.Listener.Addr().String()
		}},
	}
}

func huge(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	chunk := bytes.Repeat([]byte("a"), 1<<16)
	for range 1 << 10 {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

// bomb unpacks to a thousand times its size.
func bomb() http.HandlerFunc {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(make([]byte, 1<<20))
	_ = z.Close()
	all := bytes.Repeat(b.Bytes(), 64) // members that follow each other are one stream (RFC 1952)
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(all)
	}
}

func loris(w http.ResponseWriter, r *http.Request) {
	for {
		if _, err := w.Write([]byte(" ")); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func hang(first string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if first != "" {
			_, _ = io.WriteString(w, first)
			_ = http.NewResponseController(w).Flush()
		}
		_, _ = io.Copy(io.Discard, r.Body) // the server sees a client leave only after the body
		<-r.Context().Done()
	}
}

// reset accepts and cuts with RST.
func reset(t testing.TB, _ *CA) string {
	l := listen(t)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if tc, ok := c.(*net.TCPConn); ok {
				_ = tc.SetLinger(0)
			}
			_ = c.Close()
		}
	}()
	return l.Addr().String()
}

// parrot answers with the request in place of a status line.
func parrot(t testing.TB, ca *CA) string {
	l := tls.NewListener(listen(t), &tls.Config{Certificates: []tls.Certificate{ca.Leaf(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "127.0.0.1")}})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				buf := make([]byte, 4096)
				n, _ := c.Read(buf)
				_, _ = fmt.Fprintf(c, "tls: %q\r\n\r\n", buf[:n])
			}()
		}
	}()
	return l.Addr().String()
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// Proxy is an HTTP proxy that answers CONNECT and plain requests with status,
// or, with status 200, tunnels CONNECT to the address in dial whatever was
// asked for.
func Proxy(t testing.TB, status int, dial string, seen func(*http.Request)) *httptest.Server {
	t.Helper()
	return Plain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if seen != nil {
			seen(r)
		}
		if status != http.StatusOK || r.Method != http.MethodConnect {
			w.WriteHeader(status)
			return
		}
		up, err := net.Dial("tcp", dial)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.WriteHeader(http.StatusOK)
		down, early, err := http.NewResponseController(w).Hijack()
		if err != nil {
			_ = up.Close()
			return
		}
		go func() { _, _ = io.Copy(up, early); _ = up.Close() }() // early: what came before the hijack, then the rest
		go func() { _, _ = io.Copy(down, up); _ = down.Close() }()
	}))
}

// Leaks lists the encodings of secret that s repeats, in windows of 16 bytes.
func Leaks(s, secret string) []string {
	var out []string
	for _, form := range forms(secret) {
		for i := 0; i+16 <= len(form); i++ {
			if strings.Contains(s, form[i:i+16]) {
				out = append(out, form)
				break
			}
		}
	}
	return out
}

// Limit is how long a call under a fault gets.
func Limit(f Fault) time.Duration {
	if f.Stuck {
		return 400 * time.Millisecond
	}
	return time.Minute
}
