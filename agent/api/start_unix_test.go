// SPDX-License-Identifier: Apache-2.0

//go:build unix

package api

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fresh makes an empty runtime directory; the agent that a test starts there is
// stopped at its end.
func fresh(t *testing.T) (dir string, paths Paths) {
	t.Helper()
	dir = shortDir(t)
	paths = Paths{Runtime: filepath.Join(dir, "r"), State: filepath.Join(dir, "st")}
	if err := paths.Ensure(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		c, err := Dial(ctx, paths.MainSocket())
		if err != nil {
			return
		}
		defer c.Close()
		if err := c.Call(ctx, "POST", "/v1/agent/stop", nil, nil); err != nil {
			t.Error(err)
		}
		for c, err := Dial(ctx, paths.MainSocket()); err == nil; c, err = Dial(ctx, paths.MainSocket()) {
			_ = c.Close()
			time.Sleep(5 * time.Millisecond)
		}
	})
	return dir, paths
}

func ownExecutable(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// setEnv replaces the environment for the length of the test.
func setEnv(t *testing.T, env ...string) {
	t.Helper()
	old := os.Environ()
	t.Cleanup(func() { putEnv(old) })
	putEnv(env)
}

func putEnv(env []string) {
	os.Clearenv()
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		_ = os.Setenv(k, v)
	}
}

func setMode(t *testing.T, paths Paths, mode string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(paths.Runtime, "mode"), []byte(mode), 0o600); err != nil {
		t.Fatal(err)
	}
}

func starts(t *testing.T, paths Paths) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(paths.Runtime, "starts"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return bytes.Count(b, []byte("\n"))
}

func TestFiftyProcessesAtOnceStartOneAgent(t *testing.T) { // H24
	dir, paths := fresh(t)
	var wg sync.WaitGroup
	answers := make([]string, 50)
	for i := range answers {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, ownExecutable(t))
			cmd.Env = environOnly(dir, testRole+"=connect")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
			answers[i] = string(out)
		})
	}
	wg.Wait()
	slices.Sort(answers)
	if got := slices.Compact(answers); len(got) != 1 || !strings.HasPrefix(got[0], "pid ") {
		t.Errorf("answers %q", got)
	}
	if n := starts(t, paths); n != 1 {
		t.Errorf("%d agents were started", n)
	}
}

func TestAStartedAgentKeepsTheAllowListAlone(t *testing.T) { // H95
	dir, paths := fresh(t)
	kept := []string{
		"HOME=" + dir, "USER=u", "LOGNAME=u", "PATH=/usr/bin:/bin", "LANG=C", "TMPDIR=/tmp",
		"XDG_CONFIG_HOME=" + dir + "/c", "XDG_DATA_DIRS=/usr/share", "DBUS_SESSION_BUS_ADDRESS=unix:path=/x",
		"DISPLAY=:0", "WAYLAND_DISPLAY=w", "HTTP_PROXY=http://p", "HTTPS_PROXY=http://p", "NO_PROXY=x",
		"http_proxy=http://p", "https_proxy=http://p", "no_proxy=x", "SSL_CERT_FILE=/f", "SSL_CERT_DIR=/d",
		"REGMINT_CONFIG=/c.toml", "REGMINT_RUNTIME_DIR=" + paths.Runtime, "REGMINT_STATE_DIR=" + paths.State, "REGMINT_LOG=debug",
		"RUNNER_TRACKING_ID=1", "JENKINS_NODE_COOKIE=2", "BUILD_ID=3",
	}
	dropped := []string{
		"AWS_SECRET_ACCESS_KEY=canary", "CI_JOB_TOKEN=canary", "GITHUB_TOKEN=canary", "DOCKER_AUTH_CONFIG=canary",
		"LD_PRELOAD=/evil.so", "GODEBUG=madvdontneed=1", "GOTRACEBACK=crash", "GOMEMLIMIT=1GiB", "REGMINT_ACCOUNT=a", "REGMINT_SOCKET=/s",
		"REGMINT_AGENT=auto", "ALL_PROXY=http://p", "PWD=/", "LC_ALL=C", "DOCKER_CONFIG=/d", "XDG=x", "home=/h",
	}
	setEnv(t, append(slices.Clone(kept), dropped...)...)
	s := connectAndAsk(t, ConnectOptions{Paths: paths, Regmint: ownExecutable(t)})
	slices.Sort(s.Env)
	slices.Sort(kept)
	if !slices.Equal(s.Env, kept) {
		t.Errorf("the agent has\n%q\nwant\n%q", s.Env, kept)
	}
	if !slices.Equal(s.Args[1:], AgentArgs) {
		t.Errorf("arguments %q", s.Args)
	}
	if s.Dir != "/" || !s.Leader {
		t.Errorf("working directory %s, session leader %v", s.Dir, s.Leader)
	}
	if runtime.GOOS == "linux" && (s.Stdin != "/dev/null" || s.Stdout != paths.AgentLog()) {
		t.Errorf("stdin %s, stdout %s", s.Stdin, s.Stdout)
	}
}

func connectAndAsk(t *testing.T, o ConnectOptions) started {
	t.Helper()
	ctx := timeout(t, 10*time.Second)
	c, err := Connect(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var s started
	if err := c.Call(ctx, "GET", "/v1/started", nil, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAnAgentListensWhereItsStarterLooks(t *testing.T) {
	dir, paths := fresh(t)
	setEnv(t, "HOME="+dir, "REGMINT_RUNTIME_DIR="+dir+"/elsewhere", "PATH=/bin")
	s := connectAndAsk(t, ConnectOptions{Paths: paths, Regmint: ownExecutable(t)})
	for _, want := range []string{"REGMINT_RUNTIME_DIR=" + paths.Runtime, "REGMINT_STATE_DIR=" + paths.State} {
		if !slices.Contains(s.Env, want) || len(s.Env) != 4 {
			t.Errorf("%q has no %s", s.Env, want)
		}
	}
}

// A caller that reads its child's output to the end must not wait for the
// agent that the child started (DESIGN rule 11), whichever descriptor it used.
func TestAnAgentKeepsNobodyWaiting(t *testing.T) {
	dir, paths := fresh(t)
	extra, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer extra.Close()
	cmd := exec.CommandContext(timeout(t, 30*time.Second), ownExecutable(t))
	cmd.Env = environOnly(dir, testRole+"=connect")
	cmd.ExtraFiles = []*os.File{theirs}
	out, err := cmd.Output() // returns when every holder of the pipe is gone
	if err != nil || !strings.HasPrefix(string(out), "pid ") {
		t.Fatalf("%s %v", out, err)
	}
	_ = theirs.Close()
	_ = extra.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := extra.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the agent holds a descriptor of its starter's caller: %d, %v", n, err)
	}
	c, err := Dial(t.Context(), paths.MainSocket())
	if err != nil {
		t.Fatalf("the agent does not run: the test shows nothing: %v", err)
	}
	_ = c.Close()
}

func TestInheritedDescriptorsStayOpenForTheStarter(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	fd := int(w.Fd())
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
		t.Fatal(err)
	}
	flags := func() int {
		f, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil {
			t.Fatal(err)
		}
		return f & unix.FD_CLOEXEC
	}
	restore := hideInherited()
	if flags() == 0 {
		t.Error("an inherited descriptor would reach the agent")
	}
	restore()
	if flags() != 0 {
		t.Error("a descriptor of the caller's is closed for its other children")
	}
}

func TestAFailedStartTellsTheLastLineOfTheLog(t *testing.T) {
	dir, paths := fresh(t)
	setEnv(t, environOnly(dir)...)
	setMode(t, paths, "fail")
	if err := os.WriteFile(paths.AgentLog(), []byte("an old line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Connect(timeout(t, 10*time.Second), ConnectOptions{Paths: paths, Regmint: ownExecutable(t)})
	if !errors.Is(err, ErrNoAgent) {
		t.Errorf("%v is not ErrNoAgent", err)
	}
	wantError(t, err, "none could be started", "config.toml:3: unknown key", `\x1b[31m`)
	if strings.ContainsAny(err.Error(), "\x1b\n") || strings.Contains(err.Error(), "old line") {
		t.Errorf("%q", err)
	}
	setMode(t, paths, "")
	c, err := Connect(timeout(t, 10*time.Second), ConnectOptions{Paths: paths, Regmint: ownExecutable(t)})
	if err != nil {
		t.Fatalf("a failed start is in the way of the next: %v", err)
	}
	_ = c.Close()
}

func TestAnAgentThatDoesNotComeUpIsKilled(t *testing.T) {
	dir, paths := fresh(t)
	setEnv(t, environOnly(dir)...)
	setMode(t, paths, "hang")
	_, err := Connect(timeout(t, 20*time.Second), ConnectOptions{Paths: paths, Regmint: ownExecutable(t)})
	if !errors.Is(err, ErrNoAgent) {
		t.Errorf("%v is not ErrNoAgent", err)
	}
	wantError(t, err, "no answer within 3s")
	pids, err := os.ReadFile(filepath.Join(paths.Runtime, "starts"))
	if err != nil || len(pids) == 0 {
		t.Fatal("no agent was started")
	}
	for pid := range strings.FieldsSeq(string(pids)) {
		if _, err := os.Stat("/proc/" + pid); err == nil {
			t.Errorf("agent %s is still there", pid)
		}
	}
}

func TestNoAgentIsStartedWhereItMustNot(t *testing.T) {
	dir, paths := fresh(t)
	setEnv(t, environOnly(dir)...)
	exe := ownExecutable(t)
	if _, err := Connect(t.Context(), ConnectOptions{Paths: paths, Regmint: exe, NoStart: true}); !errors.Is(err, ErrNoAgent) {
		t.Errorf("%v", err)
	}
	if n := starts(t, paths); n != 0 {
		t.Errorf("%d agents although NoStart", n)
	}
	_, err := Connect(timeout(t, 10*time.Second), ConnectOptions{Paths: paths}) // regmint beside the test binary
	if !errors.Is(err, ErrNoAgent) {
		t.Errorf("%v", err)
	}
	wantError(t, err, filepath.Join(filepath.Dir(exe), "regmint")+" is missing")
	if err := os.Chmod(paths.Runtime, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = Connect(timeout(t, 10*time.Second), ConnectOptions{Paths: paths, Regmint: exe})
	if !errors.Is(err, ErrUnsafe) || errors.Is(err, ErrNoAgent) {
		t.Errorf("a runtime directory that others read: %v", err)
	}
	if n := starts(t, paths); n != 0 {
		t.Errorf("%d agents in an unsafe directory", n)
	}
	_ = os.Chmod(paths.Runtime, 0o700)
}

func TestRegmintIsNeverTakenFromPATHOrTheWorkingDirectory(t *testing.T) {
	dir, paths := fresh(t)
	trap := filepath.Join(dir, "trap")
	if err := os.Mkdir(trap, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(trap, "regmint"), []byte("#!/bin/sh\ntouch "+trap+"/sprung\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(trap)
	setEnv(t, environOnly(dir)...)
	t.Setenv("PATH", trap+":.")
	if _, err := Connect(timeout(t, 10*time.Second), ConnectOptions{Paths: paths}); !errors.Is(err, ErrNoAgent) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(trap, "sprung")); err == nil {
		t.Error("a program of PATH or the working directory was run")
	}
}

func TestConnectIsBoundedWhereAnotherProcessHoldsTheLock(t *testing.T) {
	dir, paths := fresh(t)
	setEnv(t, environOnly(dir)...)
	unlock, err := lockFile(paths.StartLock(), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockFile(paths.StartLock(), false); !errors.Is(err, errLocked) {
		t.Fatalf("a held lock was taken: %v", err)
	}
	o := ConnectOptions{Paths: paths, Regmint: ownExecutable(t)}
	if _, err := Connect(timeout(t, 50*time.Millisecond), o); !errors.Is(err, ErrNoAgent) {
		t.Errorf("%v", err)
	}
	if n := starts(t, paths); n != 0 {
		t.Errorf("%d agents were started without the lock", n)
	}
	done := make(chan error, 1)
	go func() {
		c, err := Connect(timeout(t, 10*time.Second), o)
		if err == nil {
			err = c.Close()
		}
		done <- err
	}()
	unlock()
	if err := <-done; err != nil {
		t.Errorf("after the lock came free: %v", err)
	}
}

func TestAReadyAgentThatDoesNotListenIsNoAgent(t *testing.T) {
	dir, paths := fresh(t)
	setEnv(t, environOnly(dir)...)
	setMode(t, paths, "deaf")
	_, err := Connect(timeout(t, 300*time.Millisecond), ConnectOptions{Paths: paths, Regmint: ownExecutable(t)})
	if !errors.Is(err, ErrNoAgent) {
		t.Errorf("%v", err)
	}
}
