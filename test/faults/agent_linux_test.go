// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/test/fakeregistry"
)

// process is a running process of a world.
type process struct {
	pid     int
	command string
}

// processes are those that have the world's HOME in their command line, their
// environment or as their working directory.
func (w *world) processes() []process {
	var out []process
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(d))
		line, _ := os.ReadFile(filepath.Join(d, "cmdline"))
		env, _ := os.ReadFile(filepath.Join(d, "environ"))
		cwd, _ := os.Readlink(filepath.Join(d, "cwd"))
		if pid == os.Getpid() || len(line) == 0 { // a zombie has no command line
			continue
		}
		if strings.Contains(string(line)+string(env)+cwd+"/", w.home+"/") {
			out = append(out, process{pid, strings.ReplaceAll(strings.TrimRight(string(line), "\x00"), "\x00", " ")})
		}
	}
	return out
}

// agents are the pids of agents.
func (w *world) agents() []int {
	var out []int
	for _, p := range w.processes() {
		if strings.Contains(p.command, "regmint agent run") {
			out = append(out, p.pid)
		}
	}
	return out
}

// listeners are the inodes of the sockets that listen at path, as the kernel
// knows them.
func listeners(t testing.TB, path string) []string {
	t.Helper()
	b, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		t.Fatal(err)
	}
	var inodes []string
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) == 8 && f[7] == path && f[3] == "00010000" { // __SO_ACCEPTCON
			inodes = append(inodes, f[6])
		}
	}
	slices.Sort(inodes)
	return inodes
}

// status is the agent's own word.
func (w *world) status() api.Status {
	w.t.Helper()
	var st api.Status
	out := w.must(cmd("regmint", "status", "--format", "json"))
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		w.t.Fatalf("regmint status: %v\n%s", err, out)
	}
	return st
}

// agent starts the agent where none runs and returns its pid.
func (w *world) agent() int {
	w.t.Helper()
	w.must(cmd("regmint", "agent", "start"))
	return w.status().PID
}

// paths are the directories of the world's agent.
func (w *world) paths() api.Paths {
	return api.Paths{Runtime: w.env["REGMINT_RUNTIME_DIR"], State: w.path(".local", "state", "regmint")}
}

// jobs are the job directories, whatever state they are in.
func (w *world) jobs() []string {
	var out []string
	entries, _ := os.ReadDir(w.paths().JobsDir())
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, e.Name())
		}
	}
	return out
}

// openJob waits for the one job whose socket answers, and returns its directory.
func (w *world) openJob() string {
	w.t.Helper()
	dir := ""
	w.eventually("one open job", func() bool {
		sockets, _ := filepath.Glob(filepath.Join(w.paths().JobsDir(), "*", "s"))
		if len(sockets) == 1 {
			dir = filepath.Dir(sockets[0])
		}
		return dir != ""
	})
	return dir
}

// clean fails the test unless every job directory goes away.
func (w *world) clean() {
	w.t.Helper()
	w.eventually("no job directory is left", func() bool { return len(w.jobs()) == 0 })
}

// alive reports a process of which a thread runs. One that is dead and not yet
// waited for does not.
func alive(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, file := range threads {
		b, err := os.ReadFile(file)
		_, state, ok := strings.Cut(string(b), ") ")
		if err == nil && ok && !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X") {
			return true
		}
	}
	return false
}

// startRegistry starts a registry that ends with the test.
func startRegistry(t testing.TB, o fakeregistry.Options) *fakeregistry.Server {
	t.Helper()
	s, err := fakeregistry.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// issuer starts a registry whose passwords /issue makes, one client a name:
// NAME with the secret NAME-secret gets passwords of the user NAME-bot.
func issuer(t testing.TB, o fakeregistry.Options, names ...string) *fakeregistry.Server {
	t.Helper()
	for _, n := range names {
		o.Issue.Clients = append(o.Issue.Clients, fakeregistry.Client{ID: n, Secret: n + "-secret", User: n + "-bot"})
	}
	return startRegistry(t, o)
}

// minted is the account of a client of an issuer for its hosts; more are lines
// of TOML.
func (w *world) minted(s *fakeregistry.Server, name string, more ...string) string {
	w.t.Helper()
	secret := w.write("secrets/"+name, name+"-secret")
	return mintedWith(s, name, name, "file:"+secret, more...)
}

// mintedWith is minted with another reference to the secret.
func mintedWith(s *fakeregistry.Server, name, client, secret string, more ...string) string {
	return `
[[account]]
name = "` + name + `"
provider = "http-exchange"
hosts = ["` + s.Host() + `"]
url = "` + s.IssueURL() + `"
secret = "` + secret + `"
username_path = "username"
password_path = "password"
expires_in_path = "expires_in"
` + strings.Join(more, "\n") + `
[account.json]
grant_type = "client_credentials"
client_id = "` + client + `"
client_secret = "{{.Secret}}"
`
}
