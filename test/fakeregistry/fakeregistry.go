// SPDX-License-Identifier: Apache-2.0

// Package fakeregistry is a container registry for tests and demonstrations:
// go-containerregistry's registry behind authentication that behaves, and
// refuses, as real products do. It serves
//
//   - /v2/     the registry, behind HTTP Basic or Bearer tokens;
//   - /token   a token server in both forms of the distribution specification
//     (GET with Basic, POST with a form), which signs real JWTs;
//   - /issue   an endpoint that turns a client secret or a JWT assertion into a
//     user name and a password with an expiry, which /v2/ and /token then
//     accept until they expire;
//   - /jwks    the public key of the token server.
//
// It counts requests, records who read and wrote which repository, and can be
// told to fail. With SetBackend it is the token server and the front of a real
// distribution registry.
package fakeregistry

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

// Mode is how /v2/ wants to be asked.
type Mode int

// The modes.
const (
	Basic Mode = iota // HTTP Basic on every request, as an htpasswd registry or ECR
	Token             // Bearer tokens of /token, as Docker Hub, GitLab, Harbor
)

// Options say how the registry behaves. The zero value is a Basic registry over
// plain http on a free port of 127.0.0.1 that nobody may use.
type Options struct {
	Mode  Mode
	Addr  string // host:port to listen on; default 127.0.0.1:0
	Users []User // see Server.AddUser
	// Anonymous is what may be done without a login; nil = nothing.
	Anonymous []Grant

	TLS   bool     // serve https with a certificate of CA
	CA    *CA      // default: a new one
	Names []string // further names in the certificate

	// Realm replaces the token server's URL in challenges. By default it is
	// /token on the host the client asked, which ggcr and oras insist on for
	// loopback addresses.
	Realm   string
	Service string // default "fakeregistry"; the aud of tokens
	Issuer  string // default "fakeregistry-issuer"; the iss of tokens
	// TokenLife is the life of a Bearer token; default 5 min, as Docker Hub.
	TokenLife time.Duration
	// OmitExpiresIn leaves expires_in out of token answers, which clients then
	// read as 60 s.
	OmitExpiresIn bool
	// TokenPOST is the status that a POST to /token gets: 404 (GitLab, Gitea),
	// 405 (Artifact Registry), 401 (Artifactory), 400 (ACR); 0 = POST works.
	TokenPOST int
	// RefreshTokens hands out refresh tokens to clients that ask for them.
	RefreshTokens bool
	KeyForm       KeyForm

	Issue IssueOptions

	Now func() time.Time // default time.Now; see Server.Advance
	Log io.Writer        // one line a request, without secrets; default none
}

// Server is a running registry. All methods are safe for concurrent use.
type Server struct {
	opt      Options
	listener net.Listener
	http     *http.Server
	cancel   context.CancelFunc
	ctx      context.Context
	served   chan struct{}
	log      *log.Logger

	users     users // passwords, by name
	tally     tally
	faults    faults
	signer    *signer
	assertion *signer
	store     *blobStore
	inner     http.Handler
	backend   atomic.Pointer[httputil.ReverseProxy]
	shift     atomic.Int64
	closeOnce sync.Once
}

// Start listens and serves until Close.
func Start(o Options) (*Server, error) {
	setDefaults(&o)
	s := &Server{opt: o, served: make(chan struct{}), store: newBlobStore(), users: newUsers(), log: log.New(o.Log, "fakeregistry: ", 0)}
	var err error
	if s.signer, err = newSigner(); err != nil {
		return nil, err
	}
	if s.assertion, err = newSigner(); err != nil {
		return nil, err
	}
	if o.TLS && s.opt.CA == nil {
		if s.opt.CA, err = NewCA(); err != nil {
			return nil, err
		}
	}
	for _, u := range o.Users {
		s.AddUser(u)
	}
	s.inner = registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithBlobHandler(s.store), registry.WithReferrersSupport(true))
	if s.listener, err = net.Listen("tcp", o.Addr); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler: s, ReadHeaderTimeout: 10 * time.Second, ErrorLog: s.log,
		BaseContext: func(net.Listener) context.Context { return s.ctx },
	}
	l := s.listener
	if o.TLS {
		cert, err := s.opt.CA.certificate(append([]string{"127.0.0.1", "::1", "localhost"}, o.Names...))
		if err != nil {
			_ = s.listener.Close()
			return nil, err
		}
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	}
	go func() {
		defer close(s.served)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.log.Print(err)
		}
	}()
	return s, nil
}

func setDefaults(o *Options) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.Service == "" {
		o.Service = "fakeregistry"
	}
	if o.Issuer == "" {
		o.Issuer = "fakeregistry-issuer"
	}
	if o.TokenLife == 0 {
		o.TokenLife = 5 * time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	if o.Issue.Life == 0 {
		o.Issue.Life = time.Hour
	}
}

// Close ends the server and every request in it.
func (s *Server) Close() error {
	var err error
	s.closeOnce.Do(func() {
		s.cancel()
		err = s.http.Close()
		<-s.served
	})
	return err
}

// Host is the address clients use: "127.0.0.1:PORT".
func (s *Server) Host() string { return s.listener.Addr().String() }

// URL is the base of every endpoint: "http://127.0.0.1:PORT".
func (s *Server) URL() string {
	if s.opt.TLS {
		return "https://" + s.Host()
	}
	return "http://" + s.Host()
}

// CAPEM is the certificate of the CA; nil without TLS.
func (s *Server) CAPEM() []byte {
	if s.opt.CA == nil {
		return nil
	}
	return s.opt.CA.PEM()
}

// Advance moves the server's clock forward; expiries are judged by it.
func (s *Server) Advance(d time.Duration) { s.shift.Add(int64(d)) }

func (s *Server) now() time.Time { return s.opt.Now().Add(time.Duration(s.shift.Load())) }

// ServeHTTP implements http.Handler: faults, then the endpoint, then the books.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := s.peek(r)
	if err != nil {
		writeError(w, http.StatusBadRequest, "UNSUPPORTED", "the request cannot be read", nil)
		return
	}
	s.tally.request(c)
	// Booked before the first byte leaves: a client that has its answer finds
	// it in the books.
	rec := &recorder{ResponseWriter: w, book: func(status int) {
		s.tally.answer(c, status)
		s.log.Printf("%s %s as %q: %d", r.Method, r.URL.Path, c.identity, status)
	}}
	if f := s.faults.take(c); f != nil {
		s.tally.fault()
		f.serve(s.ctx, rec, r, func() { s.route(rec, r, c) })
	} else {
		s.route(rec, r, c)
	}
}

func (s *Server) route(w http.ResponseWriter, r *http.Request, c *call) {
	switch {
	case r.URL.Path == "/token":
		s.serveToken(w, r, c)
	case r.URL.Path == "/issue":
		s.serveIssue(w, r, c)
	case r.URL.Path == "/jwks":
		writeJSON(w, http.StatusOK, s.JWKS())
	case c.isRegistry:
		s.serveRegistry(w, r, c)
	default:
		http.NotFound(w, r)
	}
}
