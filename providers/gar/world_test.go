// SPDX-License-Identifier: Apache-2.0

package gar_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/gar"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/providers/internal/oidc"
	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/google"
)

const registry = "europe-west1-docker.pkg.dev"

// world is a fake Google Cloud and the surroundings of an account.
type world struct {
	t       *testing.T
	c       *fakecloud.Cloud
	g       *google.Google
	deps    providers.Deps
	log     *httpxtest.Log
	secrets map[string]string
	p       gar.Provider
	layer   providers.Layer
	edit    func(*providers.Account)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	c := fakecloud.Start(t)
	w := &world{t: t, c: c, g: google.New(c, google.Options{}), secrets: map[string]string{}, p: gar.New(), layer: providers.LayerConfigured}
	w.deps, w.log = httpxtest.Deps(t, w.secrets)
	w.deps.Now = c.Now
	w.deps.Network = providers.Network{HTTPSProxy: c.ProxyURL(), CAFile: c.CAFile(t), NoProxy: "none.invalid"}
	return w
}

// gcloud puts a fake gcloud in place, which logs in to the home directory.
func (w *world) gcloud() (program *google.Gcloud, dir string) {
	p := w.g.Gcloud(w.t)
	w.deps.Run = func(ctx context.Context, c providers.Command) ([]byte, error) {
		if c.Path != "gcloud" {
			return nil, &providers.Error{Kind: providers.Misconfigured, Err: fmt.Errorf("%s: no such program: %w", c.Path, fs.ErrNotExist)}
		}
		cmd := exec.CommandContext(ctx, p.Path, c.Args...)
		cmd.Env = append([]string{"HOME=" + w.deps.Home, "PATH=" + os.Getenv("PATH")}, c.Env...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		b, err := cmd.Output()
		if err != nil {
			line, _, _ := strings.Cut(stderr.String(), "\n")
			return nil, &providers.Error{Kind: providers.Unavailable, Err: fmt.Errorf("gcloud failed: %w: %s", err, line)}
		}
		return b, nil
	}
	return p, filepath.Join(w.deps.Home, ".config", "gcloud")
}

func (w *world) secret(name string, value []byte) providers.SecretRef {
	w.secrets["env:"+name] = string(value)
	return providers.SecretRef{Scheme: "env", Value: name}
}

func (w *world) write(name string, b []byte) string {
	w.t.Helper()
	if !filepath.IsAbs(name) {
		name = filepath.Join(w.t.TempDir(), name)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return name
}

func (w *world) ref(s string) oidc.Ref {
	w.t.Helper()
	r, err := oidc.ParseRef(s)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) account(o *gar.Options) providers.Account {
	p, err := providers.ParsePattern(registry)
	if err != nil {
		w.t.Fatal(err)
	}
	a := providers.Account{Name: "google", Provider: "gar", Hosts: []providers.Pattern{p}, Options: o, Layer: w.layer}
	if w.edit != nil {
		w.edit(&a)
	}
	return a
}

func (w *world) open(o *gar.Options) providers.Source {
	w.t.Helper()
	s, err := w.p.Open(w.account(o), w.deps)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) request(gs ...providers.Grant) providers.Request {
	w.t.Helper()
	return providers.Request{Host: httpxtest.Host(w.t, registry), Grants: gs}
}

// mint mints and looks at what every credential has.
func (w *world) mint(o *gar.Options, gs ...providers.Grant) providers.Credential {
	w.t.Helper()
	c, err := w.open(o).Mint(w.t.Context(), w.request(gs...))
	if err != nil {
		w.t.Fatal(err)
	}
	if c.Username != "oauth2accesstoken" || c.IssuedAt.IsZero() || !c.ExpiresAt.After(c.IssuedAt) || c.Origin == "" {
		w.t.Errorf("credential %+v", c)
	}
	return c
}

// is checks for whom a credential speaks.
func (w *world) is(c providers.Credential, member string, scopes ...string) {
	w.t.Helper()
	who, have := w.g.Who(c.Secret.Reveal())
	if who != member || len(scopes) > 0 && strings.Join(have, " ") != strings.Join(scopes, " ") {
		w.t.Errorf("the token is of %q with %v, want %q with %v", who, have, member, scopes)
	}
}

// refused mints in vain.
func (w *world) refused(o *gar.Options, kind providers.Kind, parts ...string) {
	w.t.Helper()
	s, err := w.p.Open(w.account(o), w.deps)
	if err == nil {
		_, err = s.Mint(w.t.Context(), w.request())
	}
	w.failure(err, kind, parts...)
}

func (w *world) failure(err error, kind providers.Kind, parts ...string) {
	w.t.Helper()
	e, ok := errors.AsType[*providers.Error](err)
	if !ok || e.Kind != kind {
		w.t.Errorf("want %s, got %s: %v", kind, providers.KindOf(err), err)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			w.t.Errorf("want %q in: %v", p, err)
		}
	}
	for _, line := range []string{err.Error(), w.log.String()} {
		for _, s := range w.secrets {
			if len(s) > 20 && s[0] != '{' && len(httpxtest.Leaks(line, s)) > 0 {
				w.t.Errorf("secret in %s", line)
			}
		}
		if strings.Contains(line, "ya29.") || strings.Contains(line, "PRIVATE KEY") || strings.Contains(line, "1//0") {
			w.t.Errorf("secret in %s", line)
		}
	}
}

// reached reports whether a host was asked, or tried.
func (w *world) reached(host string) bool {
	for _, h := range w.c.Reached() {
		if h == host {
			return true
		}
	}
	return false
}

func (w *world) count(host string) int {
	return w.c.Count(func(r fakecloud.Request) bool { return r.Host == host })
}

func pull(repository string) providers.Grant {
	return providers.Grant{Repository: repository, Access: providers.Pull}
}

func push(repository string) providers.Grant {
	return providers.Grant{Repository: repository, Access: providers.Push}
}

const hour = providers.Duration(time.Hour)
