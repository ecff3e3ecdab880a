// SPDX-License-Identifier: Apache-2.0

package main

import (
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
		newLoginCmd(a), newLogoutCmd(a), newGetCmd(a), newRefreshCmd(a), newStatusCmd(a), newRunCmd(a),
		newInstallCmd(a), newUninstallCmd(a), newAgentCmd(a), newLockCmd(a), newUnlockCmd(a),
		newConfigCmd(a), newProvidersCmd(a), newExplainCmd(a), newDirectCmd(a), newVersionCmd(a),
	)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Short, c.Long = "print the completion script of a shell", ""
		}
		if c.HasSubCommands() {
			group(c)
		}
	}
	a.markStart(root)
	return root
}

// group makes a command that only holds others show its help, and refuse what
// is none of them.
func group(c *cobra.Command) {
	c.Args = cobra.ArbitraryArgs
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
