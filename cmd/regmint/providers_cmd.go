// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/providers"
)

func newProvidersCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "providers [HOST]",
		Short: "list the registry products that are known, or say which one answers for HOST",
		Args:  cobra.MaximumNArgs(1),
		RunE: command(func(_ context.Context, args []string) error {
			if len(args) == 1 {
				return a.providerOf(args[0])
			}
			t := &table{header: []string{"PROVIDER", "KEYS OF ITS OWN", "READS"}}
			for _, p := range a.providers {
				t.add(text(p.Name()), text(dash(strings.Join(optionKeys(p), ", "))), text(dash(strings.Join(p.Env(), ", "))))
			}
			return a.print("%s", t.render(a.colour()))
		}),
	}
}

// optionKeys are the keys an account of this provider takes beside the common
// ones.
func optionKeys(p providers.Provider) []string {
	var keys []string
	for line := range strings.Lines(config.OptionsReference(p)) {
		// | `key` | meaning |
		if rest, ok := strings.CutPrefix(line, "| `"); ok {
			if key, _, ok := strings.Cut(rest, "`"); ok {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// providerOf says which account and which product answer for a host.
func (a *app) providerOf(name string) error {
	k, err := providers.ParseKey(name)
	if err != nil {
		return err
	}
	cfg, _, err := a.loadConfig()
	if err != nil {
		return err
	}
	sel, err := providers.NewSelector(cfg.Accounts)
	if err != nil {
		return err
	}
	acc, err := sel.Select(k.Host, k.Repository, a.env.Account())
	switch {
	case err == nil:
		return a.print("%s: provider %s, account %s (%s)\n", k, acc.Provider, acc.Name, printable(acc.Source))
	case providers.KindOf(err) != providers.NoAccount:
		return err
	}
	for _, p := range a.providers {
		if p.Match(k.Host) {
			return a.print("%s: provider %s, recognised by the name\n", k, p.Name())
		}
	}
	return &providers.Error{Kind: providers.NoAccount, Host: k.Host, Err: errNoAccountText, Hint: "run: regmint login " + k.Host.String()}
}
