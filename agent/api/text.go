// SPDX-License-Identifier: Apache-2.0

package api

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// IsControl counts what moves a terminal's cursor, reorders its text or hides
// in it: C0, DEL, C1, line separators, bidirectional marks and other
// characters without a shape, the byte order mark.
func IsControl(r rune) bool {
	switch {
	case r < ' ', r >= 0x7f && r <= 0x9f, r == '\u2028', r == '\u2029':
		return true
	case r < 0xad:
		return false
	}
	return unicode.Is(unicode.Cf, r)
}

// CleanLine makes foreign text fit for one line on a terminal: control
// characters and broken UTF-8 are shown as \x1b or \u202e, and it is cut after
// limit characters.
func CleanLine(s string, limit int) string {
	if !strings.ContainsFunc(s, IsControl) && utf8.ValidString(s) && utf8.RuneCountInString(s) <= limit {
		return s
	}
	var b strings.Builder
	n := 0
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		piece := s[:size]
		switch {
		case r == utf8.RuneError && size == 1, r < utf8.RuneSelf && IsControl(r):
			piece = hexEscape(`\x`, rune(s[0]), 2)
		case IsControl(r) && r > 0xffff:
			piece = hexEscape(`\U`, r, 8)
		case IsControl(r):
			piece = hexEscape(`\u`, r, 4)
		}
		if n += utf8.RuneCountInString(piece); n > limit-1 && (n > limit || len(s) > size) {
			b.WriteString("…")
			break
		}
		b.WriteString(piece)
		s = s[size:]
	}
	return b.String()
}

func hexEscape(prefix string, v rune, digits int) string {
	const hex = "0123456789abcdef"
	b := []byte(prefix)
	for i := digits - 1; i >= 0; i-- {
		b = append(b, hex[v>>(4*i)&15])
	}
	return string(b)
}
