// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep unknown values may nest.
const maxDepth = 32

var (
	errJSON = errors.New("malformed JSON")
	// ErrDuplicate is the cause of a SyntaxError for two fields of one name.
	ErrDuplicate = errors.New("duplicate field")
)

// SyntaxError is malformed JSON, or JSON that regmint refuses although others
// read it: invalid UTF-8, lone surrogates, two fields of one name.
type SyntaxError struct {
	Offset int // of the byte where reading stopped
	Err    error
}

// Error implements error.
func (e *SyntaxError) Error() string {
	return e.Err.Error() + " at byte " + strconv.Itoa(e.Offset)
}

// Unwrap returns the cause.
func (e *SyntaxError) Unwrap() error { return e.Err }

// scanner reads one flat JSON object. encoding/json costs the helper more than
// the rest of its work, and it lets the last of two equal fields win.
type scanner struct {
	b []byte
	i int
}

// scanFlat reads an object whose values field takes from the scanner; what it
// does not know it leaves alone and it is skipped. fold matches names without
// regard to case, as encoding/json does.
func scanFlat(b []byte, names []string, fold bool, field func(s *scanner, name string) error) error {
	s := &scanner{b: b}
	if err := s.object(names, fold, field); err != nil {
		return &SyntaxError{Offset: s.i, Err: err}
	}
	if s.space(); s.i != len(s.b) {
		return &SyntaxError{Offset: s.i, Err: errJSON}
	}
	return nil
}

func (s *scanner) object(names []string, fold bool, field func(s *scanner, name string) error) error {
	if !s.take('{') {
		return errJSON
	}
	var seen uint64
	for first := true; !s.take('}'); first = false {
		if !first && !s.take(',') {
			return errJSON
		}
		s.space()
		key, err := s.text()
		if err != nil {
			return err
		}
		if !s.take(':') {
			return errJSON
		}
		n, err := match(names, key, fold)
		if err != nil {
			return err
		}
		s.space()
		if n < 0 {
			err = s.skip(maxDepth)
		} else if bit := uint64(1) << n; seen&bit != 0 {
			err = ErrDuplicate
		} else if seen |= bit; !s.null() {
			err = field(s, names[n])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// match finds key in names; -1 for an unknown one. A name in other case is
// either meant (fold) or an attempt to be read differently elsewhere.
func match(names []string, key string, fold bool) (int, error) {
	for i, n := range names {
		if n == key {
			return i, nil
		}
	}
	for i, n := range names {
		if !strings.EqualFold(n, key) {
			continue
		}
		if fold {
			return i, nil
		}
		return 0, errJSON
	}
	return -1, nil
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\r', '\n':
			s.i++
		default:
			return
		}
	}
}

// take steps over white space and c.
func (s *scanner) take(c byte) bool {
	s.space()
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

func (s *scanner) literal(word string) bool {
	if len(s.b)-s.i >= len(word) && string(s.b[s.i:s.i+len(word)]) == word {
		s.i += len(word)
		return true
	}
	return false
}

func (s *scanner) null() bool { return s.literal("null") }

func (s *scanner) boolean() (bool, error) {
	switch {
	case s.literal("true"):
		return true, nil
	case s.literal("false"):
		return false, nil
	}
	return false, errJSON
}

// text reads a string.
func (s *scanner) text() (string, error) {
	if s.i >= len(s.b) || s.b[s.i] != '"' {
		return "", errJSON
	}
	s.i++
	start := s.i
	for s.i < len(s.b) { // the common case has nothing to unescape
		switch c := s.b[s.i]; {
		case c == '"':
			out := string(s.b[start:s.i])
			s.i++
			return out, nil
		case c == '\\', c >= utf8.RuneSelf:
			return s.escaped(start)
		case c < ' ':
			return "", errJSON
		}
		s.i++
	}
	return "", errJSON
}

// escaped reads the rest of a string that began at start.
func (s *scanner) escaped(start int) (string, error) {
	out := append([]byte(nil), s.b[start:s.i]...)
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return string(out), nil
		case c == '\\':
			r, err := s.escape()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
		case c < ' ':
			return "", errJSON
		default:
			r, n := utf8.DecodeRune(s.b[s.i:])
			if r == utf8.RuneError && n == 1 {
				return "", errJSON
			}
			out = append(out, s.b[s.i:s.i+n]...)
			s.i += n
		}
	}
	return "", errJSON
}

func (s *scanner) escape() (rune, error) {
	if s.i+1 >= len(s.b) {
		return 0, errJSON
	}
	c := s.b[s.i+1]
	if c == 'u' {
		return s.unicode()
	}
	at := strings.IndexByte(`"\/bfnrt`, c)
	if at < 0 {
		return 0, errJSON
	}
	s.i += 2
	return rune("\"\\/\b\f\n\r\t"[at]), nil
}

// unicode reads \uXXXX; a half of a surrogate pair alone is refused, since
// replacing it would change a secret without a word.
func (s *scanner) unicode() (rune, error) {
	r, err := s.hex()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	low, err := s.hex()
	if err != nil {
		return 0, err
	}
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return 0, errJSON
	}
	return r, nil
}

func (s *scanner) hex() (rune, error) {
	if len(s.b)-s.i < 6 || s.b[s.i] != '\\' || s.b[s.i+1] != 'u' {
		return 0, errJSON
	}
	var r rune
	for _, c := range s.b[s.i+2 : s.i+6] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, errJSON
		}
	}
	s.i += 6
	return r, nil
}
