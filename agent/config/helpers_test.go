// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/regmint/regmint/providers"
)

// product is a provider with options of its own and no network.
type product struct {
	name   string
	suffix string // hosts it knows: exactly "*.suffix"
	env    []string
	opts   func() any
}

func (p product) Name() string { return p.name }
func (p product) Match(h providers.Host) bool {
	l := h.Labels()
	return p.suffix != "" && len(l) > 1 && strings.Join(l[1:], ".") == p.suffix
}
func (p product) Env() []string { return p.env }
func (p product) Options() any {
	if p.opts == nil {
		return nil
	}
	return p.opts()
}

func (p product) Open(providers.Account, providers.Deps) (providers.Source, error) {
	return nil, errors.New("this test opens nothing")
}

type cloudOptions struct {
	RoleARN     string            `toml:"role_arn" doc:"role to assume"`
	WebIdentity string            `toml:"web_identity" doc:"identity token" enum:"github,gitlab"`
	Tags        map[string]string `toml:"tags" doc:"session tags"`
}

type appOptions struct {
	AppID  int64               `toml:"app_id" doc:"number of the app"`
	Key    providers.SecretRef `toml:"private_key" doc:"key of the app"`
	Scopes []string            `toml:"scopes" doc:"scopes"`
	Strict *bool               `toml:"strict" doc:"strictness"`
	Inner  struct {
		Token providers.SecretRef `toml:"token" doc:"token"`
		Life  providers.Duration  `toml:"life" doc:"life"`
	} `toml:"inner" doc:"nested"`
}

func products() []providers.Provider {
	return []providers.Provider{
		product{name: "cloud", suffix: "cloud.example", env: []string{"CLOUD_TOKEN", "HOME"}, opts: func() any { return new(cloudOptions) }},
		product{name: "app", suffix: "app.example", env: []string{"CLOUD_TOKEN"}, opts: func() any { return new(appOptions) }},
		product{name: "generic"},
	}
}

// write makes a file of mode 0600 in a directory of mode 0700.
func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// layers is a set of files in a directory of the test.
type layers struct {
	t   *testing.T
	dir string
}

func newLayers(t *testing.T) layers { return layers{t, t.TempDir()} }

func (l layers) paths() Paths {
	return Paths{
		System: filepath.Join(l.dir, "etc", "config.toml"),
		User:   filepath.Join(l.dir, "home", "config.toml"),
		Saved:  filepath.Join(l.dir, "home", "config.d", "regmint.toml"),
	}
}

func (l layers) system(text string) layers { write(l.t, l.paths().System, text); return l }
func (l layers) user(text string) layers   { write(l.t, l.paths().User, text); return l }
func (l layers) saved(text string) layers  { write(l.t, l.paths().Saved, text); return l }

func (l layers) load() (*Config, error) {
	return Load(LoadOptions{Paths: l.paths(), Providers: products()})
}

func (l layers) ok() *Config {
	l.t.Helper()
	c, err := l.load()
	if err != nil {
		l.t.Fatalf("load: %v", err)
	}
	return c
}

// fails loads and returns the problems, which must be some.
func (l layers) fails() Problems {
	l.t.Helper()
	c, err := l.load()
	return problemsOf(l.t, c, err)
}

func problemsOf(t *testing.T, c *Config, err error) Problems {
	t.Helper()
	ps, ok := errors.AsType[Problems](err)
	if !ok || len(ps) == 0 || c != nil {
		t.Fatalf("got %v, %v; want problems", c, err)
	}
	for _, p := range ps {
		if p.File == "" || p.Msg == "" || strings.ContainsAny(p.String(), "\n\r\x00\x1b") {
			t.Errorf("unfit for people: %+v", p)
		}
	}
	return ps
}

func userFails(t *testing.T, text string) Problems {
	t.Helper()
	return newLayers(t).user(text).fails()
}

func wantText(t *testing.T, got string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(got, p) {
			t.Errorf("%q does not say %q", got, p)
		}
	}
}

func account(t *testing.T, c *Config, name string) providers.Account {
	t.Helper()
	for _, a := range c.Accounts {
		if a.Name == name {
			return a
		}
	}
	t.Fatalf("no account %q in %v", name, c.Accounts)
	return providers.Account{}
}
