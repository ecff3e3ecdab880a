// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable shows control and other unprintable characters of s as escapes
// (\x1b, \u202e) and cuts the text to at most max bytes at a character's end.
func Printable(s string, max int) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		part := s[:n]
		switch {
		case r == utf8.RuneError && n == 1, r < 0x20, r == 0x7f:
			part = fmt.Sprintf(`\x%02x`, s[0])
		case !unicode.IsPrint(r):
			part = fmt.Sprintf(`\u%04x`, r)
		}
		if b.Len()+len(part) > max {
			break
		}
		b.WriteString(part)
		s = s[n:]
	}
	return b.String()
}

// CleanURL is u without userinfo, query and fragment, printable.
func CleanURL(u *url.URL) string {
	return Printable(u.Scheme+"://"+u.Host+u.EscapedPath(), 160)
}
