// SPDX-License-Identifier: Apache-2.0

// Package helper is docker-credential-regmint: it speaks the protocol of
// docker-credential-helpers on its standard streams and asks the agent of the
// job or of the user. It validates what it reads, since nobody before it does,
// and ends within ten seconds, since nobody waits for it with a limit.
package helper

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/docker/docker-credential-helpers/credentials"

	"github.com/regmint/regmint/agent/api"
)

const (
	// totalLimit bounds a whole call (DESIGN rule 2), less what the answer
	// takes on its way out.
	totalLimit = 10*time.Second - 100*time.Millisecond
	stdinLimit = 5 * time.Second
	// maxLine is the length of a failure in characters (DESIGN rule 1).
	maxLine = 160
)

// program is the name without an account, and the prefix of links that have
// one: docker-credential-regmint-ACCOUNT.
const program = "docker-credential-regmint"

// call is one run of the helper.
type call struct {
	verb     string
	account  string // the link's; "" = REGMINT_ACCOUNT
	soft     bool   // the link's: a failed get reads as not found
	in       io.Reader
	out, err io.Writer
	end      time.Time
}

// Main runs the helper and returns its exit code, 0 or 1. args are os.Args:
// the program's name picks an account (docker-credential-regmint-ACCOUNT) or
// soft failures (a name that ends in -soft).
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := &call{in: stdin, out: stdout, err: stderr, end: time.Now().Add(totalLimit)}
	if len(args) != 2 {
		return c.usage(1)
	}
	c.account, c.soft = fromName(args[0])
	c.verb = args[1]
	ctx := api.Until(c.end)
	switch c.verb {
	case credentials.ActionGet:
		return c.get(ctx)
	case credentials.ActionStore, credentials.ActionErase:
		return c.change(ctx)
	case credentials.ActionList:
		return c.list(ctx)
	case credentials.ActionVersion, "--version", "-v":
		return c.print(program + " (github.com/regmint/regmint) " + api.BuildVersion + "\n")
	case "--help", "-h":
		return c.usage(0)
	}
	return c.usage(1)
}

func (c *call) usage(code int) int {
	return max(code, c.print("Usage: "+program+" <store|get|erase|list|version>\n"))
}

// fromName reads what the name of a link says.
func fromName(arg0 string) (account string, soft bool) {
	name := strings.TrimSuffix(filepath.Base(arg0), ".exe")
	rest, ok := strings.CutPrefix(name, program+"-")
	if !ok {
		return "", false
	}
	if rest == "soft" {
		return "", true
	}
	return strings.CutSuffix(rest, "-soft")
}

// pick is the account to use: the link's, else REGMINT_ACCOUNT.
func (c *call) pick() string {
	if c.account != "" {
		return c.account
	}
	return api.AccountEnv()
}

// print writes an answer to stdout.
func (c *call) print(s string) int {
	if err := write(c.out, s, c.end.Add(100*time.Millisecond)); err != nil {
		return 1
	}
	return 0
}

// notFound is the answer for a host that has no account.
func (c *call) notFound() int {
	c.print(credentials.NewErrCredentialsNotFound().Error() + "\n")
	return 1
}

// fail says why on both streams: docker shows only stderr, crane, oras and
// skopeo only stdout. host may be "".
func (c *call) fail(host, why string) int {
	if c.soft {
		switch c.verb {
		case credentials.ActionGet:
			return c.notFound()
		case credentials.ActionList:
			return c.print("{}\n")
		}
	}
	if host != "" && !namesHost(why, host) {
		why = host + ": " + why
	}
	line := api.CleanLine(why, maxLine) + "\n"
	c.print(line)
	_ = write(c.err, line, c.end.Add(100*time.Millisecond))
	return 1
}

// namesHost reports that why starts with the host already; the agent writes it
// in its normal form: without :443, in lower case, Docker Hub as docker.io.
func namesHost(why, host string) bool {
	first, _, ok := strings.Cut(why, ": ")
	return ok && first != "" && (first == "docker.io" || strings.HasPrefix(strings.ToLower(host), strings.ToLower(first)))
}

// errText is err for a failure line.
func errText(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer within 10s; run: regmint status"
	}
	return err.Error()
}
