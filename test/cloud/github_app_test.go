// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cloud

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/regmint/regmint/test/fakecloud/github"
)

// minted is an installation token as GitHub knows it.
func (r *githubRig) minted(secret string) github.Minted {
	r.t.Helper()
	for _, m := range r.gh.Installations() {
		if m.Secret == secret {
			return m
		}
	}
	r.t.Fatal("GitHub made no such token")
	return github.Minted{}
}

// living counts the installation tokens that work.
func (r *githubRig) living() int {
	n := 0
	for _, m := range r.gh.Installations() {
		if !m.Revoked {
			n++
		}
	}
	return n
}

// app configures an App that is installed on acme.
func (r *githubRig) app() {
	r.t.Helper()
	r.gh.Package("acme/app")
	a := r.gh.App("minter")
	a.Install("acme", github.Write, "app", "other")
	r.configure(githubAccount(fmt.Sprintf("app_id = %q", strconv.Itoa(a.ID)), r.secret("private_key", strings.ReplaceAll(a.Key, "\n", `\n`))))
}

func TestAnAppsTokenIsNarrowedAndEndsWithItsJob(t *testing.T) {
	t.Parallel()
	r := newGitHub(t, github.Options{})
	r.app()
	out := r.must("regmint", "run", "-r", ghcrApp+"=pull", "--", "regmint", "get", ghcrApp, "--format", "json")
	var got struct {
		Secret string `json:"secret"`
		Wider  bool   `json:"wider"`
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.Secret == "" || got.Wider {
		t.Fatalf("%v: wider %v", err, got.Wider)
	}
	find := func() github.Minted { return r.minted(got.Secret) }
	if m := find(); m.Packages != github.Read || !slices.Equal(m.Repositories, []string{"app"}) {
		t.Errorf("%+v", m)
	}
	r.eventually("the job's token is revoked", func() bool { return find().Revoked })
	// Outside of jobs there is one for all, and nothing takes it away.
	x := r.mustGet(ghcr)
	if y := r.mustGet(ghcr); x.Secret != y.Secret || x.Username != "x-access-token" {
		t.Errorf("%s", x.Username)
	}
	// The registry lets it log in, and denies the pull; status says so.
	if err := r.pull(ghcrApp + ":1"); status(err) != http.StatusForbidden {
		t.Errorf("a private pull: %v", err)
	}
	if s := r.must("regmint", "status", "--format", "json"); !strings.Contains(s, "private images may be denied to it") {
		t.Errorf("status does not say what such tokens are good for: %s", s)
	}
}

func TestTheTokenOfACleanUpEndsWithItsJob(t *testing.T) {
	t.Parallel()
	r := newGitHub(t, github.Options{})
	r.app()
	out := r.must("regmint", "run", "-q", "-r", ghcrApp+"=delete", "--", "regmint", "get", ghcrApp+"=delete", "--native", "--format", "bare")
	m := r.minted(strings.TrimSpace(out))
	if m.Packages != github.Write || !slices.Equal(m.Repositories, []string{"app"}) {
		t.Errorf("%s on %q", m.Packages, m.Repositories)
	}
	r.eventually("the job's token is revoked", func() bool { return r.living() == 0 })
}

// GitHub lists no installation tokens: the journal holds them, sealed.
func TestAnAppsTokensOfAKilledJobAreRevoked(t *testing.T) {
	t.Parallel()
	for name, agent := range map[string]bool{"the wrapper": false, "the wrapper and the agent": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newGitHub(t, github.Options{})
			r.app()
			cmd := exec.Command(r.find("regmint"), "run", "-q", "-r", ghcrApp+"=delete", "--", "sh", "-c",
				"printf %s "+ghcr+" | docker-credential-regmint get >"+r.path("first")+" && regmint get "+ghcrApp+"=delete --native --format bare >"+r.path("second")+" && touch "+r.path("asked")+"; exec sleep 600")
			cmd.Env, cmd.Dir, cmd.SysProcAttr = r.environ(), r.home, &syscall.SysProcAttr{Setpgid: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			kill := sync.OnceFunc(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); _ = cmd.Wait() })
			defer kill()
			r.eventually("the job has asked", func() bool { _, err := os.Stat(r.path("asked")); return err == nil })
			if n := r.living(); n != 2 {
				t.Fatalf("%d tokens of the job", n)
			}
			for _, f := range r.journal() {
				for _, m := range r.gh.Installations() {
					if strings.Contains(r.read(f), m.Secret) {
						t.Errorf("%s holds a token", f)
					}
				}
			}
			if agent {
				r.killAgent(cmd.Process.Pid)
			}
			kill()
			if agent {
				r.must("regmint", "agent", "start")
			}
			r.eventually("the tokens are revoked", func() bool { return r.living() == 0 })
			r.eventually("the journal is empty", func() bool { return len(r.journal()) == 0 })
		})
	}
}

// journal lists what is to be taken back, as files of HOME.
func (r *githubRig) journal() []string {
	r.t.Helper()
	const dir = ".local/state/regmint/revoke"
	files, err := os.ReadDir(r.path(dir))
	if err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	var out []string
	for _, f := range files {
		if strings.HasSuffix(f.Name(), ".json") && !strings.HasPrefix(f.Name(), ".") {
			out = append(out, dir+"/"+f.Name())
		}
	}
	return out
}

// killAgent kills the agent while a job's processes stand still: else the
// wrapper sees it go and starts the next one.
func (r *githubRig) killAgent(group int) {
	r.t.Helper()
	if err := syscall.Kill(-group, syscall.SIGSTOP); err != nil {
		r.t.Fatal(err)
	}
	var st struct {
		PID int `json:"pid"`
	}
	if err := json.Unmarshal([]byte(r.must("regmint", "status", "--format", "json")), &st); err != nil || st.PID < 2 {
		r.t.Fatalf("pid %d, %v", st.PID, err)
	}
	if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
		r.t.Fatal(err)
	}
}
