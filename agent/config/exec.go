// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
)

// Limits of the programs that are run.
const (
	execTimeout = 10 * time.Second
	feedTimeout = time.Minute // of a program that takes a secret somewhere
	maxOutput   = 64 << 10    // of an exec: program
	maxAnswer   = 1 << 20     // of a provider's program: a list of subscriptions is long
	maxStderr   = 4 << 10
)

// exec runs a program by its absolute path.
func (r Resolver) exec(ctx context.Context, ref providers.SecretRef) (string, error) {
	if !filepath.IsAbs(ref.Value) {
		return "", misconfigured("exec: needs an absolute path")
	}
	out, err := program{path: ref.Value, args: ref.Args, env: r.ExecEnv, limit: r.ExecTimeout, output: maxOutput, label: ref.String()}.run(ctx)
	return trimEnd(string(out)), err
}

// Run runs a provider's program; env is what every program gets (see ExecEnv).
// It is Deps.Run.
func Run(ctx context.Context, env []string, c providers.Command) ([]byte, error) {
	path, err := lookPath(env, c.Path)
	if err != nil {
		return nil, err
	}
	all := make([]string, 0, len(env)+len(c.Env))
	all = append(append(all, env...), c.Env...)
	return program{path: path, args: c.Args, env: all, limit: c.Limit, output: maxAnswer, label: c.Path}.run(ctx)
}

// program is one run of another program.
type program struct {
	path   string // absolute
	args   []string
	env    []string // NAME=value; the last of a name counts
	limit  time.Duration
	output int    // bytes of stdout; 0: it is not kept, however much there is
	label  string // what the configuration calls it
	stdin  []byte // what it reads; nothing where it is empty
}

// run runs it without a shell, in a process group of its own, with what
// is meant for it on stdin, and returns its stdout.
func (p program) run(ctx context.Context) ([]byte, error) {
	limit := p.limit
	if limit <= 0 {
		limit = execTimeout
	}
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	stdout, stderr := &capped{limit: p.output, full: cancel}, &capped{limit: maxStderr}
	cmd := exec.CommandContext(ctx, p.path, p.args...) //nolint:gosec // the person's own configuration, or the product's own program; no shell
	cmd.Env = p.env
	if cmd.Env == nil {
		cmd.Env = []string{} // nil would mean the whole environment
	}
	cmd.Dir = filepath.VolumeName(p.path) + string(filepath.Separator)
	if cmd.Stderr = stderr; p.output > 0 {
		cmd.Stdout = stdout
	}
	if len(p.stdin) > 0 {
		cmd.Stdin = bytes.NewReader(p.stdin)
	}
	ownGroup(cmd)
	cmd.Cancel = func() error { return killGroup(cmd) }
	cmd.WaitDelay = time.Second // a grandchild that keeps the pipes open
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		// It ended well and left something behind that holds our pipes.
		_ = killGroup(cmd)
		err = nil
	}
	name := clean(filepath.Base(p.path))
	switch {
	case stdout.over:
		return nil, misconfigured("%s wrote more than %s", name, size(int64(p.output)))
	case caller.Err() != nil:
		return nil, &providers.Error{Kind: providers.Unavailable, Err: because{name + " did not answer in time", caller.Err()}}
	case ctx.Err() != nil:
		return nil, &providers.Error{Kind: providers.Unavailable, Err: fmt.Errorf("%s did not end within %s", name, limit)}
	case errors.Is(err, fs.ErrNotExist):
		return nil, noProgram(p.label)
	case errors.Is(err, fs.ErrPermission):
		return nil, misconfigured("%s: not executable", clean(p.label))
	case err != nil:
		return nil, &providers.Error{Kind: providers.Unavailable, Err: fmt.Errorf("%s failed: %s", name, firstLine(err, stdout, stderr))}
	}
	return stdout.buf.Bytes(), nil
}

// because is a worded error whose cause shows to errors.Is alone.
type because struct {
	text  string
	cause error
}

func (b because) Error() string { return b.text }
func (b because) Unwrap() error { return b.cause }

func noProgram(label string) error {
	return &providers.Error{Kind: providers.Misconfigured, Err: because{clean(label) + ": no such program", fs.ErrNotExist}}
}

// lookPath finds a program by its absolute path, or by its bare name in the
// PATH of env. An empty or relative entry of PATH means a working directory,
// where nothing is ever looked for.
func lookPath(env []string, name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	if name == "" || name != filepath.Base(name) || strings.ContainsAny(name, `/\`) || name == "." || name == ".." {
		return "", misconfigured("%q: a program is named by an absolute path or by its bare name", clean(name))
	}
	get := lastOf(env)
	for _, dir := range filepath.SplitList(get("PATH")) {
		if !filepath.IsAbs(dir) {
			continue
		}
		for _, file := range executableNames(name, get) {
			path := filepath.Join(dir, file)
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && executable(info) {
				return path, nil
			}
		}
	}
	return "", noProgram(name)
}

// lastOf looks names up in a list of NAME=value.
func lastOf(env []string) func(name string) string {
	return func(name string) string {
		value := ""
		for _, kv := range env {
			if n, v, _ := strings.Cut(kv, "="); n == name || foldNames && strings.EqualFold(n, name) {
				value = v
			}
		}
		return value
	}
}

// ExecEnv filters an environment (NAME=value) down to what exec: programs get:
// who and where the person is, locale, proxies and certificates. Nothing that
// may be a secret.
func ExecEnv(environ []string) []string {
	out := []string{}
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if execEnvName(name) {
			out = append(out, kv)
		}
	}
	return out
}

func execEnvName(name string) bool {
	switch upper := strings.ToUpper(name); upper {
	case "HOME", "USER", "LOGNAME", "PATH", "LANG", "TMPDIR", "SHELL", "TZ", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY",
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR",
		"SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "TEMP", "TMP", "USERPROFILE", "USERNAME", "USERDOMAIN",
		"APPDATA", "LOCALAPPDATA", "PROGRAMDATA", "PROGRAMFILES", "HOMEDRIVE", "HOMEPATH":
		return true
	default:
		return strings.HasPrefix(upper, "LC_") || strings.HasPrefix(upper, "XDG_")
	}
}

// capped keeps the first bytes and says when there were more.
// It hides its buffer: an embedded one would lend io.Copy its ReadFrom.
type capped struct {
	buf   bytes.Buffer
	limit int
	over  bool
	full  func() // called once the limit is passed
}

func (c *capped) Write(p []byte) (int, error) {
	if room := c.limit - c.buf.Len(); len(p) > room {
		c.buf.Write(p[:max(room, 0)])
		c.over = true
		if c.full != nil {
			c.full()
		}
		return len(p), nil
	}
	return c.buf.Write(p)
}

// tokenLike finds words long enough to be a secret.
var tokenLike = regexp.MustCompile(`[A-Za-z0-9+/=_.~-]{20,}`)

// tellingLine is the line of stderr that says why: az and gcloud warn of other
// things before their "ERROR: …".
func tellingLine(text string) string {
	first := ""
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "ERROR: "):
			return line
		case first == "" && !strings.HasPrefix(line, "WARNING: "):
			first = line
		}
	}
	return first
}

// firstLine is the exit state and the telling line of stderr without anything
// that looks like a secret.
func firstLine(err error, stdout, stderr *capped) string {
	state := err.Error()
	if ee, ok := errors.AsType[*exec.ExitError](err); ok {
		state = ee.ProcessState.String()
	} else if se, ok := errors.AsType[*os.SyscallError](err); ok {
		state = se.Err.Error()
	}
	line := tellingLine(stderr.buf.String())
	if secret := trimEnd(stdout.buf.String()); len(secret) >= 4 {
		line = strings.ReplaceAll(line, secret, "[redacted]")
	}
	line = clean(tokenLike.ReplaceAllString(line, "[redacted]"))
	if line == "" {
		return clean(state)
	}
	return clean(state) + ": " + line
}
