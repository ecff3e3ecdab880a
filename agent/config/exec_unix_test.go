// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
)

// script makes a program.
func script(t *testing.T, body string) string {
	t.Helper()
	path := write(t, filepath.Join(t.TempDir(), "program"), "#!/bin/sh\n"+body+"\n")
	must(t, os.Chmod(path, 0o700))
	return path
}

func execRef(t *testing.T, body string, args ...string) providers.SecretRef {
	t.Helper()
	r, err := providers.ExecRef(append([]string{script(t, body)}, args...))
	must(t, err)
	return r
}

// H59: an argument stays one argument, and no shell reads it.
func TestProgramGetsItsArgumentsUntouched(t *testing.T) {
	arg := `a b;touch x "$HOME" $(id)`
	got := resolveOK(t, Resolver{}, execRef(t, `printf '%s|%s\n' "$#" "$1"`, arg))
	if got != "1|"+arg {
		t.Errorf("got %q", got)
	}
}

func TestProgramGetsASmallEnvironmentAndNoInput(t *testing.T) {
	t.Setenv("SECRET_TOKEN", "x")
	r := Resolver{ExecEnv: ExecEnv([]string{"PATH=/usr/bin:/bin", "HOME=/h", "SECRET_TOKEN=x", "AWS_SECRET_ACCESS_KEY=x", "LC_ALL=C", "XDG_RUNTIME_DIR=/r", "LD_PRELOAD=/x"})}
	got := resolveOK(t, r, execRef(t, "printf '%s|' \"$(pwd)\" \"$(cat | wc -c)\" $(env | cut -d= -f1 | sort)"))
	// sh adds PWD and such of its own.
	for _, name := range []string{"SECRET_TOKEN", "AWS_SECRET_ACCESS_KEY", "LD_PRELOAD"} {
		if strings.Contains(got, name) {
			t.Errorf("%s reached the program: %s", name, got)
		}
	}
	wantText(t, got, "/|0|", "|HOME|", "|LC_ALL|", "|XDG_RUNTIME_DIR|")
}

func TestProgramFailuresAreWordedWithoutSecrets(t *testing.T) {
	token := "ghp_" + strings.Repeat("a1B2", 8)
	for name, c := range map[string]struct {
		body, want string
		kind       providers.Kind
	}{
		"exit status":    {"echo 'vault is sealed' >&2; echo second >&2; exit 3", "exit status 3: vault is sealed", providers.Unavailable},
		"secret on both": {"echo hunter2; echo 'tried hunter2' >&2; exit 1", "tried [redacted]", providers.Unavailable},
		"token":          {"echo 'bad token " + token + " given' >&2; exit 1", "bad token [redacted] given", providers.Unavailable},
		"escape":         {`printf 'a\033[31mb' >&2; exit 1`, `a\x1b[31mb`, providers.Unavailable},
		"signal":         {"kill -TERM $$", "signal: terminated", providers.Unavailable},
		"warnings":       {"echo 'WARNING: update' >&2; echo 'old.py:1: second' >&2; echo 'ERROR: log in' >&2; exit 1", "exit status 1: ERROR: log in", providers.Unavailable},
		"a warning":      {"echo 'WARNING: second' >&2; echo sealed >&2; exit 1", "exit status 1: sealed", providers.Unavailable},
		"nothing":        {"exit 0", "is empty", providers.Misconfigured},
		"two lines":      {"echo hunter2; echo b", "line end", providers.Misconfigured},
		"NUL":            {`printf 'hunter2\000'`, "NUL", providers.Misconfigured},
		"too much":       {"yes", "more than 64 KiB", providers.Misconfigured},
		"much stderr":    {"yes >&2 & sleep 0.2; kill $!; exit 1", "exit status 1: y", providers.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			r := Resolver{ExecEnv: []string{"PATH=/usr/bin:/bin"}}
			got := resolveFails(t, r, execRef(t, c.body), c.kind)
			wantText(t, got, c.want)
			if strings.Contains(got, "hunter2") || strings.Contains(got, token) || strings.Contains(got, "second") {
				t.Errorf("says too much: %s", got)
			}
		})
	}
}

func TestProgramThatIsNoneIsNamed(t *testing.T) {
	dir := t.TempDir()
	wantText(t, resolveFails(t, Resolver{}, ref(t, "exec:"+filepath.Join(dir, "none")), providers.Misconfigured), "no such program")
	plain := write(t, filepath.Join(dir, "plain"), "x")
	wantText(t, resolveFails(t, Resolver{}, ref(t, "exec:"+plain), providers.Misconfigured), "not executable")
	if _, err := (Resolver{}).exec(t.Context(), providers.SecretRef{Scheme: "exec", Value: "sh"}); err == nil {
		t.Error("a relative path was looked up")
	}
}

func TestSlowProgramIsEndedWithItsChildren(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	r := Resolver{ExecTimeout: 300 * time.Millisecond, ExecEnv: []string{"PATH=/usr/bin:/bin"}}
	body := "sleep 600 & echo $! > " + pids + "; echo $$ >> " + pids + "; wait"
	wantText(t, resolveFails(t, r, execRef(t, body), providers.Unavailable), "did not end within 300ms")
	data, err := os.ReadFile(pids)
	must(t, err)
	for _, s := range strings.Fields(string(data)) {
		pid, err := strconv.Atoi(s)
		must(t, err)
		if !gone(pid) {
			t.Errorf("process %d is still there", pid)
		}
	}
}

// gone waits for a killed process to be reaped by whoever inherits it.
func gone(pid int) bool {
	for range 500 {
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || zombie(pid) {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

func zombie(pid int) bool {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	return strings.HasPrefix(rest, "Z")
}

func TestProgramThatLeavesSomethingBehindStillAnswers(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	r := Resolver{ExecEnv: []string{"PATH=/usr/bin:/bin"}}
	if got := resolveOK(t, r, execRef(t, "sleep 600 & echo $! > "+pids+"; echo secret")); got != "secret" {
		t.Errorf("got %q", got)
	}
	data, err := os.ReadFile(pids)
	must(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	must(t, err)
	if !gone(pid) {
		t.Error("what holds our pipe is still there")
	}
}

func TestCallerThatLeavesEndsTheProgram(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Resolver{}.Resolve(ctx, execRef(t, "sleep 600"))
	if providers.KindOf(err) != providers.Unavailable {
		t.Errorf("%v", err)
	}
}

func TestExecEnvKeepsNoSecrets(t *testing.T) {
	got := ExecEnv([]string{"PATH=/bin", "https_proxy=http://p", "Path=x", "GITHUB_TOKEN=x", "REGMINT_SOCKET=x", "LC_CTYPE=C", "XDG_DATA_HOME=/d", "NOEQUALS"})
	if !slices.Equal(got, []string{"PATH=/bin", "https_proxy=http://p", "Path=x", "LC_CTYPE=C", "XDG_DATA_HOME=/d"}) {
		t.Errorf("%q", got)
	}
	if ExecEnv(nil) == nil {
		t.Error("nil would mean the whole environment")
	}
}
