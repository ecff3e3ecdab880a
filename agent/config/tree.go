// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// value is one TOML value with its place in the file. Exactly one of the
// payload fields is meaningful, by kind.
type value struct {
	kind  string // "string", "boolean", "integer", "float", "date", "array", "table"
	text  string
	flag  bool
	num   int64
	items []*value
	table *table
	pos   int // byte offset
}

// table keeps its keys in the order of the file.
type table struct {
	keys []string
	at   map[string]*entry
	pos  int
}

// entry is one key of a table.
type entry struct {
	val *value
	pos int // of the key
}

func newTable(pos int) *table { return &table{at: map[string]*entry{}, pos: pos} }

func (t *table) put(key string, pos int, v *value) {
	if _, ok := t.at[key]; !ok {
		t.keys = append(t.keys, key)
	}
	t.at[key] = &entry{val: v, pos: pos}
}

// document is a parsed file.
type document struct {
	file  string // for messages
	short string // for Sources: "config.toml"
	root  *table
	lines []int // offset of each line's start
}

// place turns an offset into line and column, both from 1.
func (d *document) place(pos int) (line, col int) {
	i := sort.SearchInts(d.lines, pos+1) - 1
	if i < 0 {
		return 1, 1
	}
	return i + 1, pos - d.lines[i] + 1
}

// source is "config.toml:14".
func (d *document) source(pos int) string {
	line, _ := d.place(pos)
	return d.short + ":" + strconv.Itoa(line)
}

func (d *document) problem(pos int, hint, format string, args ...any) Problem {
	line, col := d.place(pos)
	return Problem{File: d.file, Line: line, Col: col, Msg: fmt.Sprintf(format, args...), Hint: hint}
}

var utf8BOM = []byte{0xef, 0xbb, 0xbf}

// parse reads TOML. go-toml judges the document as a whole (syntax, duplicate
// keys, tables defined twice); the tree is then built from its parser, since
// only that knows where each key stands.
func parse(file, short string, data []byte) (*document, *Problem) {
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) {
		return nil, &Problem{File: file, Line: 1, Col: 1, Msg: "the file is UTF-16", Hint: "save it as UTF-8"}
	}
	data = bytes.TrimPrefix(data, utf8BOM)
	if i := invalidUTF8(data); i >= 0 {
		d := &document{file: file, lines: lineStarts(data)}
		p := d.problem(i, "save it as UTF-8", "the file is not UTF-8")
		return nil, &p
	}
	d := &document{file: file, short: short, lines: lineStarts(data)}
	var whole map[string]any
	if err := toml.Unmarshal(data, &whole); err != nil {
		p := syntaxProblem(file, err)
		return nil, &p
	}
	b := builder{root: newTable(0)}
	b.parser.Reset(data)
	b.current = b.root
	for b.parser.NextExpression() {
		b.expression(b.parser.Expression())
	}
	if err := b.parser.Error(); err != nil {
		p := syntaxProblem(file, err)
		return nil, &p
	}
	d.root = b.root
	return d, nil
}

func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
	return -1
}

func lineStarts(data []byte) []int {
	out := []int{0}
	for i, c := range data {
		if c == '\n' {
			out = append(out, i+1)
		}
	}
	return out
}

// syntaxProblem takes go-toml's message, which names characters and keys but
// never a value.
func syntaxProblem(file string, err error) Problem {
	p := Problem{File: file, Msg: clean(strings.TrimPrefix(err.Error(), "toml: "))}
	if de, ok := errors.AsType[*toml.DecodeError](err); ok {
		p.Line, p.Col = de.Position()
		if len(de.Key()) > 0 && strings.Contains(p.Msg, "already") {
			p.Hint = "write each key and each table once"
		}
	}
	if strings.Contains(p.Msg, "at start of value") {
		p.Hint = `text needs quotes: key = "value"`
	}
	return p
}

// builder turns go-toml's expressions into the tree.
type builder struct {
	parser  unstable.Parser
	root    *table
	current *table
}

func (b *builder) expression(n *unstable.Node) {
	switch n.Kind {
	case unstable.Table:
		b.current = b.header(n, false)
	case unstable.ArrayTable:
		b.current = b.header(n, true)
	case unstable.KeyValue:
		b.keyValue(b.current, n)
	default: // comments
	}
}

// header enters [a.b] or [[a.b]].
func (b *builder) header(n *unstable.Node, array bool) *table {
	t, it := b.root, n.Key()
	for it.Next() {
		k := it.Node()
		name, pos := string(k.Data), int(k.Raw.Offset)
		e := t.at[name]
		switch {
		case array && it.IsLast():
			nt := newTable(pos)
			item := &value{kind: "table", table: nt, pos: pos}
			if e == nil {
				t.put(name, pos, &value{kind: "array", items: []*value{item}, pos: pos})
			} else {
				e.val.items = append(e.val.items, item)
			}
			t = nt
		case e == nil:
			nt := newTable(pos)
			t.put(name, pos, &value{kind: "table", table: nt, pos: pos})
			t = nt
		default:
			t = e.val.last()
		}
	}
	return t
}

// last is the table that a header path goes through: the last of an array.
func (v *value) last() *table {
	if v.kind == "array" && len(v.items) > 0 {
		return v.items[len(v.items)-1].last()
	}
	if v.table == nil {
		return newTable(v.pos)
	}
	return v.table
}

func (b *builder) keyValue(t *table, n *unstable.Node) {
	it := n.Key()
	for it.Next() {
		k := it.Node()
		name, pos := string(k.Data), int(k.Raw.Offset)
		if it.IsLast() {
			t.put(name, pos, b.value(n.Value(), pos))
			return
		}
		e := t.at[name]
		if e == nil {
			nt := newTable(pos)
			t.put(name, pos, &value{kind: "table", table: nt, pos: pos})
			t = nt
			continue
		}
		t = e.val.last()
	}
}

func (b *builder) value(n *unstable.Node, keyPos int) *value {
	v := &value{pos: int(n.Raw.Offset)}
	if n.Raw.Length == 0 { // containers carry no range of their own
		v.pos = keyPos
	}
	switch n.Kind {
	case unstable.String:
		v.kind, v.text = "string", string(n.Data)
	case unstable.Bool:
		v.kind, v.flag = "boolean", string(n.Data) == "true"
	case unstable.Integer:
		v.kind = "integer"
		// "_" and the radix prefixes of TOML are those of Go's base 0; a leading
		// "+" is too. Octal 0o is written alike.
		v.num, _ = strconv.ParseInt(string(n.Data), 0, 64)
	case unstable.Float:
		v.kind = "float"
	case unstable.Array:
		v.kind = "array"
		for it := n.Children(); it.Next(); {
			v.items = append(v.items, b.value(it.Node(), v.pos))
		}
	case unstable.InlineTable:
		v.kind, v.table = "table", newTable(v.pos)
		for it := n.Children(); it.Next(); {
			if it.Node().Kind == unstable.KeyValue {
				b.keyValue(v.table, it.Node())
			}
		}
	default:
		v.kind = "date"
	}
	return v
}

// clean makes foreign text printable: control characters as \x1b, at most 200
// bytes.
func clean(s string) string {
	var b strings.Builder
	for _, r := range s {
		if b.Len() > 200 {
			b.WriteString("…")
			break
		}
		switch {
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r >= 0x80 && !strconv.IsPrint(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
