// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// killed stands for SIGKILL: no deferred clean-up of ours runs after it.
type killed struct{}

// until runs f and kills it, or fails it with err, before its k-th operation.
// It reports how many operations began and whether f was stopped.
func until(k int, err error, f func(steps) error) (ops []string, stopped bool, result error) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(killed); !ok {
				panic(r)
			}
			stopped = true
		}
	}()
	result = f(func(op, name string) error {
		ops = append(ops, op+" "+filepath.Base(name))
		if len(ops) != k {
			return nil
		}
		if err != nil {
			stopped = true
			return &os.PathError{Op: op, Path: name, Err: err}
		}
		panic(killed{})
	})
	return ops, stopped, result
}

// crashShapes: with and without a file before.
var crashShapes = []string{"docker's own", "absent", "one line"}

func (w *world) crashOptions(shape string) InstallOptions {
	for _, h := range []string{"desktop", "gcloud"} {
		w.program("docker-credential-" + h)
	}
	if shapes[shape] != "absent" {
		w.config(shapes[shape])
	}
	o := w.options("ghcr.io", HubHost)
	o.All, o.Containers = true, true
	return o
}

// whole returns the state of the person's files: what Install may change.
func (w *world) whole() string {
	var b strings.Builder
	for _, p := range []string{w.configPath(), filepath.Join(w.home, ".config/containers/registries.conf.d", dropInName)} {
		text := "absent"
		if data, err := os.ReadFile(p); err == nil {
			text = string(data)
		}
		fmt.Fprintf(&b, "== %s\n%s\n", filepath.Base(p), text)
	}
	return b.String()
}

// states are the allowed ones: nothing, the first file, both.
func installStates(t *testing.T, shape string) (states map[string]bool, ops int) {
	t.Helper()
	w := newWorld(t)
	o := w.crashOptions(shape)
	states = map[string]bool{w.whole(): true}
	p, err := Install(o)
	if err != nil {
		t.Fatal(err)
	}
	seen, _, err := until(0, nil, func(s steps) error {
		p.steps = func(op, name string) error {
			states[w.whole()] = true
			return s(op, name)
		}
		return p.Apply()
	})
	if err != nil {
		t.Fatal(err)
	}
	states[w.whole()] = true
	if len(states) != 3 {
		t.Fatalf("%d states", len(states))
	}
	if len(seen) < 15 {
		t.Fatalf("only %d operations: %q", len(seen), seen)
	}
	return states, len(seen)
}

// clean: nothing of ours is left in the person's directories.
func (w *world) checkGone(t *testing.T, what, shape string) {
	t.Helper()
	want := shapes[shape]
	got := "absent"
	if exists(w.configPath()) {
		got = read(t, w.configPath())
	}
	if got != want {
		t.Errorf("%s: config.json is %q", what, got)
	}
	for _, line := range tree(t, w.home) {
		if strings.Contains(line, tempMark) || strings.Contains(line, backupSuffix) || strings.Contains(line, dropInName) || strings.HasSuffix(line, "install.json") {
			t.Errorf("%s: left behind: %s", what, line)
		}
	}
}

// T3: killed before any file operation of install, the files are the old or the
// new ones, uninstall puts everything back, and so does it after another try.
func TestInstallKilledAtEveryFileOperation(t *testing.T) {
	t.Parallel()
	for _, shape := range crashShapes {
		states, n := installStates(t, shape)
		for k := 1; k <= n; k++ {
			for _, retry := range []bool{false, true} {
				w := newWorld(t)
				o := w.crashOptions(shape)
				p, err := Install(o)
				if err != nil {
					t.Fatal(err)
				}
				ops, stopped, _ := until(k, nil, func(s steps) error { p.steps = s; return p.Apply() })
				what := fmt.Sprintf("%s, killed before operation %d of %d (%s), retry %v", shape, k, n, ops[len(ops)-1], retry)
				if !stopped {
					t.Fatalf("%s: was not stopped", what)
				}
				if !states[w.whole()] {
					t.Errorf("%s: neither old nor new:\n%s", what, w.whole())
				}
				if retry {
					w.install(o)
					if ok, why := WouldAsk(w.configPath(), "ghcr.io"); !ok {
						t.Errorf("%s: %s", what, why)
					}
				}
				w.uninstall()
				w.checkGone(t, what, shape)
			}
		}
	}
}

// T3 for the way back.
func TestUninstallKilledAtEveryFileOperation(t *testing.T) {
	t.Parallel()
	for _, shape := range crashShapes {
		states, _ := installStates(t, shape)
		for k := 1; ; k++ {
			w := newWorld(t)
			w.install(w.crashOptions(shape))
			ops, stopped, err := until(k, nil, func(s steps) error {
				_, err := uninstall(w.journal(), s)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if !stopped {
				if k < 8 {
					t.Fatalf("only %d operations: %q", k, ops)
				}
				break
			}
			what := fmt.Sprintf("%s, killed before operation %d (%s)", shape, k, ops[len(ops)-1])
			if !states[w.whole()] {
				t.Errorf("%s: neither old nor new:\n%s", what, w.whole())
			}
			w.uninstall()
			w.checkGone(t, what, shape)
		}
	}
}

// T4: an error at any operation is told with path and reason, leaves no
// temporary file, and the work can be done when the cause is gone.
func TestInstallWithAnErrorAtEveryFileOperation(t *testing.T) {
	t.Parallel()
	for _, errno := range []error{syscall.ENOSPC, syscall.EROFS} {
		states, n := installStates(t, "docker's own")
		for k := 1; k <= n; k++ {
			w := newWorld(t)
			o := w.crashOptions("docker's own")
			p, err := Install(o)
			if err != nil {
				t.Fatal(err)
			}
			ops, stopped, err := until(k, errno, func(s steps) error { p.steps = s; return p.Apply() })
			what := fmt.Sprintf("error at operation %d (%s)", k, ops[min(k, len(ops))-1])
			if !stopped || !errors.Is(err, errno) {
				t.Fatalf("%s: %v", what, err)
			}
			mustContain(t, err, w.home, errno.Error())
			if !states[w.whole()] {
				t.Errorf("%s: neither old nor new:\n%s", what, w.whole())
			}
			for _, line := range tree(t, w.home) {
				if strings.Contains(line, tempMark) {
					t.Errorf("%s: left behind: %s", what, line)
				}
			}
			w.install(o)
			w.uninstall()
			w.checkGone(t, what, "docker's own")
		}
	}
}

// T3 with the real signal: strace kills the process at its k-th system call of
// each kind.
func TestInstallKilledAtRealSystemCalls(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil || runtime.GOOS != "linux" {
		t.Skip("strace is missing: apt-get install strace")
	}
	if out, err := exec.Command(strace, "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace may not trace here (allow ptrace to run this): %v %s", err, out)
	}
	was := "{\n\t\"auths\": {\n\t\t\"x\": {}\n\t}\n}"
	kills := 0
	for _, call := range []string{"renameat", "fsync", "write", "fchmod", "unlinkat", "openat"} {
		for k := 1; k <= 12; k++ {
			w := newWorld(t)
			w.config(was)
			w.options() // makes the state directory
			start := k
			if call == "openat" {
				start = 4 * k // the program's own start opens a few
			}
			cmd := exec.Command(strace, "-f", "-o", os.DevNull, "-e", "trace="+call,
				"-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, start), os.Args[0], "install-in", w.home, w.journal())
			cmd.Env = []string{"GOMAXPROCS=1", "HOME=" + w.home, "PATH=" + w.bin}
			out, err := cmd.CombinedOutput()
			if err == nil {
				break // it has fewer such calls
			}
			if len(out) > 0 {
				t.Fatalf("%s %d: %v %s", call, k, err, out)
			}
			kills++
			got := read(t, w.configPath())
			if got != was && !strings.Contains(got, "regmint") {
				t.Errorf("%s %d: neither old nor new: %q", call, start, got)
			}
			w.install(InstallOptions{Caller: w.caller(), Hosts: []string{"ghcr.io"}, All: true, JournalPath: w.journal()})
			w.uninstall()
			if got := read(t, w.configPath()); got != was {
				t.Errorf("%s %d: after install and uninstall: %q", call, start, got)
			}
			for _, line := range tree(t, w.home) {
				if strings.Contains(line, tempMark) || strings.Contains(line, backupSuffix) {
					t.Errorf("%s %d: left behind: %s", call, start, line)
				}
			}
		}
	}
	if kills < 10 {
		t.Errorf("only %d kills", kills)
	}
	t.Logf("%d kills", kills)
}
