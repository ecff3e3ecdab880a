// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/regmint/regmint/agent/api"
)

// killAfter is how long a child has after TERM.
const killAfter = 10 * time.Second

// childEnv is the caller's environment with the job's variables.
func (a *app) childEnv(set map[string]string, unset []string) []string {
	out := make([]string, 0, len(set)+64)
	for _, kv := range a.environ() {
		name, _, _ := strings.Cut(kv, "=")
		if _, ours := set[name]; ours || slices.Contains(unset, name) {
			continue
		}
		out = append(out, kv)
	}
	for k, v := range set {
		out = append(out, k+"="+v)
	}
	return out
}

// stripped are the variables --clean-env keeps from the child: those the agent
// asked for.
func (j *runJob) stripped() []string {
	if !j.o.cleanEnv {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return envNames(j.req.Env)
}

// child runs the command to its end and returns its exit code, 128+n for a
// signal. It stays in our process group and on our terminal.
func (j *runJob) child(ctx context.Context, sig *signals, env []string) (int, error) {
	path, code, err := findCommand(j.o.command[0], env)
	if err != nil {
		return code, err
	}
	cmd := exec.Command(path, j.o.command[1:]...)
	cmd.Args[0] = j.o.command[0]
	cmd.Env = env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = j.a.in, j.a.out, j.a.err
	if err := cmd.Start(); err != nil {
		if errors.Is(err, fs.ErrPermission) || isExecFormat(err) {
			return exitNotRunnable, errors.New(j.o.command[0] + ": " + reason(err))
		}
		return exitRunFailed, err
	}
	done := make(chan struct{})
	go func() { // ends with the child; its outcome is in ProcessState
		_ = cmd.Wait()
		close(done)
	}()
	var kill <-chan time.Time
	for {
		select {
		case <-done:
			return exitCodeOf(cmd.ProcessState), nil
		case s := <-sig.in:
			if fromTerminal(s) {
				continue // the terminal has sent it to the child too
			}
			_ = cmd.Process.Signal(s)
			if terminates(s) && kill == nil {
				kill = time.After(killAfter)
			}
		case <-kill:
			_ = cmd.Process.Kill()
			kill = nil
		case <-ctx.Done():
			_ = cmd.Process.Kill()
			<-done
			return exitRunFailed, ctx.Err()
		}
	}
}

// findCommand looks the command up as a shell in the job would.
func findCommand(name string, env []string) (path string, code int, err error) {
	if strings.ContainsRune(name, filepath.Separator) || strings.ContainsRune(name, '/') {
		info, err := os.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return "", exitNotFound, errors.New(name + ": no such file")
		case err != nil:
			return "", exitNotRunnable, errors.New(name + ": " + reason(err))
		case info.IsDir():
			return "", exitNotRunnable, errors.New(name + ": is a directory")
		}
		return name, 0, nil
	}
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			return lookIn(name, filepath.SplitList(v))
		}
	}
	return "", exitNotFound, errors.New(name + ": command not found (PATH is not set)")
}

func lookIn(name string, dirs []string) (string, int, error) {
	blocked := false
	for _, dir := range dirs {
		if dir == "" || dir == "." {
			dir = "." + string(filepath.Separator) // an element that names the working directory
		}
		p, err := exec.LookPath(join(dir, name))
		if err == nil || errors.Is(err, exec.ErrDot) {
			return p, 0, nil
		}
		blocked = blocked || errors.Is(err, fs.ErrPermission)
	}
	if blocked {
		return "", exitNotRunnable, errors.New(name + ": permission denied")
	}
	return "", exitNotFound, errors.New(name + ": command not found")
}

// join is filepath.Join that keeps a leading "./": without it a name is looked
// up on our own PATH.
func join(dir, name string) string {
	return strings.TrimRight(dir, string(filepath.Separator)) + string(filepath.Separator) + name
}

// reason is the bare text of a system error.
func reason(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}

// client dials the job's own socket.
func (j *runJob) client(ctx context.Context) (*api.Client, error) {
	return api.Dial(ctx, j.paths.JobSocket(j.dir.ID))
}
