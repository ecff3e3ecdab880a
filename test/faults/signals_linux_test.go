// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/test/fakeregistry"
)

// started is a command that runs. Its output goes to files: who inherits them
// keeps nobody waiting.
type started struct {
	*exec.Cmd
	w        *world
	out, err *os.File
}

// start starts a command in a process group of its own; the test that does not
// end it fails.
func (w *world) start(c command, edit ...func(p *exec.Cmd)) *started {
	w.t.Helper()
	s := &started{Cmd: w.process(c), w: w, out: w.temp(), err: w.temp()}
	s.Stdout, s.Stderr = s.out, s.err
	for _, e := range edit {
		e(s.Cmd)
	}
	if err := s.Start(); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// temp is a new file.
func (w *world) temp() *os.File {
	w.t.Helper()
	f, err := os.CreateTemp(w.home, "out")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = f.Close() })
	return f
}

// output is what the command has written.
func (s *started) output() string {
	b, _ := os.ReadFile(s.out.Name())
	return string(b)
}

// errors is what it has written on stderr.
func (s *started) errors() string {
	b, _ := os.ReadFile(s.err.Name())
	return string(b)
}

// signal sends a signal to the process alone.
func (s *started) signal(sig syscall.Signal) {
	s.w.t.Helper()
	if err := syscall.Kill(s.Process.Pid, sig); err != nil {
		s.w.t.Fatal(err)
	}
}

// ends waits for the end and wants an exit code.
func (s *started) ends(code int) {
	s.w.t.Helper()
	got, err := s.w.wait(s.Cmd)
	if err != nil || got != code {
		s.w.t.Errorf("%s: exit %d, want %d (%v)\n%s%s", strings.Join(s.Args, " "), got, code, err, s.output(), s.errors())
	}
}

// script runs a shell script in a job.
func script(text string, args ...string) command {
	return cmd(append([]string{"regmint", "run", "-q", "--", "sh", "-c", text, "sh"}, args...)...)
}

func (w *world) exists(name string) bool {
	_, err := os.Stat(w.path(name))
	return err == nil
}

func TestSignalsReachTheCommandOnceAndNothingIsLeft(t *testing.T) {
	w := newWorld(t)
	w.agent()
	for _, sig := range []syscall.Signal{
		syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM,
	} {
		t.Run(sig.String(), func(t *testing.T) {
			_ = os.Remove(w.path("got"))
			_ = os.Remove(w.path("ready"))
			s := w.start(script(fmt.Sprintf(`trap 'echo got >>got' %d; : >ready; until [ -e got ]; do sleep 0.01; done; sleep 0.1; exit 7`, sig)))
			w.eventually("it runs", func() bool { return w.exists("ready") })
			s.signal(sig)
			s.ends(7)
			if got := w.read("got"); got != "got\n" {
				t.Errorf("the command got %q", got)
			}
			w.clean()
			// One that does nothing about it dies of it.
			s = w.start(script(`: >again; exec sleep 30`))
			w.eventually("it runs", func() bool { return w.exists("again") })
			_ = os.Remove(w.path("again"))
			s.signal(sig)
			s.ends(128 + int(sig))
			w.clean()
		})
	}
}

func TestASignalBeforeTheCommandLeavesNothing(t *testing.T) {
	w := newWorld(t)
	// The agent takes its time: the job is being opened.
	w.write("slow", "#!/bin/sh\n: >"+w.path("asked")+"\nsleep 30\n")
	if err := os.Chmod(w.path("slow"), 0o700); err != nil {
		t.Fatal(err)
	}
	w.agent()
	w.write("job.toml", `[[account]]
name = "slow"
provider = "generic"
hosts = ["slow.example"]
username = "u"
password = { exec = ["`+w.path("slow")+`"] }
`)
	for sig, code := range map[syscall.Signal]int{syscall.SIGTERM: 143, syscall.SIGINT: 130, syscall.SIGHUP: 129} {
		_ = os.Remove(w.path("asked"))
		s := w.start(cmd("regmint", "run", "--config", w.path("job.toml"), "--", "touch", w.path("ran")))
		w.eventually("the job is being opened", func() bool { return w.exists("asked") && len(w.jobs()) == 1 })
		s.signal(sig)
		s.ends(code)
		if n := len(w.jobs()); n != 0 {
			t.Errorf("%s: %d job directories are left", sig, n)
		}
	}
	if w.exists("ran") {
		t.Error("the command was run all the same")
	}
}

func TestACommandThatIgnoresTermIsKilledAfterTenSeconds(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t)
	w.agent()
	s := w.start(script(`trap '' TERM; : >ready; while :; do sleep 0.1; done`))
	w.eventually("it runs", func() bool { return w.exists("ready") })
	before := time.Now()
	s.signal(syscall.SIGTERM)
	s.signal(syscall.SIGTERM) // a second one gives no more time
	s.ends(137)
	if took := time.Since(before); took < 9*time.Second {
		t.Errorf("it had %s to end", took)
	}
	w.clean()
}

func TestAKilledWrapperLeavesNothing(t *testing.T) {
	w := newWorld(t)
	reg := issuer(t, fakeregistry.Options{}, "ci")
	w.configure(w.minted(reg, "ci"))
	w.agent()
	s := w.start(script(`client "$1" team/app; : >ready; sleep 60`, reg.Host()))
	w.eventually("it runs", func() bool { return w.exists("ready") })
	s.signal(syscall.SIGKILL)
	s.ends(137)
	w.clean()
	w.eventually("the agent has no job", func() bool { return len(w.status().Jobs) == 0 })
	_ = syscall.Kill(-s.Process.Pid, syscall.SIGKILL) // its command
}

func TestTheNextAgentRemovesWhatAKilledPairLeft(t *testing.T) {
	w := newWorld(t)
	pid := w.agent()
	s := w.start(script(`: >ready; sleep 60`))
	w.eventually("it runs", func() bool { return w.exists("ready") })
	dir := w.openJob()
	s.signal(syscall.SIGSTOP) // it must not start the next one itself
	_ = syscall.Kill(pid, syscall.SIGKILL)
	w.eventually("it ends", func() bool { return !alive(pid) })
	s.signal(syscall.SIGKILL)
	s.ends(137)
	_ = syscall.Kill(-s.Process.Pid, syscall.SIGKILL)
	// What it leaves behind is old when the next one looks.
	long := time.Now().Add(-time.Minute)
	if err := os.Chtimes(dir, long, long); err != nil {
		t.Fatal(err)
	}
	w.agent()
	w.clean()
}

func TestTheAgentsSignals(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t)
	reg := issuer(t, fakeregistry.Options{}, "ci")
	w.configure(w.minted(reg, "ci"))
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		pid := w.agent()
		_ = syscall.Kill(pid, sig)
		w.eventually("it ends", func() bool { return !alive(pid) })
		if _, err := os.Lstat(w.paths().MainSocket()); err == nil {
			t.Errorf("%s: its socket is left", sig)
		}
	}
	pid := w.agent()
	w.get(reg.Host(), "ci-bot")
	if n := reg.Stats().Issued["ci-bot"]; n != 1 {
		t.Fatalf("%d passwords", n)
	}
	_ = syscall.Kill(pid, syscall.SIGUSR1)
	w.eventually("all is forgotten", func() bool { return len(w.status().Tokens) == 0 })
	w.get(reg.Host(), "ci-bot")
	if n := reg.Stats().Issued["ci-bot"]; n != 2 {
		t.Errorf("%d passwords after USR1", n)
	}
	w.configure(w.minted(reg, "ci"), w.minted(reg, "more"))
	_ = syscall.Kill(pid, syscall.SIGHUP)
	w.eventually("it reads its configuration", func() bool { return len(w.status().Accounts) == 2 })
	if w.status().PID != pid {
		t.Error("it is another agent")
	}
}

// An agent that is asked to end while a job runs leaves the job to the next.
func TestTermOfTheAgentHandsItsJobsOn(t *testing.T) {
	w := newWorld(t)
	reg := issuer(t, fakeregistry.Options{}, "ci")
	w.configure(w.minted(reg, "ci"))
	pid := w.agent()
	s := w.start(script(`while [ ! -e stop ]; do client "$1" team/app >>pushed || exit 99; done`, reg.Host()))
	w.eventually("it pushes", func() bool { return w.exists("pushed") })
	_ = syscall.Kill(pid, syscall.SIGTERM)
	w.eventually("the next agent has it", func() bool {
		var st api.Status
		r := w.run(cmd("regmint", "status", "--format", "json")) // fails where it met the dying agent
		return r.code == 0 && json.Unmarshal([]byte(r.out), &st) == nil && st.PID != pid && len(st.Jobs) == 1
	})
	before := strings.Count(w.read("pushed"), "\n")
	w.eventually("it goes on", func() bool { return strings.Count(w.read("pushed"), "\n") > before+3 })
	w.write("stop", "")
	s.ends(0)
	w.clean()
}

func TestAJobInsideAJobEndsWithTheOuterOne(t *testing.T) {
	w := newWorld(t)
	reg := issuer(t, fakeregistry.Options{}, "ci")
	w.configure(w.minted(reg, "ci"))
	w.agent()
	out := w.must(script(`regmint run -q -- regmint run -q -- client "$1" team/app`, reg.Host()))
	if out != "ci-bot\n" {
		t.Errorf("%q", out)
	}
	w.clean()
	s := w.start(script(`regmint run -q -- sh -c ': >ready; sleep 60'`))
	w.eventually("it runs", func() bool { return w.exists("ready") })
	if n := len(w.jobs()); n != 2 {
		t.Errorf("%d jobs", n)
	}
	s.signal(syscall.SIGKILL)
	s.ends(137)
	w.clean()
	_ = syscall.Kill(-s.Process.Pid, syscall.SIGKILL)
}

// A wrapper whose stderr is a closed pipe has nobody to talk to; the job goes
// on, and its exit code arrives.
func TestABrokenStderrDoesNotEndTheJob(t *testing.T) {
	w := newWorld(t)
	w.agent()
	r, p, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	s := w.start(cmd("regmint", "run", "-r", "reg.example=pull", "--", "sh", "-c", `: >"$1"; exit 3`, "sh", w.path("ran")),
		func(c *exec.Cmd) { c.Stderr = p })
	_ = p.Close()
	s.ends(3)
	if !w.exists("ran") {
		t.Error("the command did not run")
	}
	w.clean()
}

func TestNohupHoldsForTheCommandToo(t *testing.T) {
	w := newWorld(t)
	w.agent()
	s := w.start(cmd("nohup", "regmint", "run", "-q", "--", "sh", "-c", `until [ -e stop ]; do echo >>ticks; sleep 0.01; done; exit 5`))
	w.eventually("it runs", func() bool { return w.exists("ticks") })
	if err := syscall.Kill(-s.Process.Pid, syscall.SIGHUP); err != nil { // the terminal has gone
		t.Fatal(err)
	}
	before := len(w.read("ticks"))
	w.eventually("it goes on", func() bool { return len(w.read("ticks")) > before+5 })
	w.write("stop", "")
	s.ends(5)
	w.clean()
}

// What the caller keeps open for its children (make's jobserver, systemd's
// sockets) passes through.
func TestDescriptorsAndStdinPassThrough(t *testing.T) {
	w := newWorld(t)
	three, err := os.Create(w.path("three"))
	if err != nil {
		t.Fatal(err)
	}
	defer three.Close()
	s := w.start(script(`cat; echo three >&3; exit 6`).in("from outside"), func(p *exec.Cmd) { p.ExtraFiles = []*os.File{three} })
	s.ends(6)
	if s.output() != "from outside" || w.read("three") != "three\n" {
		t.Errorf("stdin gave %q, descriptor 3 got %q", s.output(), w.read("three"))
	}
	// The agent that was started for the job has not kept it.
	for _, pid := range w.agents() {
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, l := range links {
			if to, _ := os.Readlink(l); to == w.path("three") {
				t.Error("the agent holds the caller's descriptor")
			}
		}
	}
}
