// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cloud

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakecloud/github"
)

func TestAPersonLogsInToGitHubWithACode(t *testing.T) {
	t.Parallel()
	r := newGitHub(t, github.Options{DeviceInterval: time.Second})
	app := r.gh.OAuthApp("tool")
	r.configure(githubAccount(fmt.Sprintf("client_id = %q", app.ClientID), `password = "keyring:ghcr.io"`))
	if a := r.get(ghcr); !strings.Contains(a.failure, "regmint login ghcr.io") {
		t.Errorf("before the login: %+v", a)
	}
	r.logIn()
	r.pushPull(ghcrApp + ":1")
	if x := r.regmint("agent", "restart", "--force"); x.code != 0 {
		t.Fatal(x)
	}
	r.mustGet(ghcr)
}

func TestClientsLoginsToGhcrKeepWorking(t *testing.T) { // the sequences of docker, oras and werf
	t.Parallel()
	r := newGitHub(t, github.Options{})
	pat := r.jane.Classic(github.WritePackages)
	if x := r.dockerLogin(ghcr, "jane", pat.Secret); x.code != 0 || x.out+x.err != "" {
		t.Fatalf("docker login: %s", x)
	}
	if a := r.mustGet(ghcr); a.Username != "jane" || a.Secret != pat.Secret {
		t.Errorf("%+v", a)
	}
	r.pushPull(ghcrApp + ":1")
	for _, key := range []string{ghcr, ghcr, "http://ghcr.io", "https://ghcr.io"} { // docker logout
		if x := r.feed(key, "docker-credential-regmint", "erase"); x.code != 0 || x.err != "" {
			t.Errorf("erase %s: %s", key, x)
		}
	}
	if a := r.get(ghcr); !a.notFound {
		t.Errorf("after the logout: %+v", a)
	}
	// docker login without a user asks us, and stores what we answered.
	job := r.gh.Job("acme/app", r.jane, github.Write)
	a := r.mustGet(ghcr, job.Env()...)
	before := r.read(".config/regmint/config.d/regmint.toml")
	if x := r.dockerLogin(ghcr, a.Username, a.Secret, job.Env()...); x.code != 0 {
		t.Errorf("%s", x)
	}
	// werf ci-env github, and docker/login-action.
	if x := r.dockerLogin(ghcr, "jane", job.Token.Secret, job.Env()...); x.code != 0 {
		t.Errorf("%s", x)
	}
	if after := r.read(".config/regmint/config.d/regmint.toml"); after != before {
		t.Errorf("a job's token is not kept: %s", after)
	}
	r.gh.Package("acme/app").Link("acme/app", github.Write)
	r.pushPull(ghcrApp+":1", job.Env()...)
}

func TestPersonalTokensAreSavedWithTheirEnd(t *testing.T) {
	t.Parallel()
	r := newGitHub(t, github.Options{})
	pat := r.jane.Classic(github.WritePackages).Expire(time.Now().Add(48 * time.Hour))
	x := r.feed(pat.Secret, "regmint", "login", ghcr, "--provider", "github", "-u", "jane", "--password-stdin", "--no-wire")
	if x.code != 0 || !strings.Contains(x.err, "logged in to ghcr.io as jane") {
		t.Fatalf("%s", x)
	}
	r.pushPull(ghcrApp + ":1")
	r.eventually("its end is known", func() bool { return r.jsonGet(ghcr)["expires_at"] != nil })
	if y := r.terminal([]line{{"Password or token: ", pat.Secret}}, "regmint", "login", ghcr, "--provider", "github", "-u", "jane", "--no-wire"); y.code != 0 {
		t.Errorf("typed by hand: %s", y)
	}
	fine := r.jane.FineGrained()
	x = r.feed(fine.Secret, "regmint", "login", ghcr, "--provider", "github", "-u", "jane", "--password-stdin", "--no-wire")
	if x.code == 0 || !strings.Contains(x.err, "fine-grained") {
		t.Errorf("%s", x)
	}
	if a := r.mustGet(ghcr); a.Secret != pat.Secret {
		t.Error("a refused login replaced the good one")
	}
}

func TestDockerItselfLogsInToGhcrAndOut(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("docker"); err != nil {
		t.Skip("no docker here: apt-get install docker.io")
	}
	r := newGitHub(t, github.Options{})
	pat := r.jane.Classic(github.WritePackages)
	r.write(".docker/config.json", `{"credsStore":"regmint"}`)
	w := r.with(append(r.craneEnv(), "DOCKER_HOST=unix:///nonexistent/docker.sock")...)
	if x := w.feed(pat.Secret, "docker", "login", "-u", "jane", "--password-stdin", ghcr); x.code != 0 {
		t.Fatalf("docker login: %s", x)
	}
	if a := r.mustGet(ghcr); a.Username != "jane" || a.Secret != pat.Secret {
		t.Errorf("%s", a.Username)
	}
	if text := r.read(".docker/config.json"); strings.Contains(text, pat.Secret) || strings.Contains(text, `"auth":`) {
		t.Error("docker keeps the token itself")
	}
	if x := w.feed("ghp_"+strings.Repeat("x", 36), "docker", "login", "-u", "jane", "--password-stdin", ghcr); x.code == 0 || !strings.Contains(x.err, "denied") {
		t.Errorf("a wrong token: %s", x)
	}
	if x := w.run("docker", "logout", ghcr); x.code != 0 {
		t.Errorf("docker logout: %s", x)
	}
	if a := r.get(ghcr); !a.notFound {
		t.Errorf("after the logout: %+v", a)
	}
	// As a job: docker login without a user takes what we answer.
	job := r.gh.Job("acme/app", r.jane, github.Write)
	w = w.with(job.Env()...)
	w.run("docker", "login", ghcr) // without an engine it ends in an error after the store
	if text := r.read(".config/regmint/config.d/regmint.toml"); strings.Contains(text, ghcr) {
		t.Errorf("a job's token is kept: %s", text)
	}
}
