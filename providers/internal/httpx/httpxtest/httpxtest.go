// SPDX-License-Identifier: Apache-2.0

// Package httpxtest has what tests of providers need on loopback: a throw-away
// authority, TLS servers under any name, a name server, and every way an
// upstream can fail.
package httpxtest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
)

// CA is an authority that lives as long as a test.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
	// chain is sent along with leaves: the certificates up to a root.
	chain [][]byte
}

// NewCA makes an authority and writes its PEM file into a directory of t.
func NewCA(t testing.TB) *CA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "throw-away test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &CA{cert: cert, key: key, file: file}
}

// Constrained is an authority below ca that may sign for 10.0.0.0/8 only. Its
// leaves come with its own certificate.
func (ca *CA) Constrained(t testing.TB) *CA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ten, err := net.ParseCIDR("10.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "constrained test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		PermittedIPRanges: []*net.IPNet{ten}, PermittedDNSDomainsCritical: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &CA{cert: cert, key: key, chain: [][]byte{der}}
}

// File is the path of the authority's PEM file.
func (ca *CA) File() string { return ca.file }

// Leaf signs a server certificate for names and addresses.
func (ca *CA) Leaf(t testing.TB, from, until time.Time, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: from, NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
			continue
		}
		tmpl.DNSNames = append(tmpl.DNSNames, n)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: append([][]byte{der}, ca.chain...), PrivateKey: key}
}

// Server starts an https server for names ("127.0.0.1" unless given).
func (ca *CA) Server(t testing.TB, h http.Handler, names ...string) *httptest.Server {
	t.Helper()
	if len(names) == 0 {
		names = []string{"127.0.0.1"}
	}
	return ca.ServerWith(t, h, &tls.Config{Certificates: []tls.Certificate{
		ca.Leaf(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), names...),
	}})
}

// ServerWith starts an https server with a TLS configuration of its own.
func (ca *CA) ServerWith(t testing.TB, h http.Handler, cfg *tls.Config) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = cfg
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

// Plain starts an http server.
func Plain(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

// Host is the registry host of a server.
func Host(t testing.TB, hostport string) providers.Host {
	t.Helper()
	h, err := providers.ParseHost(hostport)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// Deps are surroundings for a provider: secrets answers references by their
// String and takes what Save writes, everything logged lands in the returned
// Log, Home is an empty directory, Lock keeps goroutines apart, and no program
// is there to Run.
func Deps(t testing.TB, secrets map[string]string) (providers.Deps, *Log) {
	t.Helper()
	l := &Log{}
	var mu sync.Mutex
	if secrets == nil {
		secrets = map[string]string{}
	}
	return providers.Deps{
		Env: map[string]string{},
		Resolve: func(ctx context.Context, ref providers.SecretRef) (providers.Secret, error) {
			if err := ctx.Err(); err != nil {
				return providers.Secret{}, err
			}
			mu.Lock()
			defer mu.Unlock()
			s, ok := secrets[ref.String()]
			if !ok {
				return providers.Secret{}, errors.New("not found")
			}
			return providers.NewSecret(s), nil
		},
		Run: func(_ context.Context, c providers.Command) ([]byte, error) {
			return nil, &providers.Error{Kind: providers.Misconfigured, Err: fmt.Errorf("%s: no such program: %w", c.Path, fs.ErrNotExist)}
		},
		Save: func(_ context.Context, ref providers.SecretRef, s providers.Secret) error {
			if ref.Scheme != "keyring" {
				return &providers.Error{Kind: providers.Misconfigured, Err: errors.New(ref.String() + " takes no new secret")}
			}
			mu.Lock()
			defer mu.Unlock()
			secrets[ref.String()] = s.Reveal()
			return nil
		},
		Lock: locks(),
		Home: t.TempDir(),
		Log:  slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now:  time.Now,
	}, l
}

// locks is a Deps.Lock of one process.
func locks() func(ctx context.Context, name string) (func(), error) {
	var mu sync.Mutex
	held := map[string]chan struct{}{}
	return func(ctx context.Context, name string) (func(), error) {
		mu.Lock()
		c := held[name]
		if c == nil {
			c = make(chan struct{}, 1)
			held[name] = c
		}
		mu.Unlock()
		select {
		case c <- struct{}{}:
			return sync.OnceFunc(func() { <-c }), nil
		case <-ctx.Done():
			return nil, &providers.Error{Kind: providers.Unavailable, Err: fmt.Errorf("the lock %q is held: %w", name, ctx.Err())}
		}
	}
}

// Log collects what was logged.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is everything so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
