// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/providers"
)

func newConfigCmd(a *app) *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "where the configuration is, what it says, and whether it is right", Args: cobra.NoArgs}
	sub := func(use, short string, run func() error) *cobra.Command {
		return &cobra.Command{
			Use: use, Short: short, Args: cobra.NoArgs,
			RunE: command(func(context.Context, []string) error { return run() }),
		}
	}
	c.AddCommand(
		sub("path", "print the files that are read, the strongest first", a.configPath),
		sub("show", "print the configuration in force, with the place of each account; never a secret", a.configShow),
		sub("check", "find everything that is wrong, with file and line", a.configCheck),
		sub("schema", "print the JSON schema of config.toml", a.configSchema),
		newConfigVarsCmd(a),
	)
	return c
}

func (a *app) configPath() error {
	f, err := a.files()
	if err != nil {
		return err
	}
	for _, p := range []string{f.config.User, f.config.Saved, f.config.System} {
		if p == "" {
			continue
		}
		note := ""
		if _, err := os.Stat(p); err != nil {
			note = " (not there)"
		}
		if err := a.print("%s%s\n", printable(p), note); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) configCheck() error {
	cfg, f, err := a.loadConfig()
	if err == nil {
		// Accounts that no rule can tell apart show only here.
		_, err = providers.NewSelector(cfg.Accounts)
	}
	if err != nil {
		return err
	}
	for _, w := range cfg.Warnings {
		a.say("warning: %s", w)
	}
	if len(cfg.Files) == 0 {
		a.say("there is no configuration file, and none is needed; yours would be %s", f.config.User)
		return nil
	}
	a.say("%s: %s", strings.Join(cfg.Files, ", "), count(len(cfg.Accounts), "account, all right", "accounts, all right"))
	return nil
}

func (a *app) configSchema() error {
	text, err := config.Schema(a.providers)
	if err != nil {
		return err
	}
	return a.print("%s\n", strings.TrimRight(string(text), "\n"))
}

// varJSON is one variable of config vars --format json.
type varJSON struct {
	Name    string  `json:"name"`
	Group   string  `json:"group"`
	Meaning string  `json:"meaning"`
	Expects string  `json:"expects"`
	Set     bool    `json:"set"`
	Value   *string `json:"value,omitempty"`
}

func newConfigVarsCmd(a *app) *cobra.Command {
	format := ""
	c := &cobra.Command{Use: "vars", Short: "print the environment variables that are read, and their values here", Args: cobra.NoArgs}
	c.Flags().StringVar(&format, "format", "table", "table or json")
	c.RunE = command(func(context.Context, []string) error {
		list := a.vars()
		switch format {
		case "json":
			return a.printJSON(struct {
				Schema int       `json:"schema"`
				Vars   []varJSON `json:"vars"`
			}{1, list})
		case "table":
			return a.print("%s", varsTable(list).render(a.colour()))
		}
		return usage("", "--format %s: use table or json", format)
	})
	return c
}

// vars lists the table with the values of this process; what may be secret is
// never shown.
func (a *app) vars() []varJSON {
	out := []varJSON{}
	for _, v := range config.Vars(a.providers) {
		j := varJSON{Name: v.Name, Group: v.Group, Meaning: v.Meaning, Expects: v.Expects}
		value, ok := a.env(v.Name)
		if j.Set = ok; ok && !v.Sensitive {
			j.Value = &value
		}
		out = append(out, j)
	}
	return out
}

func varsTable(list []varJSON) *table {
	t := &table{header: []string{"VARIABLE", "HERE", "MEANING"}}
	group := ""
	for _, v := range list {
		if v.Group != group {
			group = v.Group
			t.add(cell{"# " + group, faint}, text(""), text(""))
		}
		here := "-"
		switch {
		case v.Value != nil:
			here = shorten(*v.Value, 40)
		case v.Set:
			here = "(set)"
		}
		t.add(text(v.Name), text(here), text(v.Meaning+": "+v.Expects))
	}
	return t
}

// shorten cuts a text that would tear a table.
func shorten(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
