// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"
)

// rootCmd is the tree of all commands.
func (a *app) rootCmd() *cobra.Command {
	root := &cobra.Command{
		Use:           "regmint",
		Short:         "one login for every container registry, short-lived tokens for every job",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddCommand(newRunCmd(a), newVersionCmd(a))
	a.markStart(root)
	return root
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
