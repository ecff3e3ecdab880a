// SPDX-License-Identifier: Apache-2.0

package gitlab_test

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/gitlab"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/test/fakecloud"
	fake "github.com/regmint/regmint/test/fakecloud/gitlab"
)

func TestMain(m *testing.M) { os.Exit(httpxtest.Waiting(m)) }

// rig is an instance with the project acme/app, which jane maintains.
type rig struct {
	t       *testing.T
	cloud   *fakecloud.Cloud
	gl      *fake.GitLab
	jane    *fake.User
	app     *fake.Project
	secrets map[string]string
	deps    providers.Deps
	log     *httpxtest.Log
}

func newRig(t *testing.T, o fake.Options) *rig {
	t.Helper()
	c := fakecloud.Start(t)
	c.Advance(untilNoon(c.Now())) // expiries are days: no test passes midnight
	r := &rig{t: t, cloud: c, gl: fake.New(c, o), secrets: map[string]string{}}
	r.jane, r.app = r.gl.User("jane"), r.gl.Project("acme/app")
	r.app.Add(r.jane, fake.Maintainer)
	r.deps, r.log = httpxtest.Deps(t, r.secrets)
	r.deps.Network = providers.Network{HTTPSProxy: c.ProxyURL(), CAFile: c.CAFile(t)}
	r.deps.Now = c.Now
	return r
}

// untilNoon is how long it is until the next noon, UTC.
func untilNoon(now time.Time) time.Duration {
	noon := now.UTC().Truncate(24 * time.Hour).Add(12 * time.Hour)
	if noon.Before(now) {
		noon = noon.Add(24 * time.Hour)
	}
	return noon.Sub(now)
}

func (r *rig) account(o gitlab.Options, edit ...func(*providers.Account)) providers.Account {
	r.t.Helper()
	pat, err := providers.ParsePattern(r.gl.Registry())
	if err != nil {
		r.t.Fatal(err)
	}
	a := providers.Account{Name: "acme", Provider: "gitlab", Hosts: []providers.Pattern{pat}, Options: &o, Layer: providers.LayerConfigured}
	for _, e := range edit {
		e(&a)
	}
	return a
}

// withSecret makes s the account's password.
func (r *rig) withSecret(s string) func(*providers.Account) {
	r.secrets["keyring:pat"] = s
	return func(a *providers.Account) { a.Password = providers.SecretRef{Scheme: "keyring", Value: "pat"} }
}

func (r *rig) open(o gitlab.Options, edit ...func(*providers.Account)) providers.Source {
	r.t.Helper()
	s, err := gitlab.New().Open(r.account(o, edit...), r.deps)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func (r *rig) request(job string, gs ...providers.Grant) providers.Request {
	r.t.Helper()
	return providers.Request{Host: httpxtest.Host(r.t, r.gl.Registry()), Grants: gs, Job: job}
}

func (r *rig) mint(s providers.Source, q providers.Request) providers.Credential {
	r.t.Helper()
	c, err := s.Mint(r.t.Context(), q)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func (r *rig) verify(s providers.Source, q providers.Request, c providers.Credential) error {
	r.t.Helper()
	return s.(providers.Verifier).Verify(r.t.Context(), q, c)
}

// wantError fails where err is not of kind, lacks one of the texts, or holds a
// secret.
func (r *rig) wantError(err error, kind providers.Kind, texts ...string) {
	r.t.Helper()
	if err == nil || providers.KindOf(err) != kind {
		r.t.Errorf("want %s, got %s: %v", kind, providers.KindOf(err), err)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			r.t.Errorf("%q is not in %v", text, err)
		}
	}
	for _, s := range r.secrets {
		if len(httpxtest.Leaks(err.Error(), s)) > 0 {
			r.t.Errorf("a secret in %v", err)
		}
	}
}

// glab lets the source run the fake program; dir is its configuration.
func (r *rig) glab(dir string) *fake.Glab {
	r.t.Helper()
	if _, err := exec.LookPath("bash"); err != nil {
		r.t.Skip("no bash: apt-get install bash")
	}
	p := r.gl.Glab(r.t)
	r.deps.Run = func(ctx context.Context, c providers.Command) ([]byte, error) {
		if c.Path != "glab" {
			return nil, fs.ErrNotExist
		}
		cmd := exec.CommandContext(ctx, p.Path, c.Args...)
		cmd.Env = append([]string{"GLAB_CONFIG_DIR=" + dir, "HOME=" + dir}, c.Env...)
		return cmd.Output()
	}
	return p
}

func pull(repository string) providers.Grant {
	return providers.Grant{Repository: repository, Access: providers.Pull}
}

func push(repository string) providers.Grant {
	return providers.Grant{Repository: repository, Access: providers.Push}
}
