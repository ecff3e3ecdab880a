// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
)

// rootCmd is the tree of all commands.
func (a *app) rootCmd() *cobra.Command {
	root := &cobra.Command{
		Use:   "regmint",
		Short: "one login for every container registry, short-lived tokens for every job",
		Long: `One login for every container registry, short-lived tokens for every job.

Data goes to stdout, everything else to stderr. Exit codes: 0 done, 1 failed,
2 usage or configuration, 4 login required, 5 agent unreachable, 6 no account
for this host, 7 denied, 130 interrupted.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.AddCommand(
		newLoginCmd(a), newLogoutCmd(a), newGetCmd(a), newRefreshCmd(a), newRotateCmd(a), newCheckCmd(a), newStatusCmd(a), newRunCmd(a),
		newInstallCmd(a), newUninstallCmd(a), newAgentCmd(a), newLockCmd(a), newUnlockCmd(a),
		newConfigCmd(a), newProvidersCmd(a), newExplainCmd(a), newDirectCmd(a), newVersionCmd(a),
	)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Short, c.Long = "print the completion script of a shell", ""
		}
		if c.Name() == "help" {
			c.Short = "help about any command"
		}
		if c.HasSubCommands() {
			group(c)
		}
	}
	group(root)
	hintArgs(root)
	a.markStart(root)
	return root
}

// group makes a command that only holds others show its help, and refuse what
// is none of them.
func group(c *cobra.Command) {
	c.Args, c.SuggestionsMinimumDistance = cobra.ArbitraryArgs, 2
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		hint := "see: " + c.CommandPath() + " --help"
		if s := c.SuggestionsFor(args[0]); len(s) > 0 {
			hint = "did you mean: " + c.CommandPath() + " " + strings.Join(s, ", ")
		}
		return usage(hint, "there is no command %q", c.CommandPath()+" "+args[0])
	}
}

// hintArgs shows how a command is called where its arguments or flags are
// wrong.
func hintArgs(c *cobra.Command) {
	see := func(c *cobra.Command, err error) error {
		if _, said := errors.AsType[*exitStatus](err); err == nil || said {
			return err
		}
		return usage("usage: "+c.UseLine(), "%w", err)
	}
	flagError, args := c.FlagErrorFunc(), c.Args
	for _, sub := range c.Commands() {
		hintArgs(sub) // before the parent: a flag error is passed on to it
	}
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return see(c, flagError(c, err)) })
	if args != nil {
		c.Args = func(c *cobra.Command, list []string) error { return see(c, args(c, list)) }
	}
}

// markStart notes that a command began: what goes wrong before is a mistake in
// the command line.
func (a *app) markStart(c *cobra.Command) {
	if run := c.RunE; run != nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			a.started = true
			return run(c, args)
		}
	}
	for _, sub := range c.Commands() {
		a.markStart(sub)
	}
}
