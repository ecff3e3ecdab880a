// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"bytes"
	"context"
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

	"github.com/regmint/regmint/test/home"
)

// patience bounds every wait: for a command, for something to come true.
const patience = home.Patience

// world is a person with a HOME of their own. Nothing of this machine's
// configuration reaches it, and no process outlives it.
type world struct {
	t    testing.TB
	home string
	env  map[string]string
	uid  int // runs commands as this user; -1 = as we are
	// odd is set by a test whose agent cannot be asked to stop.
	odd bool
}

// newWorld makes the person. The path is short, as sockets lie below it.
func newWorld(t testing.TB) *world {
	t.Helper()
	home, err := os.MkdirTemp("/tmp", "rmf")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, home: home, uid: -1}
	// Its own names for the programs: what is left behind is found by them.
	for _, p := range []string{"regmint", "docker-credential-regmint", "client"} {
		w.link(filepath.Join(built, p), "bin", p)
	}
	w.env = map[string]string{
		"HOME": home, "USER": "person", "LANG": "C.UTF-8", "TERM": "dumb",
		"PATH":                w.path("bin") + ":/usr/local/bin:/usr/bin:/bin",
		"REGMINT_RUNTIME_DIR": w.path("r"),
	}
	if os.Getenv("REGMINT_RACE") != "" {
		w.env["GORACE"] = "halt_on_error=1 exitcode=66"
	}
	t.Cleanup(w.close)
	return w
}

func (w *world) link(from string, to ...string) {
	w.t.Helper()
	path := w.path(to...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Link(from, path); err != nil {
		w.t.Fatal(err)
	}
}

// close ends the agent, looks for what is left and takes everything away.
func (w *world) close() {
	if !w.odd {
		if r := w.run(command{args: []string{"regmint", "agent", "stop", "--force"}}); r.code != 0 {
			w.t.Errorf("the agent could not be stopped: %s%s", r.out, r.err)
		}
	}
	left := []process{}
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if left = w.processes(); len(left) == 0 {
			break
		}
	}
	for _, p := range left {
		w.t.Errorf("process %d is left: %s", p.pid, p.command)
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
	log := w.read(".local/state/regmint/agent.log")
	if strings.Contains(log, "DATA RACE") {
		w.t.Errorf("the race detector speaks in the agent's log:\n%s", log)
	} else if w.t.Failed() && log != "" {
		w.t.Logf("the agent's log ends:\n%s", log[max(0, len(log)-6000):])
	}
	if err := os.RemoveAll(w.home); err != nil {
		w.t.Errorf("%s is left: %v", w.home, err)
	}
}

// in is the world inside a subtest.
func (w *world) in(t testing.TB) *world {
	v := *w
	v.t = t
	return &v
}

// alone waits for other runs of these tests that use what has one name on the
// whole machine.
func alone(t *testing.T) {
	t.Helper()
	dir, err := os.Open("/tmp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() }) // with it the lock
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("another run of this test does not end: %v", err)
		}
	}
}

// at is the world's HOME.
func (w *world) at() home.Home { return home.Home{T: w.t, Dir: w.home, Env: w.env} }

func (w *world) path(elem ...string) string { return w.at().Path(elem...) }

func (w *world) write(name, text string) string { w.t.Helper(); return w.at().Write(name, text) }

func (w *world) read(name string) string { w.t.Helper(); return w.at().Read(name) }

func (w *world) environ(extra ...string) []string { return w.at().Environ(extra...) }

func (w *world) find(name string) string { w.t.Helper(); return w.at().Find(name) }

func (w *world) input(text string) *os.File { w.t.Helper(); return w.at().Input(text) }

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	w.at().Eventually(what, ok)
}

// configure writes config.toml: an age file for secrets, and accounts.
func (w *world) configure(accounts ...string) {
	w.t.Helper()
	w.write(".config/regmint/config.toml", "[agent]\nstore = \"file\"\n"+strings.Join(accounts, "\n"))
}

// command is a program with what it reads.
type command struct {
	args  []string
	stdin string
	env   []string // NAME=value, over the world's
}

func cmd(args ...string) command { return command{args: args} }

func (c command) in(stdin string) command { c.stdin = stdin; return c }

func (c command) with(env ...string) command { c.env = append(slices.Clone(c.env), env...); return c }

func (c command) String() string { return strings.Join(c.args, " ") }

// result is what a command left. code is 128+n for signal n.
type result struct {
	out, err string
	code     int
	took     time.Duration
}

// process makes a command of its own process group.
func (w *world) process(c command) *exec.Cmd {
	p := exec.Command(w.find(c.args[0]), c.args[1:]...)
	p.Args[0] = c.args[0]
	p.Dir = w.home
	p.Env = w.environ(c.env...)
	p.Stdin = w.input(c.stdin)
	p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if w.uid >= 0 {
		p.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(w.uid), Gid: uint32(w.uid)}
	}
	return p
}

// run runs a command to its end; one that does not end in time is killed and
// fails the test.
func (w *world) run(c command) result {
	w.t.Helper()
	p := w.process(c)
	var out, errs bytes.Buffer
	p.Stdout, p.Stderr = &out, &errs
	p.WaitDelay = 5 * time.Second
	start := time.Now()
	if err := p.Start(); err != nil {
		w.t.Errorf("%s: %v", c, err)
		return result{code: -1}
	}
	code, err := w.wait(p)
	if err != nil {
		w.t.Errorf("%s: %v\n%s%s", c, err, out.String(), errs.String())
	}
	if strings.Contains(errs.String(), "DATA RACE") {
		w.t.Errorf("%s: the race detector speaks:\n%s", c, errs.String())
	}
	return result{out: out.String(), err: errs.String(), code: code, took: time.Since(start)}
}

// wait waits for a started command.
func (w *world) wait(p *exec.Cmd) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = syscall.Kill(-p.Process.Pid, syscall.SIGKILL) })
	err = p.Wait()
	if !stop() {
		return -1, fmt.Errorf("not over after %s: killed", patience)
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) || errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return home.ExitCode(p.ProcessState), err
}

// must fails the test where the command fails, and returns its stdout.
func (w *world) must(c command) string {
	w.t.Helper()
	r := w.run(c)
	if r.code != 0 {
		w.t.Fatalf("%s: exit %d\n%s%s", c, r.code, r.out, r.err)
	}
	return r.out
}
