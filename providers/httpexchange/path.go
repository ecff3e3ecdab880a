// SPDX-License-Identifier: Apache-2.0

package httpexchange

import (
	"errors"
	"strconv"
	"strings"
)

// path leads to a value in an answer: names and indexes.
type path []step

type step struct {
	name  string
	index int // -1 for a name
}

const (
	maxSteps = 16
	maxIndex = 10000
)

var errPath = errors.New(`write names with dots, [n] for arrays and ["odd.name"] for other names: data.items[0].secret`)

// parsePath reads data.items[0]["odd.name"].secret.
func parsePath(s string) (path, error) {
	var p path
	rest := s
	for first := true; rest != ""; first = false {
		var st step
		var err error
		switch {
		case rest[0] == '[':
			st, rest, err = bracket(rest[1:])
		case first:
			st, rest, err = word(rest)
		case rest[0] == '.':
			st, rest, err = word(rest[1:])
		default:
			err = errPath
		}
		if err != nil || len(p) == maxSteps {
			return nil, errPath
		}
		p = append(p, st)
	}
	if len(p) == 0 {
		return nil, errPath
	}
	return p, nil
}

func word(s string) (step, string, error) {
	n := strings.IndexAny(s, ".[]\"")
	if n < 0 {
		n = len(s)
	}
	if n == 0 {
		return step{}, "", errPath
	}
	return step{name: s[:n], index: -1}, s[n:], nil
}

// bracket reads what follows a "[".
func bracket(s string) (step, string, error) {
	if strings.HasPrefix(s, `"`) {
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			return step{}, "", errPath
		}
		name, err := strconv.Unquote(quoted)
		rest, closed := strings.CutPrefix(s[len(quoted):], "]")
		if err != nil || !closed {
			return step{}, "", errPath
		}
		return step{name: name, index: -1}, rest, nil
	}
	digits, rest, closed := strings.Cut(s, "]")
	n, err := strconv.Atoi(digits)
	if !closed || err != nil || n < 0 || n > maxIndex || strconv.Itoa(n) != digits {
		return step{}, "", errPath
	}
	return step{index: n}, rest, nil
}

// find returns the value p leads to; false where the answer has none. A null
// counts as none.
func (p path) find(v any) (any, bool) {
	for _, st := range p {
		switch x := v.(type) {
		case map[string]any:
			next, ok := x[st.name]
			if !ok || st.index >= 0 {
				return nil, false
			}
			v = next
		case []any:
			if st.index < 0 || st.index >= len(x) {
				return nil, false
			}
			v = x[st.index]
		default:
			return nil, false
		}
	}
	return v, v != nil
}

// String is the form parsePath reads.
func (p path) String() string {
	var b strings.Builder
	for i, st := range p {
		switch {
		case st.index >= 0:
			b.WriteString("[" + strconv.Itoa(st.index) + "]")
		case st.name == "" || strings.ContainsAny(st.name, ".[]\""):
			b.WriteString("[" + strconv.Quote(st.name) + "]")
		default:
			if i > 0 {
				b.WriteByte('.')
			}
			b.WriteString(st.name)
		}
	}
	return b.String()
}
