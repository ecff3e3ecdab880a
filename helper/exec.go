// SPDX-License-Identifier: Apache-2.0

package helper

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/docker/docker-credential-helpers/credentials"

	"github.com/regmint/regmint/agent/api"
)

// behindLimit is how long a former helper may take (DESIGN rule 17).
const behindLimit = 5 * time.Second

// errNotFound is a helper's own not found.
var errNotFound = credentials.NewErrCredentialsNotFound()

// mayRun reports whether path is a former helper to run: never regmint, by
// whatever link it is reached. A copy of it is recognised by the mark in its
// environment, which ends the circle.
func mayRun(path string) bool {
	if !filepath.IsAbs(path) || api.IsBehind() {
		return false
	}
	theirs, err := os.Stat(path) // follows links
	if err != nil {
		return true // running it says why
	}
	own, _ := os.Executable()
	beside, _ := api.Executable(program)
	for _, p := range []string{own, beside} {
		if ours, err := os.Stat(p); err == nil && os.SameFile(ours, theirs) {
			return false
		}
	}
	return true
}

// runGet asks a former helper for key.
func runGet(ctx context.Context, path, key string) (api.Login, error) {
	out, err := run(ctx, behindLimit, path, credentials.ActionGet, key)
	if err != nil {
		return api.Login{}, err
	}
	login, err := api.ParseDockerCredential([]byte(out))
	if err != nil {
		return api.Login{}, fmt.Errorf("helper %s gave no usable answer", path)
	}
	if login.Username == "" && login.Secret == "" {
		return api.Login{}, errNotFound // how some helpers say it
	}
	return login, nil
}

// run runs a former helper with the caller's environment. Its not found is
// errNotFound; any other failure names it.
func run(ctx context.Context, limit time.Duration, path, verb, input string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	stdout, stderr, err := execute(ctx, path, []string{verb}, api.BehindEnviron(), input)
	switch {
	case err == nil:
		return stdout, nil
	case ctx.Err() != nil:
		return "", fmt.Errorf("helper %s does not answer within %s", path, limit)
	case credentials.IsErrCredentialsNotFoundMessage(stdout):
		return "", errNotFound
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("helper %s: %w", path, fs.ErrNotExist)
	}
	why := firstLine(stdout, stderr, err.Error())
	return "", fmt.Errorf("helper %s: %s", path, why)
}

// firstLine is the first text that says anything.
func firstLine(texts ...string) string {
	for _, t := range texts {
		if t = strings.TrimSpace(t); t != "" {
			t, _, _ = strings.Cut(t, "\n")
			return t
		}
	}
	return ""
}

// execute runs a program, kills it when ctx ends, and does not wait for those
// who inherited its streams.
func execute(ctx context.Context, path string, args, env []string, input string) (stdout, stderr string, err error) {
	var out, errs capped
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = env
	cmd.Stdin = strings.NewReader(input)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = 100 * time.Millisecond
	err = cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it ended well; somebody else keeps its streams open
	}
	if out.over && err == nil {
		return "", "", errors.New("its answer is longer than 256 KiB")
	}
	return string(out.b), string(errs.b), err
}

// capped is a buffer that drops what is beyond the limit.
type capped struct {
	b    []byte
	over bool
}

// Write implements io.Writer.
func (c *capped) Write(p []byte) (int, error) {
	room := min(len(p), api.MaxBody-len(c.b))
	c.over = c.over || room < len(p)
	c.b = append(c.b, p[:room]...)
	return len(p), nil
}

// direct runs `regmint direct` beside this program where no agent can run: it
// speaks the same protocol. Only its success and its not found pass through
// as they are.
func (c *call) direct(ctx context.Context, a agent, host, input string) int {
	regmint, err := api.Executable("regmint")
	if err != nil {
		return c.fail(host, errText(a.why)+"; "+err.Error())
	}
	stdout, stderr, err := execute(ctx, regmint, []string{"direct", c.verb}, api.DirectEnviron(c.account), input)
	switch {
	case err == nil:
		return c.print(stdout)
	case ctx.Err() != nil:
		return c.fail(host, errText(ctx.Err()))
	case !credentials.IsErrCredentialsNotFoundMessage(stdout):
		return c.fail(host, firstLine(stdout, stderr, "regmint direct: "+err.Error()))
	case c.verb != credentials.ActionGet:
		return c.fail(host, stdout)
	}
	return c.elsewhere(ctx, a, host, trimLine(input), "")
}
