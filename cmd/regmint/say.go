// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"strings"
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

// printable shows control characters and those that turn text around instead
// of sending them to a terminal.
func printable(s string) string {
	if !strings.ContainsFunc(s, isControl) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || r == '\t':
			b.WriteByte(' ')
		case !isControl(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func isControl(r rune) bool {
	return r < 0x20 || r >= 0x7f && r <= 0x9f || r == 0x200e || r == 0x200f ||
		r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// count is "1 thing" or "3 things".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// printLine writes v as one line of JSON to stdout.
func (a *app) printLine(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
