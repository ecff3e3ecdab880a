// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// ecrHost is a registry that both regmint and its peer answer for.
const ecrHost = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"

// apiServer is the upstream: GetAuthorizationToken as ECR answers it, and an
// issuing endpoint with the same delay for regmint.
type apiServer struct {
	l     net.Listener
	s     *http.Server
	calls atomic.Int64
	delay atomic.Int64
}

func newAPI() (*apiServer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	a := &apiServer{l: l}
	a.s = &http.Server{Handler: a, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = a.s.Serve(l) }() // ends with close
	return a, nil
}

func (a *apiServer) url() string { return "http://" + a.l.Addr().String() }
func (a *apiServer) close()      { _ = a.s.Close() }

// ServeHTTP implements http.Handler.
func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.calls.Add(1)
	select {
	case <-time.After(time.Duration(a.delay.Load())):
	case <-r.Context().Done():
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	// About as long as a real token.
	secret := base64.StdEncoding.EncodeToString(make([]byte, 1300))
	var answer any
	if r.URL.Path == "/issue" {
		var in struct{ User string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		answer = map[string]any{"username": in.User, "password": secret, "expires_in": 43200}
	} else {
		answer = map[string]any{"authorizationData": []any{map[string]any{
			"authorizationToken": base64.StdEncoding.EncodeToString([]byte("AWS:" + secret)),
			"expiresAt":          float64(time.Now().Add(12 * time.Hour).Unix()),
			"proxyEndpoint":      "https://" + ecrHost,
		}}}
	}
	_ = json.NewEncoder(w).Encode(answer)
}
