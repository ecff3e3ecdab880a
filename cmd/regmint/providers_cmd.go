// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
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
			for _, p := range a.providers {
				if err := a.print("%s\n%s%s", p.Name(), wrapped("keys", optionKeys(p)), wrapped("reads", p.Env())); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

// wrapped is a labelled list in lines of at most 100 characters; "" for none.
func wrapped(label string, words []string) string {
	const width, margin = 100, "         "
	var b strings.Builder
	line := ""
	for i, w := range words {
		if i < len(words)-1 {
			w += ","
		}
		switch {
		case line == "":
			line = fmt.Sprintf("  %-7s%s", label, w)
		case len(line)+1+len(w) > width:
			b.WriteString(line + "\n")
			line = margin + w
		default:
			line += " " + w
		}
	}
	if line != "" {
		b.WriteString(line + "\n")
	}
	return b.String()
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
