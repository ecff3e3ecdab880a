// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxShown bounds how much of a foreign address an error repeats.
const maxShown = 64

// badAddress is the error for a server address that is refused.
func badAddress(s, reason string) error {
	msg := "invalid server address: " + reason
	if s != "" {
		msg += ": " + showAddress(s)
	}
	return &Error{Kind: Misconfigured, Err: errors.New(msg)}
}

// checkBytes refuses what must not reach any parser: another reading of the
// same bytes (by a resolver, a shell, a browser's URL rules) could name another
// host.
func checkBytes(s string) error {
	if s == "" {
		return badAddress("", "it is empty")
	}
	if strings.ContainsRune(s, '@') {
		return badAddress(s, "it holds a user name or password")
	}
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\ufffd"):
			return badAddress(s, fmt.Sprintf("not UTF-8 at byte %d", i))
		case isControl(r):
			return badAddress(s, fmt.Sprintf("control character at byte %d", i))
		case unicode.IsSpace(r):
			return badAddress(s, fmt.Sprintf("space at byte %d", i))
		case r > unicode.MaxASCII:
			return badAddress(s, fmt.Sprintf("character outside ASCII at byte %d, write the xn-- form", i))
		case strings.ContainsRune(`%\?#`, r):
			return badAddress(s, fmt.Sprintf("%q at byte %d", r, i))
		}
	}
	return nil
}

// isControl counts what moves a terminal's cursor or reorders its text: C0,
// C1, DEL, line separators, bidirectional marks, the byte order mark.
func isControl(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// showAddress makes s fit for a terminal and a log: printable ASCII, no
// password, no query, of bounded length.
func showAddress(s string) string {
	scheme := ""
	if i := strings.Index(s, "://"); i >= 0 && i <= len("https") && !strings.Contains(s[:i], "@") {
		scheme, s = s[:i+3], s[i+3:]
	}
	if i := strings.LastIndex(strings.ReplaceAll(s, "%40", "@@@"), "@"); i >= 0 {
		s = "***@" + s[i+1:]
	}
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		s = s[:i+1] + "***"
	}
	return escape(scheme + s)
}

// escape shows control bytes as \x1b and everything else outside ASCII as \u0441.
func escape(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		if b.Len() > maxShown {
			b.WriteString("...")
			break
		}
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1, r < ' ', r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case r <= unicode.MaxASCII:
			b.WriteByte(s[0])
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		s = s[n:]
	}
	return b.String()
}

// parsePath checks the segments of a repository or a namespace; whole is what
// the caller was given.
func parsePath(path, whole string) error {
	if len(path) > maxRepository {
		return badAddress(whole, "the repository is longer than 255 bytes")
	}
	for seg := range strings.SplitSeq(path, "/") {
		switch {
		case seg == "":
			return badAddress(whole, "the path has an empty segment")
		case strings.Trim(seg, ".") == "":
			return badAddress(whole, "the path has a dot segment")
		case strings.Contains(seg, "*"):
			return badAddress(whole, "a path has no wildcard, it covers everything below it")
		case strings.Contains(seg, ":"):
			return badAddress(whole, "a repository is written without tag and port")
		case strings.ContainsFunc(seg, func(r rune) bool { return !isPathRune(r) }):
			return badAddress(whole, "the path has a character that no repository has")
		}
	}
	return nil
}

func isPathRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r)
}
