// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commandsReference is docs/commands.md: every command with its flags, as
// --help has them.
func commandsReference(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("<!-- Generated from the command line by `make gen`; edit the texts there. -->\n# Commands\n\n")
	_, rest, _ := strings.Cut(root.Long, "\n\n")
	b.WriteString(rest + " `regmint run` ends with its command's own code, or 125 where it\n" +
		"failed itself, 126 and 127 where the command cannot be started. `regmint explain CODE` says more.\n")
	describeCommands(&b, root)
	b.WriteString("\nThe helper that clients start is `docker-credential-regmint get|store|erase|list|version`. A link to it named\n" +
		"`docker-credential-regmint-ACCOUNT` always means that account, `docker-credential-regmint-soft` answers\n\"not found\" instead of a failure.\n")
	return b.String()
}

func describeCommands(b *strings.Builder, c *cobra.Command) {
	for _, sub := range c.Commands() {
		switch {
		case sub.Hidden || sub.Name() == "help":
			continue
		case sub.HasAvailableSubCommands():
			describeCommands(b, sub)
			continue
		}
		line := strings.TrimSuffix(sub.UseLine(), " [flags]")
		fmt.Fprintf(b, "\n## %s\n\n", sub.CommandPath())
		if sub.Parent().Name() == "completion" {
			fmt.Fprintf(b, "Print the completion script of %s.\n", sub.Name())
			continue
		}
		text := sub.Long
		if text == "" {
			text = strings.ToUpper(sub.Short[:1]) + sub.Short[1:] + "."
		}
		fmt.Fprintf(b, "%s\n\n    %s\n", text, line)
		var rows strings.Builder
		sub.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Hidden || f.Name == "help" {
				return
			}
			name := "--" + f.Name
			if f.Shorthand != "" {
				name = "-" + f.Shorthand + ", " + name
			}
			fmt.Fprintf(&rows, "| `%s` | %s |\n", name, strings.ReplaceAll(f.Usage, "|", `\|`))
		})
		if rows.Len() > 0 {
			b.WriteString("\n| flag | meaning |\n|---|---|\n" + rows.String())
		}
	}
}

// GOLDEN_UPDATE=1 writes the page anew (make gen).
func TestCommandsInDocsAreUpToDate(t *testing.T) {
	a, _, _ := testApp(t)
	want := commandsReference(a.rootCmd())
	path := filepath.Join("..", "..", "docs", "commands.md")
	if os.Getenv("GOLDEN_UPDATE") != "" {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || strings.ReplaceAll(string(got), "\r\n", "\n") != want {
		t.Errorf("docs/commands.md is out of date; run: make gen (%v)", err)
	}
}
