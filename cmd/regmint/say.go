// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"github.com/regmint/regmint/agent/api"
)

// say prints one line for people on stderr.
func (a *app) say(format string, args ...any) {
	_, _ = fmt.Fprintln(a.err, "regmint: "+printable(fmt.Sprintf(format, args...)))
}

// hint says what to do next; an empty one says nothing.
func (a *app) hint(text string) {
	if text != "" {
		a.say("hint: %s", text)
	}
}

// print writes data to stdout.
func (a *app) print(format string, args ...any) error {
	_, err := fmt.Fprintf(a.out, format, args...)
	return err
}

// printJSON writes v, indented, to stdout.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// colour reports whether stdout may have colours.
func (a *app) colour() bool {
	return a.isTerminal(a.out) && a.lookup("NO_COLOR") == "" && a.lookup("TERM") != "dumb"
}

// printable shows what would move a terminal's cursor or turn text around
// instead of sending it there; line ends become blanks.
func printable(s string) string {
	return api.CleanLine(lineEnds.Replace(s), math.MaxInt)
}

var lineEnds = strings.NewReplacer("\r\n", " ", "\n", " ", "\t", " ")

// count is "1 thing" or "3 things".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
