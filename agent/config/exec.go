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

// Limits of an exec: program.
const (
	execTimeout = 10 * time.Second
	maxOutput   = 64 << 10
	maxStderr   = 4 << 10
)

// exec runs a program by its absolute path, without a shell, in a process
// group of its own, with nothing on stdin.
func (r Resolver) exec(ctx context.Context, ref providers.SecretRef) (string, error) {
	if !filepath.IsAbs(ref.Value) {
		return "", misconfigured("exec: needs an absolute path")
	}
	limit := r.ExecTimeout
	if limit <= 0 {
		limit = execTimeout
	}
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	stdout, stderr := &capped{limit: maxOutput, full: cancel}, &capped{limit: maxStderr}
	cmd := exec.CommandContext(ctx, ref.Value, ref.Args...) //nolint:gosec // the person's own configuration names it; no shell
	cmd.Env = r.ExecEnv
	if cmd.Env == nil {
		cmd.Env = []string{} // nil would mean the whole environment
	}
	cmd.Dir = filepath.VolumeName(ref.Value) + string(filepath.Separator)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	ownGroup(cmd)
	cmd.Cancel = func() error { return killGroup(cmd) }
	cmd.WaitDelay = time.Second // a grandchild that keeps the pipes open
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		// It ended well and left something behind that holds our pipes.
		_ = killGroup(cmd)
		err = nil
	}
	name := filepath.Base(ref.Value)
	switch {
	case stdout.over:
		return "", misconfigured("%s wrote more than %s", clean(name), size(maxOutput))
	case caller.Err() != nil:
		return "", caller.Err()
	case ctx.Err() != nil:
		return "", &providers.Error{Kind: providers.Unavailable, Err: fmt.Errorf("%s did not end within %s", clean(name), limit)}
	case errors.Is(err, fs.ErrNotExist):
		return "", misconfigured("%s: no such program", ref)
	case errors.Is(err, fs.ErrPermission):
		return "", misconfigured("%s: not executable", ref)
	case err != nil:
		return "", &providers.Error{Kind: providers.Unavailable, Err: fmt.Errorf("%s failed: %s", clean(name), firstLine(err, stdout, stderr))}
	}
	return trimEnd(stdout.buf.String()), nil
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

// firstLine is the exit state and the first line of stderr without anything
// that looks like a secret.
func firstLine(err error, stdout, stderr *capped) string {
	state := err.Error()
	if ee, ok := errors.AsType[*exec.ExitError](err); ok {
		state = ee.ProcessState.String()
	} else if se, ok := errors.AsType[*os.SyscallError](err); ok {
		state = se.Err.Error()
	}
	line, _, _ := strings.Cut(strings.TrimSpace(stderr.buf.String()), "\n")
	if secret := trimEnd(stdout.buf.String()); len(secret) >= 4 {
		line = strings.ReplaceAll(line, secret, "[redacted]")
	}
	line = clean(tokenLike.ReplaceAllString(line, "[redacted]"))
	if line == "" {
		return clean(state)
	}
	return clean(state) + ": " + line
}
