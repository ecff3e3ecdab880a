// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// The logins of the world. The secret holds what shells, TOML, JSON and env
// files like to break.
var (
	localLogin = Login{"robot$team+ci", `pa$$'"\%#=!word`}
	hubLogin   = Login{"hubuser", "hub-access-token"}
)

const (
	brokenHost = "broken.registry.test"
	hubHost    = "docker.io"
	image      = "/team/app"
)

// world is the surroundings of one test: nothing of the machine's own
// configuration or identities is visible in it.
type world struct {
	t         *testing.T
	dir       string
	host      string // the registry on loopback
	dockerDir string
}

// newWorld isolates the environment, starts the registry and, with accounts,
// configures one for it, one for Docker Hub and one that always fails.
func newWorld(t *testing.T, accounts bool) *world {
	t.Helper()
	// Not t.TempDir: its name is too long for a socket's path.
	dir, err := os.MkdirTemp("", "rm-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	w := &world{t: t, dir: dir, dockerDir: filepath.Join(dir, "docker")}
	w.isolate()
	srv := httptest.NewServer(http.HandlerFunc(registry))
	t.Cleanup(srv.Close)
	w.host = strings.TrimPrefix(srv.URL, "http://")
	w.configure(accounts)
	t.Cleanup(w.stopAgent)
	return w
}

// registry is the base of the distribution API behind basic auth.
func registry(rw http.ResponseWriter, r *http.Request) {
	user, secret, ok := r.BasicAuth()
	if !ok || (user == localLogin.User && secret != localLogin.Secret) {
		rw.Header().Set("WWW-Authenticate", `Basic realm="rig"`)
		http.Error(rw, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
		return
	}
	rw.WriteHeader(http.StatusOK)
}

// isolate gives the process an environment of its own until the test ends:
// the libraries under test and the helper read it.
func (w *world) isolate() {
	keep := map[string]bool{
		"PATH": true, "LANG": true, "TMPDIR": true, "TEMP": true, "TMP": true, "SYSTEMROOT": true,
		"USER": true, "LOGNAME": true, "GOCOVERDIR": true,
	}
	for _, kv := range os.Environ() {
		name, value, _ := strings.Cut(kv, "=")
		if name == "" || keep[strings.ToUpper(name)] {
			continue
		}
		w.t.Setenv(name, value) // restored when the test ends
		if err := os.Unsetenv(name); err != nil {
			w.t.Fatal(err)
		}
	}
	for name, sub := range map[string]string{
		"HOME": "home", "USERPROFILE": "home", "APPDATA": "home/roaming", "LOCALAPPDATA": "home/local",
		"XDG_CONFIG_HOME": "home/.config", "XDG_STATE_HOME": "home/.state", "XDG_RUNTIME_DIR": "xdg",
		"REGMINT_RUNTIME_DIR": "r", "REGMINT_STATE_DIR": "state", "DOCKER_CONFIG": "docker",
	} {
		dir := filepath.Join(w.dir, filepath.FromSlash(sub))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			w.t.Fatal(err)
		}
		w.t.Setenv(name, dir)
	}
	w.t.Setenv("REGMINT_CONFIG", filepath.Join(w.dir, "config.toml"))
	w.t.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
}

// configure writes config.toml. Everything but loopback goes to a proxy that
// does not exist: nothing leaves the machine.
func (w *world) configure(accounts bool) {
	text := "[agent]\nstore = \"file\"\n\n[network]\nhttps_proxy = \"http://127.0.0.1:9\"\nno_proxy = \"127.0.0.1\"\n"
	if accounts {
		for _, a := range []struct {
			host string
			l    Login
		}{{w.host, localLogin}, {hubHost, hubLogin}, {brokenHost, Login{User: "ci"}}} {
			name := strings.NewReplacer(".", "-", ":", "-").Replace(a.host)
			path := filepath.Join(w.dir, name+".secret")
			if a.l.Secret != "" {
				w.write(path, a.l.Secret)
			}
			text += fmt.Sprintf("\n[[account]]\nname = %q\nprovider = \"generic\"\nhosts = [%q]\nusername = %q\npassword = %q\n",
				name, a.host, a.l.User, "file:"+path)
		}
	}
	w.write(filepath.Join(w.dir, "config.toml"), text)
}

func (w *world) write(path, text string) {
	w.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// docker writes config.json: a default store, and one helper for each host.
func (w *world) docker(store string, helpers map[string]string) {
	w.t.Helper()
	c := map[string]any{"auths": map[string]any{}}
	if store != "" {
		c["credsStore"] = store
	}
	if len(helpers) > 0 {
		c["credHelpers"] = helpers
	}
	text, err := json.Marshal(c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(filepath.Join(w.dockerDir, "config.json"), string(text))
}

// shapes are the ways to name the helper; the last is the one regmint writes.
func (w *world) shapes() []shape {
	hosts := func(keys ...string) map[string]string {
		m := map[string]string{}
		for _, k := range append(keys, w.host, brokenHost, "unknown.registry.test") {
			m[k] = "regmint"
		}
		return m
	}
	return []shape{
		{"credsStore", "regmint", nil},
		{"credHelpers", "", hosts("docker.io", "index.docker.io", "https://index.docker.io/v1/")},
		{"both, as regmint writes it", "regmint", hosts("docker.io", "index.docker.io")},
	}
}

type shape struct {
	name    string
	store   string
	helpers map[string]string
}

// regmint runs the command line and returns its stdout.
func (w *world) regmint(env []string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, exe("regmint")), args...)
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("regmint %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// stopAgent ends the agent that the first get started.
func (w *world) stopAgent() {
	if _, err := w.regmint(nil, "agent", "stop"); err != nil {
		w.t.Logf("stopping the agent: %v", err)
	}
}

// inJob sends the test binary on an errand inside `regmint run`.
func (w *world) inJob(e errand, flags ...string) found {
	w.t.Helper()
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := json.Marshal(e)
	if err != nil {
		w.t.Fatal(err)
	}
	args := append(append([]string{"run"}, flags...), "--", self)
	out, err := w.regmint([]string{childEnv + "=" + string(text)}, args...)
	if err != nil {
		w.t.Fatal(err)
	}
	var f found
	if err := json.Unmarshal([]byte(out), &f); err != nil {
		w.t.Fatalf("%v in %q (%s)", err, out, runtime.GOOS)
	}
	return f
}
