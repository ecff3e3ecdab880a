// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/test/home"
)

// commandLimit bounds every command that a test starts.
const commandLimit = home.Patience

// world is a person with a HOME of their own: nothing of the machine's
// configuration reaches it, and no agent outlives it.
type world struct {
	t    *testing.T
	home string
	env  map[string]string
}

// newWorld makes the person. The path is short, as a socket lies below it.
func newWorld(t *testing.T) *world {
	t.Helper()
	home, err := os.MkdirTemp("/tmp", "rm")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, home: home}
	w.env = map[string]string{
		"HOME": home, "USER": "person", "LANG": "C.UTF-8", "TERM": "dumb", "TMPDIR": w.path("tmp"),
		"PATH":                           bin + ":" + os.Getenv("PATH") + ":/usr/sbin:/sbin",
		"REGMINT_RUNTIME_DIR":            w.path("r"),
		"XDG_RUNTIME_DIR":                w.path("x"),
		"CONTAINERS_STORAGE_CONF":        w.path("storage.conf"),
		"CONTAINERS_CONF":                w.path("containers.conf"),
		"BUILDAH_ISOLATION":              "chroot",
		"STORAGE_DRIVER":                 "vfs",
		"DOCKER_BUILDKIT":                "0",
		"DOCKER_CLI_HINTS":               "false",
		"BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
	}
	for _, dir := range []string{"x", "tmp", "tmp/libpod", ".docker/cli-plugins"} {
		if err := os.MkdirAll(w.path(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if plugin, err := exec.LookPath("docker-buildx"); err == nil {
		if err := os.Symlink(plugin, w.path(".docker", "cli-plugins", "docker-buildx")); err != nil {
			t.Fatal(err)
		}
	}
	w.write("storage.conf", fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = %q\nrunroot = %q\n", w.path("storage"), w.path("x", "storage")))
	w.write("containers.conf", fmt.Sprintf("[engine]\ntmp_dir = %q\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\n", w.path("tmp", "libpod")))
	t.Cleanup(w.close)
	return w
}

// close ends the agent and takes everything away.
func (w *world) close() {
	r := w.run(command{args: []string{"regmint", "agent", "stop", "--force"}})
	if r.code != 0 {
		w.t.Errorf("the agent could not be stopped: %s", r.out)
	}
	if left := w.jobsLeft(); len(left) > 0 {
		w.t.Errorf("job directories are left: %q", left)
	}
	if w.t.Failed() {
		if log, err := os.ReadFile(w.path(".local", "state", "regmint", "agent.log")); err == nil && len(log) > 0 {
			w.t.Logf("the agent's log:\n%s", tail(string(log), 4000))
		}
	}
	if err := os.RemoveAll(w.home); err != nil {
		w.t.Errorf("%s is left: %v", w.home, err)
	}
}

// jobsLeft are the job directories that do not go away; an agent that was told
// to stop may still be at it.
func (w *world) jobsLeft() (left []string) {
	for range 100 {
		if left, _ = filepath.Glob(w.path("r", "j", "*", "job.json")); len(left) == 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return left
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// at is the world's HOME.
func (w *world) at() home.Home { return home.Home{T: w.t, Dir: w.home, Env: w.env} }

func (w *world) path(elem ...string) string { return w.at().Path(elem...) }

func (w *world) write(name, text string) string { w.t.Helper(); return w.at().Write(name, text) }

func (w *world) read(name string) string { w.t.Helper(); return w.at().Read(name) }

func (w *world) environ(extra ...string) []string { return w.at().Environ(extra...) }

func (w *world) find(name string) string { w.t.Helper(); return w.at().Find(name) }

// configure writes config.toml: an age file for secrets and the given accounts.
func (w *world) configure(accounts ...string) {
	w.t.Helper()
	w.write(".config/regmint/config.toml", "[agent]\nstore = \"file\"\n"+strings.Join(accounts, "\n"))
}

// command is a program with what it reads.
type command struct {
	args  []string
	stdin string
	env   []string // NAME=value, over the world's
	limit time.Duration
}

func cmd(args ...string) command { return command{args: args} }

func (c command) in(stdin string) command { c.stdin = stdin; return c }

func (c command) with(env ...string) command { c.env = append(slices.Clone(c.env), env...); return c }

// within is a command that may take longer than others.
func (c command) within(d time.Duration) command { c.limit = d; return c }

// bound is when it is given up.
func (c command) bound() time.Duration { return max(c.limit, commandLimit) }

func (c command) String() string { return strings.Join(c.args, " ") }

// result is what a person sees of a command: both streams in one.
type result struct {
	out  string
	code int
	at   time.Time
}

// shell is a place to run commands in: the person's own, or a job.
type shell interface{ run(c command) result }

// run runs a command of the person's, outside of jobs.
func (w *world) run(c command) result {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), c.bound())
	defer cancel()
	var out bytes.Buffer
	p := w.process(ctx, c)
	p.Stdout, p.Stderr = &out, &out
	r := result{at: time.Now()}
	err := p.Run()
	r.out, r.code = out.String(), p.ProcessState.ExitCode()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		w.t.Errorf("%s: %v\n%s", c, errors.Join(err, ctx.Err()), r.out)
		r.code = -1
	}
	return r
}

// process is a command of its own process group, which ends with ctx.
func (w *world) process(ctx context.Context, c command) *exec.Cmd {
	p := exec.CommandContext(ctx, w.find(c.args[0]), c.args[1:]...)
	p.Args[0] = c.args[0]
	p.Dir = w.home
	p.Env = w.environ(c.env...)
	p.Stdin = w.at().Input(c.stdin)
	p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.Cancel = func() error { return syscall.Kill(-p.Process.Pid, syscall.SIGKILL) }
	p.WaitDelay = 5 * time.Second
	return p
}

// must fails the test where the command fails.
func must(t *testing.T, s shell, c command) string {
	t.Helper()
	r := s.run(c)
	if r.code != 0 {
		t.Fatalf("%s: exit %d\n%s", c, r.code, r.out)
	}
	return r.out
}

// mustFail fails the test where the command works.
func mustFail(t *testing.T, s shell, c command) string {
	t.Helper()
	r := s.run(c)
	if r.code == 0 {
		t.Fatalf("%s: worked, and should not have\n%s", c, r.out)
	}
	return r.out
}

// recent are the answers that the agent gave since a moment.
func (w *world) recent(since time.Time) []api.Recent {
	w.t.Helper()
	var doc struct {
		Schema int
		Recent []api.Recent
	}
	out := must(w.t, w, cmd("regmint", "status", "--recent", "--format", "json"))
	if err := json.Unmarshal([]byte(out), &doc); err != nil || doc.Schema != 1 {
		w.t.Fatalf("regmint status --recent: %v\n%s", err, out)
	}
	return slices.DeleteFunc(doc.Recent, func(r api.Recent) bool { return r.Time.Before(since) })
}

// keys are the keys that clients asked for since a moment, in order.
func (w *world) keys(since time.Time) []string {
	var out []string
	for _, r := range w.recent(since) {
		out = append(out, r.Key)
	}
	return out
}

// need skips the test where a program is missing.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if find(p) == "" {
			t.Skipf("%s is not installed: test/tools/clients.sh --apt .cache/clients", p)
		}
	}
}

// find is a program on the PATH or where Debian puts daemons.
func find(program string) string {
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path
		}
	}
	return ""
}
