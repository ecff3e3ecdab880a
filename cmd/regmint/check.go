// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/helper"
	"github.com/regmint/regmint/providers"
)

type checkOptions struct {
	file   string
	format string
	native bool
}

func newCheckCmd(a *app) *cobra.Command {
	var o checkOptions
	c := &cobra.Command{
		Use:   "check [TARGET…] [-f FILE]",
		Short: "really ask the registries whether it would work, and say why not",
		Long: `Ask the registries whether a pull, push or clean-up would work: get the
credential as a client would, present it, and for a target with a repository ask
for its access there. Without a target it is every registry of an account, and
those recognised by their name that were asked for lately.

The exit code is that of the first target that would not work.`,
		Example: `  regmint check
  regmint check ghcr.io/acme/app=push docker.io
  regmint check --native registry.gitlab.com/acme/app=delete
  regmint check -f images.txt --format json`,
		Args: cobra.ArbitraryArgs,
		RunE: command(func(ctx context.Context, args []string) error {
			if o.format != "table" && o.format != "json" {
				return usage("", "--format %s: use table or json", o.format)
			}
			return a.check(ctx, args, o)
		}),
	}
	c.Flags().StringVarP(&o.file, "file", "f", "", "targets, one a line; - is stdin")
	c.Flags().StringVar(&o.format, "format", "table", "table or json")
	c.Flags().BoolVar(&o.native, "native", false, "the rights of a clean-up through the product's own API, too")
	return c
}

// checked is one line of the answer.
type checked struct {
	Target    string               `json:"target"`
	OK        bool                 `json:"ok"`
	Kind      string               `json:"kind,omitempty"`
	Message   string               `json:"message,omitempty"`
	Hint      string               `json:"hint,omitempty"`
	Account   string               `json:"account,omitempty"`
	Username  string               `json:"username,omitempty"`
	As        string               `json:"as,omitempty"`
	Verified  bool                 `json:"verified"`
	Native    bool                 `json:"native,omitempty"`
	Wider     bool                 `json:"wider,omitempty"`
	ExpiresAt *string              `json:"expires_at,omitempty"`
	RateLimit *api.RateLimitStatus `json:"rate_limit,omitempty"`

	code int
}

type checkJSON struct {
	Schema  int       `json:"schema"`
	Targets []checked `json:"targets"`
}

func (a *app) check(ctx context.Context, args []string, o checkOptions) error {
	targets := args
	if o.file != "" {
		more, err := a.targetsIn(o.file)
		if err != nil {
			return err
		}
		targets = append(slices.Clone(args), more...)
	}
	for _, t := range targets {
		if _, err := providers.ParseTarget(t); err != nil {
			return misconfigured(err)
		}
	}
	ask, known, done, err := a.checker(ctx)
	if err != nil {
		return err
	}
	defer done()
	if len(args) == 0 && o.file == "" {
		if targets, err = known(ctx); err != nil {
			return err
		}
		if len(targets) == 0 {
			return &exitStatus{code: exitNoAccount, err: errNoAccountText, hint: "name a target, or log in: regmint login HOST"}
		}
	}
	out, code := []checked{}, 0
	for _, t := range targets {
		c, err := a.checkOne(ctx, t, o.native, ask)
		if err != nil {
			return err
		}
		out = append(out, c)
		if code == 0 {
			code = c.code
		}
		if o.format == "table" {
			if err := a.print("%s\n", printable(c.line(a.now()))); err != nil {
				return err
			}
			if c.Hint != "" {
				a.hint(c.Hint)
			}
		}
	}
	if o.format == "json" {
		if err := a.printJSON(checkJSON{Schema: 1, Targets: out}); err != nil {
			return err
		}
	}
	if code != 0 {
		return &exitStatus{code: code}
	}
	return nil
}

type checkFunc func(ctx context.Context, req *api.GetRequest) (*api.CheckResponse, error)

// checker asks the agent; where none can run, outside jobs, this process asks
// the registry itself. known lists the registries there are.
func (a *app) checker(ctx context.Context) (ask checkFunc, known func(context.Context) ([]string, error), done func(), err error) {
	c, err := a.connect(ctx)
	if err == nil {
		ask = func(ctx context.Context, req *api.GetRequest) (*api.CheckResponse, error) {
			var r api.CheckResponse
			err := call(ctx, c, "POST", "/v1/check", req, &r)
			return &r, err
		}
		known = func(ctx context.Context) ([]string, error) {
			var st api.Status
			err := call(ctx, c, "GET", "/v1/status", nil, &st)
			return exactHosts(st), err
		}
		return ask, known, func() { _ = c.Close() }, nil
	}
	if !a.mayAnswerHere(err) {
		return nil, nil, nil, err
	}
	here, err := a.newLocal(ctx, true, false)
	if err != nil {
		return nil, nil, nil, err
	}
	ask = func(ctx context.Context, req *api.GetRequest) (*api.CheckResponse, error) {
		return here.Check(ctx, nil, req), nil
	}
	known = func(context.Context) ([]string, error) { return exactHosts(here.Status(nil)), nil }
	return ask, known, func() {}, nil
}

// exactHosts are the registries that accounts name in full, but for those where
// nobody is anybody.
func exactHosts(st api.Status) []string {
	var out []string
	for _, a := range st.Accounts {
		if a.Layer == layerAmbient && a.State == string(providers.NoAccount) {
			continue // public images are pulled there
		}
		for _, h := range a.Hosts {
			p, err := providers.ParsePattern(h)
			if err != nil {
				continue
			}
			if exact, ok := p.Exact(); ok && !slices.Contains(out, exact.String()) {
				out = append(out, exact.String())
			}
		}
	}
	slices.Sort(out)
	return out
}

func (a *app) checkOne(ctx context.Context, target string, native bool, ask checkFunc) (checked, error) {
	t, err := providers.ParseTarget(target)
	if err != nil {
		return checked{}, err
	}
	key := target
	if t.Repository != "" && t.Access == 0 { // a repository named is one to be asked about
		key += "=" + providers.Pull.String()
	}
	req := a.getRequest(key, native)
	var r *api.CheckResponse
	for range 3 {
		if r, err = ask(ctx, req); err != nil {
			return checked{}, err
		}
		if r.Outcome != api.NeedEnv {
			break
		}
		req.Env = api.CallerEnv(r.NeedEnv)
	}
	a.sawVersion(r.Version)
	c := checked{
		Target: target, OK: r.Outcome == api.OK, Account: r.Account, Username: r.Username, As: r.As, Verified: r.Verified,
		Native: r.Native, Wider: r.Wider, ExpiresAt: stamp(r.ExpiresAt), RateLimit: r.RateLimit,
	}
	if c.OK {
		return c, nil
	}
	if r.Outcome == api.NotFound && r.Behind != "" && !native {
		if login, err := helper.FormerGet(ctx, r.Behind, t.Host.DockerKey()); err == nil {
			c.OK, c.Account, c.Username = true, r.Behind, login.Username
			return c, nil
		}
	}
	fail := outcomeError(r.Outcome, r.Kind, r.Message)
	c.code, c.Kind = exitCode(fail), r.Kind
	if r.Outcome == api.NotFound {
		c.Kind = string(providers.NoAccount)
	}
	c.Message, c.Hint = errorText(fail)
	c.Message = strings.TrimPrefix(c.Message, t.Host.String()+": ")
	if c.Hint == "" && r.Outcome == api.NotFound {
		c.Hint = "run: regmint login " + t.Host.String()
	}
	return c, nil
}

// line is "ghcr.io/acme/app=push: ok: as acme-bot, account work, 52m left".
func (c checked) line(now time.Time) string {
	if !c.OK {
		return c.Target + ": " + strings.ReplaceAll(c.Kind, "_", " ") + ": " + c.Message
	}
	s := c.Target + ": ok"
	if !c.Verified {
		s = c.Target + ": there is a credential, and no way to try it"
	}
	if c.Username != "" {
		s += ", as " + c.Username
	}
	if c.Account != "" {
		s += ", account " + c.Account
	}
	if c.ExpiresAt != nil {
		if end, err := time.Parse(time.RFC3339, *c.ExpiresAt); err == nil {
			s += ", valid for " + span(end.Sub(now))
		}
	}
	if c.Wider {
		s += ", wider than asked for"
	}
	if c.Native {
		s += ", may clean up"
	}
	if c.RateLimit != nil {
		s += "; pulls: " + limitText(*c.RateLimit)
	}
	return s
}

// limitText is "87 of 100 left, resets 14:00, as acme-bot".
func limitText(l api.RateLimitStatus) string {
	s := "no limit"
	if !l.Unlimited {
		s = fmt.Sprintf("%d of %d left", l.Remaining, l.Limit)
		switch {
		case l.ResetsAt != nil:
			s += ", resets " + l.ResetsAt.Local().Format("15:04")
		case l.Window > 0:
			s += " in " + span(time.Duration(l.Window)*time.Second)
		}
	}
	if l.Who != "" {
		s += ", as " + l.Who
	}
	return s
}

// maxTargets bounds a file of targets.
const maxTargets = 1 << 20

// targetsIn reads targets, one a line; # begins a comment.
func (a *app) targetsIn(file string) ([]string, error) {
	in := a.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, misconfigured(err)
		}
		defer f.Close()
		in = f
	}
	var out []string
	sc := bufio.NewScanner(io.LimitReader(in, maxTargets))
	for sc.Scan() {
		line, _, _ := strings.Cut(sc.Text(), "#")
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	if err := sc.Err(); err != nil {
		return nil, misconfigured(fmt.Errorf("%s: %w", file, err))
	}
	if len(out) == 0 {
		return nil, usage("write one target a line: ghcr.io/acme/app=push", "%s names no target", file)
	}
	return out, nil
}
