// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// explanation is what a code means and what to do.
type explanation struct {
	codes []string
	text  string
}

// explanations are the exit codes of regmint and the kinds of failure in its
// JSON.
var explanations = []explanation{
	{[]string{"0", "ok"}, "Done."},
	{[]string{"1", "unavailable"}, `Something did not answer or failed: a registry, an identity provider, the
network, a file. Nothing is wrong with the login as far as is known; the same
command may work later. The message names who did not answer.`},
	{[]string{"2", "misconfigured"}, `The command line or the configuration is wrong. Look with: regmint config check
Several accounts own the host: set default = true on one of them, or choose with
REGMINT_ACCOUNT.`},
	{[]string{"4", "login_required"}, `There is no saved login, it has expired, the registry refuses it, or saved
logins are locked. Run what the hint says: regmint login HOST, or regmint unlock.`},
	{[]string{"5"}, `No agent answers and none could be started. Run it in the foreground to see why:
regmint agent run. Without one, REGMINT_AGENT=off answers gets all the same.`},
	{[]string{"6", "no_account", "not_found"}, `No account is for this host, so clients go on without a login. Make one with:
regmint login HOST, or add the host to an account in config.toml.`},
	{[]string{"7", "denied"}, `The login is good and may not do this: the registry says so, or an account, a
policy or the targets of a job are narrower. Compare with: regmint status`},
	{[]string{"125"}, "regmint run could not make the job; the command did not run."},
	{[]string{"126"}, "regmint run found the command and could not run it."},
	{[]string{"127"}, "regmint run did not find the command."},
	{[]string{"130"}, "Interrupted."},
}

func newExplainCmd(a *app) *cobra.Command {
	var valid []string
	for _, e := range explanations {
		valid = append(valid, e.codes...)
	}
	return &cobra.Command{
		Use:       "explain CODE",
		Short:     "say what an exit code or a kind of failure means",
		Args:      cobra.ExactArgs(1),
		ValidArgs: valid,
		RunE: command(func(_ context.Context, args []string) error {
			for _, e := range explanations {
				if slices.Contains(e.codes, args[0]) {
					return a.print("%s\n", e.text)
				}
			}
			return usage("these are known: "+strings.Join(valid, ", "), "there is no code %q", args[0])
		}),
	}
}
