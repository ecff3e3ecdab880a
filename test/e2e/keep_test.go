// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/regmint/regmint/test/fakeregistry"
)

// stubHelper is a credential helper that keeps one file per host.
const stubHelper = `#!/bin/sh
dir="$HOME/stub"
mkdir -p "$dir"
name() { printf %s "$1" | tr -c 'a-zA-Z0-9\n' _; }
case "$1" in
store) json=$(cat); host=$(printf %s "$json" | sed 's/.*"ServerURL":"\([^"]*\)".*/\1/'); printf %s "$json" >"$dir/$(name "$host")" ;;
get) read -r host || true; [ -f "$dir/$(name "$host")" ] || { echo "credentials not found in native keychain"; exit 1; }; cat "$dir/$(name "$host")" ;;
erase) read -r host || true; rm -f "$dir/$(name "$host")" ;;
list) echo '{}' ;;
esac
`

// holders are people who have logins before regmint comes.
var holders = []struct {
	name  string
	setUp func(t *testing.T, w *world, r *registry)
}{
	{"credsStore pass", func(t *testing.T, w *world, r *registry) {
		w.pass(t)
		w.write(".docker/config.json", "{\n\t\"credsStore\": \"pass\",\n\t\"psFormat\": \"table {{.ID}}\"\n}")
		must(t, w, cmd("docker", "login", "-u", r.user, "--password-stdin", r.host).in(r.password))
	}},
	{"credHelpers for one host", func(t *testing.T, w *world, r *registry) {
		w.stub(t)
		w.write(".docker/config.json", fmt.Sprintf("{\"credHelpers\":{\n  %q: \"stub\"},\n\"HttpHeaders\":{\"X-Mine\":\"1\"}}\n", r.host))
		must(t, w, cmd("docker", "login", "-u", r.user, "--password-stdin", r.host).in(r.password))
	}},
	{"plain auths", func(_ *testing.T, w *world, r *registry) {
		auth := base64.StdEncoding.EncodeToString([]byte(r.user + ":" + r.password))
		w.write(".docker/config.json", fmt.Sprintf("{ \"auths\": {%q:   {\"auth\": %q}, \"other.example\": {\"auth\": \"YTpi\"}} }", r.host, auth))
	}},
}

// stub puts the stub helper on the PATH.
func (w *world) stub(t *testing.T) {
	t.Helper()
	path := w.write("bin/docker-credential-stub", stubHelper)
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	w.env["PATH"] = w.path("bin") + ":" + w.env["PATH"]
}

// pass puts docker-credential-pass on the PATH, with a store that no
// passphrase protects.
func (w *world) pass(t *testing.T) {
	t.Helper()
	need(t, "pass", "gpg")
	build := exec.Command("go", "build", "-o", w.path("bin", "docker-credential-pass"), "github.com/docker/docker-credential-helpers/pass/cmd")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("docker-credential-pass: %v\n%s", err, out)
	}
	w.env["PATH"] = w.path("bin") + ":" + w.env["PATH"]
	w.env["GNUPGHOME"], w.env["PASSWORD_STORE_DIR"] = w.path("gpg"), w.path("pass")
	w.write("gpg/gpg-agent.conf", "")
	if err := os.Chmod(w.path("gpg"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.run(cmd("gpgconf", "--kill", "all")) })
	must(t, w, cmd("gpg", "--batch", "--passphrase", "", "--quick-gen-key", "person@example.test", "default", "default", "never"))
	must(t, w, cmd("pass", "init", "person@example.test"))
}

// TestLoginsThatWereThereKeepWorking: before, while regmint is installed, in
// jobs, and after it went; the file is then as it was, to the byte.
func TestLoginsThatWereThereKeepWorking(t *testing.T) {
	for _, h := range holders {
		t.Run(h.name, func(t *testing.T) {
			need(t, "docker", "dockerd", "crane")
			w := newWorld(t)
			w.dockerEngine()
			r, own := startToken(t), startMinted(t)
			w.configure(own.account)
			h.setUp(t, w, r)
			before := w.read(".docker/config.json")
			stage := func(name string, s shell, ours bool) {
				t.Helper()
				for _, c := range clients {
					if find(c.needs[0]) == "" || c.name == "buildx" || c.name == "helm" {
						continue // they resolve as docker does
					}
					// These never ask a credsStore: no login before either. Inside a
					// job podman and buildah do, by its registries.conf.
					podmanKin := c.name == "podman" || c.name == "buildah"
					if strings.HasPrefix(h.name, "credsStore") && (!ours && podmanKin || name != "installed" && name != "job" && c.name == "skopeo") {
						continue
					}
					c.ready(t, w)
					ref := r.host + "/kept/" + c.name + "-" + name + ":1"
					if res := do(s, c.push(w, ref)); res.code != 0 {
						t.Errorf("%s: %s: exit %d\n%s", name, c.name, res.code, res.out)
					}
					if ours {
						if res := do(s, c.push(w, own.host+"/ours/"+c.name+":1")); res.code != 0 {
							t.Errorf("%s: %s, account of ours: exit %d\n%s", name, c.name, res.code, res.out)
						}
					}
				}
			}
			stage("before", w, false)
			stage("job-before", w.openJob(t, "-q"), true)
			must(t, w, cmd("regmint", "install", "--containers"))
			if w.read(".docker/config.json") == before {
				t.Fatal("install changed nothing")
			}
			stage("installed", w, true)
			stage("job", w.openJob(t, "-q"), true)
			only := w.openJob(t, "-q", "--only", "-r", own.host)
			if res := do(only, clients[0].push(w, r.host+"/kept/only:1")); res.code == 0 {
				t.Error("--only carried a login over")
			}
			must(t, w, cmd("regmint", "uninstall"))
			if after := w.read(".docker/config.json"); after != before {
				t.Errorf("config.json is not as it was:\n%s\nwant:\n%s", after, before)
			}
			stage("after", w, false)
			if left, _ := filepath.Glob(w.path(".config", "containers", "registries.conf.d", "*regmint*")); len(left) > 0 {
				t.Errorf("uninstall left %q", left)
			}
		})
	}
}

// TestALoginOfTheirsThatChangesWhileInstalled goes to the helper that had it,
// and is there after uninstall.
func TestALoginOfTheirsThatChangesWhileInstalled(t *testing.T) {
	need(t, "docker", "dockerd", "crane")
	w := newWorld(t)
	w.dockerEngine()
	w.stub(t)
	r := startToken(t)
	w.configure()
	w.write(".docker/config.json", `{"credsStore":"stub"}`)
	must(t, w, cmd("docker", "login", "-u", r.user, "--password-stdin", r.host).in(r.password))
	clients[0].ready(t, w)
	must(t, w, cmd("regmint", "install"))
	r.server.AddUser(fakeregistry.User{Name: "zoe", Password: "battery-staple"})
	must(t, w, cmd("docker", "login", "-u", "zoe", "--password-stdin", r.host).in("battery-staple"))
	must(t, w, last(clients[0].push(w, r.host+"/kept/changed:1")))
	must(t, w, cmd("regmint", "uninstall"))
	must(t, w, last(clients[0].push(w, r.host+"/kept/after:1")))
	for _, repo := range []string{"kept/changed", "kept/after"} {
		if who := r.server.Stats().Who(repo, "push"); len(who) != 1 || who[0] != "zoe" {
			t.Errorf("%s was pushed by %q, want zoe", repo, who)
		}
	}
	must(t, w, cmd("docker", "logout", r.host))
	mustFail(t, w, last(clients[0].push(w, r.host+"/kept/gone:1")))
}
