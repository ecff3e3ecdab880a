// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// object is a JSON object that is edited as text: what is not touched keeps
// its bytes, order, indentation and the space around it.
type object struct {
	src     []byte
	open    int // index of {
	close   int // index of }
	members []member
}

// member is one key and its value, by offsets into object.src.
type member struct {
	key      string
	keyAt    int // index of the key's opening quote
	keyEnd   int // index after its closing quote
	valAt    int
	valEnd   int
	rawValue []byte
}

// parseObject reads the object in src; it may be surrounded by white space
// only, and a key may not stand there twice.
func parseObject(src []byte) (*object, error) {
	trimmed := bytes.TrimLeft(src, " \t\r\n")
	switch {
	case len(trimmed) == 0:
		return nil, fmt.Errorf("%w: the file is empty; delete it or write {}", ErrMalformed)
	case bytes.HasPrefix(trimmed, []byte("\xef\xbb\xbf")):
		return nil, fmt.Errorf("%w: it starts with a byte order mark; save it as plain UTF-8", ErrMalformed)
	case !json.Valid(src):
		return nil, fmt.Errorf("%w: %w", ErrMalformed, syntaxError(src))
	case trimmed[0] != '{':
		return nil, fmt.Errorf("%w: a JSON object is needed, not %s", ErrMalformed, jsonKind(trimmed[0]))
	}
	return splitObject(src, len(src)-len(trimmed))
}

// splitObject finds the members of the object that starts at open. src is
// known to be valid JSON.
func splitObject(src []byte, open int) (*object, error) {
	o := &object{src: src, open: open}
	dec := json.NewDecoder(bytes.NewReader(src))
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	seen := map[string]bool{}
	end := open + 1
	for dec.More() {
		t, err := dec.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return nil, fmt.Errorf("%w: no key where one is expected", ErrMalformed)
		}
		if seen[key] {
			return nil, fmt.Errorf("%w: the key %q stands there twice", ErrMalformed, clean(key))
		}
		seen[key] = true
		m := member{key: key, keyAt: skip(src, end, " \t\r\n,"), keyEnd: int(dec.InputOffset())}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		m.valEnd = int(dec.InputOffset())
		m.valAt = m.valEnd - len(raw)
		m.rawValue = src[m.valAt:m.valEnd]
		o.members = append(o.members, m)
		end = m.valEnd
	}
	o.close = skip(src, end, " \t\r\n")
	return o, nil
}

func skip(src []byte, i int, set string) int {
	for i < len(src) && strings.IndexByte(set, src[i]) >= 0 {
		i++
	}
	return i
}

// syntaxError says where invalid JSON goes wrong, by line; never what stands
// there, which may be a secret.
func syntaxError(src []byte) error {
	var v any
	err := json.Unmarshal(src, &v)
	var se *json.SyntaxError
	if !errors.As(err, &se) {
		return errors.New("not valid JSON")
	}
	at := min(int(se.Offset), len(src))
	return fmt.Errorf("not valid JSON at line %d", 1+bytes.Count(src[:at], []byte("\n")))
}

// jsonKind names the kind of value that starts with c.
func jsonKind(c byte) string {
	switch c {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// find is the index of key, -1 where it is absent. fold also takes a key in
// other letter case, as Go's JSON decoders (docker's, podman's) do.
func (o *object) find(key string, fold bool) int {
	for i, m := range o.members {
		if m.key == key {
			return i
		}
	}
	if fold {
		for i, m := range o.members {
			if strings.EqualFold(m.key, key) {
				return i
			}
		}
	}
	return -1
}

// folded counts the keys that read as key in any letter case.
func (o *object) folded(key string) int {
	n := 0
	for _, m := range o.members {
		if strings.EqualFold(m.key, key) {
			n++
		}
	}
	return n
}

// set returns the text with key's value replaced, or the key added at the end
// in the style of its neighbours. indent is the white space of the line that
// holds the object ("" for the outermost).
func (o *object) set(key string, value []byte, indent string) []byte {
	if i := o.find(key, false); i >= 0 {
		return splice(o.src, o.members[i].valAt, o.members[i].valEnd, value)
	}
	name := quote(key)
	if n := len(o.members); n > 0 {
		before, colon := o.style()
		return splice(o.src, o.members[n-1].valEnd, o.members[n-1].valEnd, concat(",", before, name, colon, value))
	}
	return splice(o.src, o.open+1, o.close, concat("\n", indent, "\t", name, ": ", value, "\n", indent))
}

// style is the white space before a key and the text between key and value, as
// the object's last member has them.
func (o *object) style() (before, colon []byte) {
	last := o.members[len(o.members)-1]
	from := o.open + 1
	if n := len(o.members); n > 1 {
		from = o.members[n-2].valEnd
	}
	before = o.src[from:last.keyAt]
	if i := bytes.IndexByte(before, ','); i >= 0 {
		before = before[i+1:]
	}
	return before, o.src[last.keyEnd:last.valAt]
}

// inline reports an object whose members share one line.
func (o *object) inline() bool {
	if len(o.members) == 0 {
		return false
	}
	before, _ := o.style()
	return bytes.IndexByte(before, '\n') < 0
}

// memberIndent is the indentation of the members; fallback where there are none.
func (o *object) memberIndent(fallback string) string {
	if len(o.members) == 0 {
		return fallback
	}
	before, _ := o.style()
	i := bytes.LastIndexByte(before, '\n')
	return string(before[i+1:])
}

// remove returns the text without key.
func (o *object) remove(key string) []byte {
	i := o.find(key, false)
	switch n := len(o.members); {
	case i < 0:
		return o.src
	case n == 1:
		return splice(o.src, o.open+1, o.close, nil)
	case i == n-1:
		return splice(o.src, o.members[i-1].valEnd, o.members[i].valEnd, nil)
	default:
		return splice(o.src, o.members[i].keyAt, o.members[i+1].keyAt, nil)
	}
}

// splice returns src with src[from:to] replaced, in new memory.
func splice(src []byte, from, to int, with []byte) []byte {
	out := make([]byte, 0, len(src)-(to-from)+len(with))
	out = append(out, src[:from]...)
	out = append(out, with...)
	return append(out, src[to:]...)
}

func concat(parts ...any) []byte {
	var out []byte
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			out = append(out, p...)
		case []byte:
			out = append(out, p...)
		}
	}
	return out
}

// quote is s as a JSON string; & < > stay readable.
func quote(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes, into memory
	return bytes.TrimRight(b.Bytes(), "\n")
}

// render writes members as an object of one key a line; values keep their text.
func render(w io.Writer, members []member) error {
	var b bytes.Buffer
	b.WriteString("{")
	for i, m := range members {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(concat("\n\t", quote(m.key), ": ", m.rawValue))
	}
	b.WriteString("\n}\n")
	_, err := w.Write(b.Bytes())
	return err
}
