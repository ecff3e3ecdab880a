// SPDX-License-Identifier: Apache-2.0

package google

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/regmint/regmint/test/fakecloud"
)

// Gcloud is a fake gcloud program. It reads
// configurations and the active one in the directory named by CLOUDSDK_CONFIG
// (else HOME/.config/gcloud), as the real one, and CLOUDSDK_ACTIVE_CONFIG_NAME,
// CLOUDSDK_CORE_ACCOUNT and the flags --account, --configuration and
// --impersonate-service-account. It knows auth print-access-token, auth list,
// config config-helper, config get-value and config configurations list.
// Credentials are logged in per directory with LogIn; a token is kept until 5
// min of it are left, as the real one does. User.Logout and RequireReauth make
// it fail with the real one's words. Faults go by the name "gcloud".
type Gcloud struct {
	*fakecloud.Program
	g *Google

	mu     sync.Mutex
	notice string
	logins map[string][]*login // by directory
}

// login is an account that a directory has credentials of.
type login struct {
	email   string
	refresh string          // of a person
	account *ServiceAccount // or a service account
	cached  *token
}

// Gcloud writes the program into a directory of the test.
func (g *Google) Gcloud(t testing.TB) *Gcloud {
	t.Helper()
	p := &Gcloud{g: g, logins: map[string][]*login{}}
	variables := []string{"CLOUDSDK_CONFIG", "CLOUDSDK_ACTIVE_CONFIG_NAME", "CLOUDSDK_CORE_ACCOUNT", "CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT"}
	p.Program = g.c.Program(t, "gcloud", variables, p.call)
	return p
}

// Configure writes a configuration with an account ("" = none) and a project
// into a directory, as `gcloud config configurations create` does; active makes
// it the active one.
func (p *Gcloud) Configure(t testing.TB, dir, name, account, project string, active bool) {
	t.Helper()
	ini := "[core]\n"
	if account != "" {
		ini += "account = " + account + "\n"
	}
	if project != "" {
		ini += "project = " + project + "\n"
	}
	write(t, filepath.Join(dir, "configurations", "config_"+name), ini)
	if active {
		write(t, filepath.Join(dir, "active_config"), name)
	}
}

func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// LogIn gives the directory credentials of a service account, if there is one
// of this email, else of a user, as `gcloud auth login` does.
func (p *Gcloud) LogIn(t testing.TB, dir, email string) {
	t.Helper()
	p.LogOut(t, dir, email)
	l := &login{email: email}
	p.g.mu.Lock()
	l.account = p.g.accounts[email]
	p.g.mu.Unlock()
	if l.account == nil {
		l.refresh = p.g.User(email).newRefreshToken()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.logins[filepath.Clean(dir)] = append(p.logins[filepath.Clean(dir)], l)
	write(t, filepath.Join(dir, "credentials.db"), "not for reading\n")
}

// LogOut takes them away.
func (p *Gcloud) LogOut(t testing.TB, dir, email string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	dir = filepath.Clean(dir)
	p.logins[dir] = slices.DeleteFunc(p.logins[dir], func(l *login) bool { return l.email == email })
	if len(p.logins[dir]) == 0 {
		_ = os.Remove(filepath.Join(dir, "credentials.db"))
	}
}

// Notice makes every call write a line to stderr, as the real one does about
// updates.
func (p *Gcloud) Notice(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notice = text
}

func (p *Gcloud) call(call fakecloud.Call) fakecloud.Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := newCall(call)
	stdout, failure, code := p.run(c)
	stderr := c.warnings()
	if p.notice != "" {
		stderr = p.notice + "\n" + stderr
	}
	if failure != "" {
		stderr += failure + "\n"
	}
	return fakecloud.Result{Stdout: stdout, Stderr: stderr, Code: code}
}
