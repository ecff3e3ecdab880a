// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"
	"strings"

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
	ask, known, err := a.checker(ctx)
	if err != nil {
		return err
	}
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
		Native: r.Native, Wider: r.Wider, ExpiresAt: stamp(r.ExpiresAt), RateLimit: r.RateLimit, Rotation: r.Rotation,
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
