// SPDX-License-Identifier: Apache-2.0

package fakeregistry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// distributionConfig is the configuration of a distribution registry, 2.x or
// 3.x, that trusts the token server. %[1]q storage, %[2]q address, %[3]q realm,
// %[4]q service, %[5]q issuer, %[6]q certificates.
const distributionConfig = `version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %[1]q}, delete: {enabled: true}}
http: {addr: %[2]q, secret: fakeregistry, relativeurls: true}
auth: {token: {realm: %[3]q, service: %[4]q, issuer: %[5]q, rootcertbundle: %[6]q}}
`

// RunDistribution starts a distribution registry (the program at binary, for
// example Debian's /usr/bin/docker-registry) with its files in dir, as the
// backend of s. stop ends it.
func (s *Server) RunDistribution(ctx context.Context, binary, dir string) (stop func(), err error) {
	// The registry cannot say which port it took, so one is found for it.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	bundle, config := filepath.Join(dir, "bundle.pem"), filepath.Join(dir, "config.yml")
	text := fmt.Sprintf(distributionConfig, filepath.Join(dir, "data"), addr, s.TokenURL(), s.opt.Service, s.opt.Issuer, bundle)
	if err := errors.Join(os.WriteFile(bundle, s.CertBundle(), 0o600), os.WriteFile(config, []byte(text), 0o600)); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, binary, "serve", config)
	cmd.Env = []string{"HOME=" + dir, "OTEL_TRACES_EXPORTER=none"}
	cmd.Stderr = s.opt.Log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait()
	}()
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		<-done
	})
	if err := awaitRegistry(ctx, "http://"+addr+"/v2/", done); err != nil {
		stop()
		return nil, fmt.Errorf("%s: %w", binary, err)
	}
	return stop, s.SetBackend("http://" + addr)
}

// awaitRegistry returns when the registry answers at all.
func awaitRegistry(ctx context.Context, url string, done <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if resp, err := client.Do(req); err == nil {
			return resp.Body.Close()
		}
		select {
		case <-ctx.Done():
			return errors.New("the registry does not answer")
		case <-done:
			return errors.New("the registry ended at once")
		case <-tick.C:
		}
	}
}
