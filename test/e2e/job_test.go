// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// job is a shell inside `regmint run`: its commands are children of one job.
type job struct {
	w     *world
	t     *testing.T
	n     int
	dir   string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string
	said  *syncBuffer
	end   func()
}

// syncBuffer is written by a process and read by the test.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// openJob starts `regmint run FLAGS -- sh`, which reads commands until the end
// of the test.
func (w *world) openJob(t *testing.T, flags ...string) *job {
	t.Helper()
	return w.openJobWith(t, nil, flags...)
}

func (w *world) openJobWith(t *testing.T, env []string, flags ...string) *job {
	t.Helper()
	dir, err := os.MkdirTemp(w.home, "job")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	j := &job{w: w, t: t, dir: dir, lines: make(chan string), said: &syncBuffer{}}
	j.cmd = w.process(ctx, command{args: append(append([]string{"regmint", "run"}, flags...), "--", "sh"), env: env})
	j.cmd.Stdin, j.cmd.Stderr = nil, j.said
	if j.stdin, err = j.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := j.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := j.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(j.lines)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			j.lines <- sc.Text()
		}
	}()
	j.end = sync.OnceFunc(func() {
		defer cancel()
		_ = j.stdin.Close()
		for range j.lines {
		}
		if err := j.cmd.Wait(); err != nil {
			t.Errorf("regmint run: %v\n%s", err, j.said)
		}
	})
	t.Cleanup(j.end)
	return j
}

// run runs a command in the job. It may be called outside of the test's own
// goroutine, one command at a time; -1 is the code of a job that is gone.
func (j *job) run(c command) result {
	j.t.Helper()
	r, err := j.try(c)
	if err != nil {
		j.t.Errorf("%s: %v\n%s", c, err, j.said)
		r.code = -1
	}
	return r
}

func (j *job) try(c command) (r result, err error) {
	j.n++
	base := fmt.Sprintf("%s/%d", j.dir, j.n)
	if err := os.WriteFile(base+".in", []byte(c.stdin), 0o600); err != nil {
		return r, err
	}
	defer os.Remove(base + ".in") // it may hold a password
	var line strings.Builder
	for _, kv := range c.env {
		name, value, _ := strings.Cut(kv, "=")
		fmt.Fprintf(&line, "%s=%s ", name, quote(value))
	}
	for _, a := range c.args {
		line.WriteString(quote(a) + " ")
	}
	r.at = time.Now()
	if _, err := fmt.Fprintf(j.stdin, "%s <%s.in >%s.out 2>&1; echo rc $?\n", line.String(), base, base); err != nil {
		return r, err
	}
	select {
	case l, ok := <-j.lines:
		if !ok {
			return r, errors.New("the job is gone")
		}
		if r.code, err = strconv.Atoi(strings.TrimPrefix(l, "rc ")); err != nil {
			return r, err
		}
	case <-time.After(c.bound()):
		return r, fmt.Errorf("no end after %s", c.bound())
	}
	out, err := os.ReadFile(base + ".out")
	r.out = string(out)
	return r, err
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
