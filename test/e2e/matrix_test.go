// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/regmint/regmint/test/fakeregistry"
)

// ways are how a client comes to ask regmint.
var ways = []struct {
	name   string
	inJob  bool
	target bool
	setUp  func(t *testing.T, w *world, r *registry) shell
	// own: the client's own login is used.
	own bool
}{
	{name: "installed", own: true, setUp: func(t *testing.T, w *world, _ *registry) shell {
		must(t, w, cmd("regmint", "install", "--containers"))
		return w
	}},
	{name: "login --wire", setUp: func(t *testing.T, w *world, r *registry) shell {
		if r.password == "" {
			t.Skip("an account that mints needs no login")
		}
		must(t, w, cmd("regmint", "login", r.host, "-u", r.user, "--password-stdin", "--wire").in(r.password+"\n"))
		return w
	}},
	{name: "job", own: true, inJob: true, setUp: func(t *testing.T, w *world, _ *registry) shell {
		return w.openJob(t)
	}},
	{name: "job with a target", own: true, inJob: true, target: true, setUp: func(t *testing.T, w *world, r *registry) shell {
		return w.openJob(t, "-r", r.host)
	}},
}

// TestEveryClientLogsInPushesAndPulls is the matrix: client × registry × way.
func TestEveryClientLogsInPushesAndPulls(t *testing.T) {
	for _, k := range kinds {
		for _, way := range ways {
			if (way.name == "login --wire" || way.target) && k.name != "password" && k.name != "token server" {
				continue // the same files as with any other registry
			}
			t.Run(k.name+", "+way.name, func(t *testing.T) {
				w := newWorld(t)
				r := k.start(t)
				r.kind = k.name
				w.configure(r.account)
				w.dockerEngine() // before a job, which takes its environment along
				s := way.setUp(t, w, r)
				for _, c := range clients {
					t.Run(c.name, func(t *testing.T) {
						c.ready(t, w)
						m := meeting{t: t, w: w, s: s, c: c, r: r, way: way.name, inJob: way.inJob, own: way.own && r.password != ""}
						m.elsewhere = m.own && way.inJob && !way.target && c.byName
						m.whole()
					})
				}
				w.noSecretOnDisk(t, r)
			})
		}
	}
}

// meeting is one client at one registry.
type meeting struct {
	t     *testing.T
	w     *world
	s     shell
	c     client
	r     *registry
	way   string
	inJob bool
	own   bool
	// elsewhere: the client keeps this login where regmint does not see it.
	elsewhere bool
}

func (m meeting) shape() string {
	if m.way == "login --wire" {
		return wired
	}
	return whole
}

func (m meeting) ref() string {
	return m.r.host + "/e2e/" + m.c.name + "-" + strings.ReplaceAll(strings.ReplaceAll(m.way, " ", "-"), "--", "") + ":1"
}

// whole is login, push, pull and logout.
func (m meeting) whole() {
	m.t.Helper()
	if m.own {
		mustFail(m.t, m.s, last(m.c.push(m.w, m.ref()))) // nobody is logged in yet
		m.login()
	}
	for _, op := range []struct {
		name string
		do   []command
	}{{"push", m.c.push(m.w, m.ref())}, {"pull", m.c.pull(m.w, m.ref())}} {
		r := do(m.s, op.do)
		if r.code != 0 {
			m.t.Fatalf("%s: exit %d\n%s", last(op.do), r.code, r.out)
		}
		keys := m.w.keys(r.at)
		if m.elsewhere {
			continue
		}
		report.asked(m.c.name, m.shape(), op.name, m.r, keys)
		if len(keys) == 0 {
			m.t.Errorf("%s: regmint was not asked", last(op.do))
		}
	}
	if s := m.r.server; s != nil {
		repo := strings.TrimSuffix(strings.TrimPrefix(m.ref(), m.r.host+"/"), ":1")
		if m.c.name == "helm" {
			repo += "/demo"
		}
		if who := s.Stats().Who(repo, "push"); !slices.Equal(who, []string{m.r.user}) {
			m.t.Errorf("%s was pushed by %q, want %q", repo, who, m.r.user)
		}
	}
	if m.own {
		must(m.t, m.s, m.logout())
		mustFail(m.t, m.s, last(m.c.pull(m.w, m.ref())))
		if out := mustFail(m.t, m.s, cmd("regmint", "get", m.r.host)); !strings.Contains(out, "no account") {
			m.t.Errorf("after a logout regmint get says: %s", out)
		}
	}
}

// login is the client's own, or regmint's where the client keeps its logins
// elsewhere.
func (m meeting) login() {
	m.t.Helper()
	c := m.c.login(m.r.host, m.r.user, m.inJob)
	if c == nil {
		must(m.t, m.s, cmd("regmint", "login", m.r.host, "-u", m.r.user, "--password-stdin").in(m.r.password+"\n"))
		return
	}
	must(m.t, m.s, c.in(m.r.password+"\n"))
}

func (m meeting) logout() command {
	if m.c.login(m.r.host, m.r.user, m.inJob) == nil {
		return cmd("regmint", "logout", m.r.host)
	}
	return m.c.logout(m.r.host)
}

func last(list []command) command { return list[len(list)-1] }

// noSecretOnDisk looks for what the registry has known as a secret in every
// file of HOME but the directories of open jobs.
func (w *world) noSecretOnDisk(t *testing.T, r *registry) {
	t.Helper()
	secrets := []string{"correct-horse"}
	if r.server != nil {
		secrets = append(secrets, r.server.Secrets()...)
	}
	for _, s := range secrets {
		secrets = append(secrets, base64.StdEncoding.EncodeToString([]byte(r.user+":"+s)))
	}
	files := 0
	err := filepath.WalkDir(w.home, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasPrefix(path, w.path("r")+"/") {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		for _, s := range secrets {
			if bytes.Contains(text, []byte(s)) {
				t.Errorf("%s holds a secret", path)
				break
			}
		}
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("%d files of HOME were read: %v", files, err)
	}
}

// TestALoginThatWouldNotBeUsedSaysSo: against an account of the configuration
// docker, crane and oras fail; podman and its kin show why, then keep the login
// in a file of their own.
func TestALoginThatWouldNotBeUsedSaysSo(t *testing.T) {
	w := newWorld(t)
	r := startMintedToken(t)
	r.server.AddUser(fakeregistry.User{Name: "ann", Password: "correct-horse"})
	w.configure(r.account)
	w.dockerEngine()
	must(t, w, cmd("regmint", "install", "--containers"))
	for _, c := range clients {
		if c.name == "buildx" || c.name == "helm" {
			continue // docker's, and a file of its own
		}
		t.Run(c.name, func(t *testing.T) {
			c.ready(t, w)
			res := w.run(c.login(r.host, "ann", false).in("correct-horse\n"))
			if !strings.Contains(res.out, "account bot") {
				t.Errorf("the account is not named:\n%s", res.out)
			}
			kin := c.name == "skopeo" || c.name == "podman" || c.name == "buildah"
			if (res.code == 0) != kin {
				t.Errorf("exit %d\n%s", res.code, res.out)
			}
			if got := do(w, c.push(w, r.host+"/e2e/base:1")); got.code != 0 {
				t.Errorf("exit %d\n%s", got.code, got.out)
			}
			if who := r.server.Stats().Who("e2e/base", "push"); !slices.Equal(who, []string{r.user}) {
				t.Errorf("pushed by %q, want %s", who, r.user)
			}
		})
	}
}
