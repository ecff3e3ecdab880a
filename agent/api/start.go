// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

const (
	// readyLimit is how long a started agent may take until it answers.
	readyLimit = 3 * time.Second
	// startLimit bounds Connect as a whole: waiting for another process that
	// starts the agent, and one start of our own.
	startLimit = 4 * time.Second
)

// errLocked means that another process holds the lock.
var errLocked = errors.New("locked")

// ConnectOptions says where the agent is and whether it may be started.
type ConnectOptions struct {
	Paths   Paths
	NoStart bool   // dial only
	Regmint string // absolute path of regmint; "" = beside this executable, links resolved
}

// Connect dials the agent of Paths and, where none answers, starts it: of any
// number of callers at once one does, the others wait for it. The error wraps
// ErrNoAgent where no agent runs and none could be started; an agent that
// answers wrongly, or somebody else's directory, is another error.
func Connect(ctx context.Context, o ConnectOptions) (*Client, error) {
	socket := o.Paths.MainSocket()
	c, err := Dial(ctx, socket)
	if o.NoStart || !errors.Is(err, ErrNoAgent) {
		return c, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, errStartSlow)
	defer cancel()
	if err := o.Paths.Ensure(); errors.Is(err, ErrUnsafe) {
		return nil, err
	} else if err != nil {
		return nil, noStart(err)
	}
	return o.start(ctx, socket)
}

var errStartSlow = errors.New("no answer within " + readyLimit.String())

func noStart(why error) error {
	return fmt.Errorf("%w and none could be started: %w", ErrNoAgent, why)
}

// start waits for the lock or for the agent, whichever comes first.
func (o ConnectOptions) start(ctx context.Context, socket string) (*Client, error) {
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		unlock, err := lockFile(o.Paths.StartLock(), false)
		if err != nil && !errors.Is(err, errLocked) {
			return nil, noStart(err)
		}
		c, dialErr := Dial(ctx, socket)
		if errors.Is(dialErr, ErrNoAgent) && err == nil {
			if err := o.spawn(ctx); err != nil {
				unlock()
				return nil, noStart(err)
			}
			c, dialErr = Dial(ctx, socket)
		}
		if unlock != nil {
			unlock()
		}
		if dialErr == nil || !errors.Is(dialErr, ErrNoAgent) {
			return c, dialErr
		}
		if pause(ctx, wait) != nil {
			return nil, noStart(context.Cause(ctx))
		}
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// AgentArgs are the arguments of an agent started in the background. It tells
// its starter through the pipe of ReadyFD that it answers: NotifyReady.
var AgentArgs = []string{"agent", "run", "--ready-fd", "3"}

// ReadyFD is the file descriptor of AgentArgs. Windows has none: there the
// arguments end before --ready-fd and the starter dials until it is answered.
const ReadyFD = 3

// NotifyReady tells the process that started this agent that it answers now.
// fd is the value of --ready-fd.
func NotifyReady(fd int) error {
	f := os.NewFile(uintptr(fd), "ready")
	if f == nil {
		return fmt.Errorf("--ready-fd %d is no open file", fd)
	}
	_, err := f.Write([]byte{'\n'})
	return errors.Join(err, f.Close())
}

// Executable is the program called name beside this one, links resolved: never
// from PATH or the working directory. The program exists.
func Executable(name string) (string, error) {
	own, err := os.Executable()
	if err == nil {
		own, err = filepath.EvalSymlinks(own)
	}
	if err != nil {
		return "", fmt.Errorf("cannot tell where this program is: %w", err)
	}
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	path := filepath.Join(filepath.Dir(own), name)
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is missing; install regmint again", path)
	}
	return path, nil
}

// spawn starts the agent and waits until it answers. Of a failed start the
// error has the last line of the agent's log.
func (o ConnectOptions) spawn(ctx context.Context) error {
	if ownUID() >= 0 && ownUID() == OverflowUID() {
		return fmt.Errorf("uid %d stands for users outside this user namespace", ownUID())
	}
	exe := o.Regmint
	if exe == "" {
		var err error
		if exe, err = Executable("regmint"); err != nil {
			return err
		}
	}
	log, size := openLog(o.Paths.AgentLog())
	if log != nil {
		defer log.Close()
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readyLimit, errStartSlow)
	defer cancel()
	err := launch(ctx, exe, o, log)
	if err == nil {
		return nil
	}
	if line := lastLine(o.Paths.AgentLog(), size); line != "" {
		return errors.New(line)
	}
	return fmt.Errorf("%s: %w", filepath.Base(exe), err)
}

// environ is the agent's environment. It names the directories where its own
// search would end elsewhere than ours.
func (o ConnectOptions) environ(environ []string) []string {
	env := agentEnvOf(environ, runtime.GOOS == "windows")
	look := func(name string) (string, bool) {
		for _, kv := range env {
			if v, ok := strings.CutPrefix(kv, name+"="); ok {
				return v, true
			}
		}
		return "", false
	}
	if p, err := findPaths(look, ownUID(), ownUID()); err == nil && p == o.Paths {
		return env
	}
	kept := env[:0]
	for _, kv := range env {
		if !strings.HasPrefix(kv, "REGMINT_RUNTIME_DIR=") && !strings.HasPrefix(kv, "REGMINT_STATE_DIR=") {
			kept = append(kept, kv)
		}
	}
	return append(kept, "REGMINT_RUNTIME_DIR="+o.Paths.Runtime, "REGMINT_STATE_DIR="+o.Paths.State)
}

// openLog opens the agent's log for appending; nil where it cannot be had.
func openLog(path string) (f *os.File, size int64) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|noFollow, 0o600)
	if err != nil {
		return nil, 0
	}
	if info, err := f.Stat(); err == nil {
		size = info.Size()
	}
	return f, size
}

// lastLine is the last line of a log that was written after from, made fit
// for a terminal.
func lastLine(path string, from int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() <= from {
		return ""
	}
	from = max(from, info.Size()-4096)
	b, err := io.ReadAll(io.NewSectionReader(f, from, info.Size()-from))
	if err != nil {
		return ""
	}
	text := strings.TrimSpace(string(b))
	return CleanLine(text[strings.LastIndexByte(text, '\n')+1:], 200)
}
