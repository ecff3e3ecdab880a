// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/regmint/regmint/providers"
)

// decoder fills structs from the tree and collects what is wrong.
type decoder struct {
	doc      *document
	problems Problems
	unknown  Problems // unknown keys, kept apart for lenient loads
}

func (d *decoder) fail(pos int, hint, format string, args ...any) {
	d.problems = append(d.problems, d.doc.problem(pos, hint, format, args...))
}

// field is one decodable field of a struct.
type field struct {
	key   string
	index []int
	tag   reflect.StructTag
	typ   reflect.Type
}

// fieldsOf lists the fields with a toml tag; embedded structs are flattened.
func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		if f.Anonymous && key == "" && f.Type.Kind() == reflect.Struct {
			for _, sub := range fieldsOf(f.Type) {
				sub.index = append([]int{i}, sub.index...)
				out = append(out, sub)
			}
			continue
		}
		if key == "" || key == "-" || !f.IsExported() {
			continue
		}
		out = append(out, field{key: key, index: []int{i}, tag: f.Tag, typ: f.Type})
	}
	return out
}

// structure decodes the keys of t that fs names into dst and returns the keys
// that no field takes.
func (d *decoder) structure(t *table, dst reflect.Value, fs []field, path string) (rest []string) {
	for _, key := range t.keys {
		i := slices.IndexFunc(fs, func(f field) bool { return f.key == key })
		if i < 0 {
			rest = append(rest, key)
			continue
		}
		d.value(t.at[key].val, dst.FieldByIndex(fs[i].index), path+key, fs[i].tag.Get("enum"))
	}
	return rest
}

// strict is structure where every key must be known.
func (d *decoder) strict(t *table, dst reflect.Value, path string) {
	fs := fieldsOf(dst.Type())
	for _, key := range d.structure(t, dst, fs, path) {
		d.unknownKey(t.at[key].pos, path+key, key, keysOf(fs))
	}
}

func keysOf(fs []field) []string {
	out := make([]string, len(fs))
	for i, f := range fs {
		out[i] = f.key
	}
	return out
}

// unknownKey records a key nobody takes, with the nearest one that exists.
func (d *decoder) unknownKey(pos int, path, key string, valid []string) {
	hint := "valid keys: " + strings.Join(valid, ", ")
	if len(valid) > 12 {
		hint = "see regmint config schema"
	}
	if n := nearest(key, valid); n != "" {
		hint = fmt.Sprintf("did you mean %q?", n)
	}
	d.unknown = append(d.unknown, d.doc.problem(pos, hint, "unknown key %q", clean(path)))
}

var (
	secretRefType = reflect.TypeFor[providers.SecretRef]()
	hostType      = reflect.TypeFor[providers.Host]()
	stringsType   = reflect.TypeFor[providers.Strings]()
	narrowType    = reflect.TypeFor[providers.Narrow]()
	onFailType    = reflect.TypeFor[providers.OnFailure]()
	textType      = reflect.TypeFor[encoding.TextUnmarshaler]()
	execType      = reflect.TypeFor[execForm]()
)

// execForm is an option that may be a program too, as a secret reference may:
// { exec = ["/abs", "arg"] } beside its text.
type execForm interface {
	encoding.TextUnmarshaler
	UnmarshalExec(argv []string) error
}

// enumOf lists the values a named string type may have.
func enumOf(t reflect.Type, tag string) []string {
	switch {
	case tag != "":
		return strings.Split(tag, ",")
	case t == narrowType:
		return []string{string(providers.NarrowPrefer), string(providers.NarrowRequire)}
	case t == onFailType:
		return []string{string(providers.OnFailureError), string(providers.OnFailureAnonymous)}
	}
	return nil
}

// value decodes v into dst; path is the key for messages.
func (d *decoder) value(v *value, dst reflect.Value, path, enum string) {
	switch {
	case dst.Type() == secretRefType:
		d.secretRef(v, dst, path)
		return
	case dst.Type() == hostType:
		if !d.want(v, "string", path) {
			return
		}
		h, err := providers.ParseHost(v.text)
		if err != nil {
			d.fail(v.pos, "", "%s: %s", path, clean(err.Error()))
			return
		}
		dst.Set(reflect.ValueOf(h))
		return
	case dst.CanAddr() && dst.Addr().Type().Implements(textType):
		if form, ok := dst.Addr().Interface().(execForm); ok && v.kind == "table" {
			argv, ok := d.argv(v, path)
			if !ok {
				return
			}
			if err := form.UnmarshalExec(argv); err != nil {
				d.fail(v.pos, "", "%s: %s", path, clean(err.Error()))
			}
			return
		}
		if !d.want(v, "string", path) {
			return
		}
		if err := dst.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(v.text)); err != nil {
			d.fail(v.pos, "", "%s: %s", path, clean(err.Error()))
		}
		return
	}
	if dst.Type() == stringsType && v.kind == "string" {
		v = &value{kind: "array", items: []*value{v}, pos: v.pos}
	}
	d.kind(v, dst, path, enum)
}

func (d *decoder) kind(v *value, dst reflect.Value, path, enum string) {
	switch dst.Kind() {
	case reflect.String:
		if !d.want(v, "string", path) {
			return
		}
		if e := enumOf(dst.Type(), enum); e != nil && !slices.Contains(e, v.text) {
			d.fail(v.pos, "valid values: "+strings.Join(e, ", "), "%s cannot be %q", path, clean(v.text))
			return
		}
		dst.SetString(v.text)
	case reflect.Bool:
		if d.want(v, "boolean", path) {
			dst.SetBool(v.flag)
		}
	case reflect.Int, reflect.Int64, reflect.Int32:
		if !d.want(v, "integer", path) {
			return
		}
		if dst.OverflowInt(v.num) {
			d.fail(v.pos, "", "%s: %d is out of range", path, v.num)
			return
		}
		dst.SetInt(v.num)
	case reflect.Slice:
		d.slice(v, dst, path, enum)
	case reflect.Map:
		d.mapping(v, dst, path, enum)
	case reflect.Struct:
		if d.want(v, "table", path) {
			d.strict(v.table, dst, path+".")
		}
	case reflect.Pointer:
		p := reflect.New(dst.Type().Elem())
		d.value(v, p.Elem(), path, enum)
		dst.Set(p)
	default:
		d.fail(v.pos, "report this to the project", "%s: no way to read a %s", path, dst.Kind())
	}
}

func (d *decoder) slice(v *value, dst reflect.Value, path, enum string) {
	if !d.want(v, "array", path) {
		return
	}
	out := reflect.MakeSlice(dst.Type(), len(v.items), len(v.items))
	for i, item := range v.items {
		d.value(item, out.Index(i), path, enum)
	}
	dst.Set(out)
}

func (d *decoder) mapping(v *value, dst reflect.Value, path, enum string) {
	if dst.Type().Key().Kind() != reflect.String {
		d.fail(v.pos, "report this to the project", "%s: no way to read a map with %s keys", path, dst.Type().Key())
		return
	}
	if !d.want(v, "table", path) {
		return
	}
	out := reflect.MakeMapWithSize(dst.Type(), len(v.table.keys))
	for _, key := range v.table.keys {
		item := reflect.New(dst.Type().Elem()).Elem()
		d.value(v.table.at[key].val, item, path+"."+clean(key), enum)
		out.SetMapIndex(reflect.ValueOf(key).Convert(dst.Type().Key()), item)
	}
	dst.Set(out)
}

// want complains where v is not of the kind; it never shows the value.
func (d *decoder) want(v *value, kind, path string) bool {
	if v.kind == kind {
		return true
	}
	hint := ""
	switch {
	case kind == "array" && v.kind == "string":
		hint = fmt.Sprintf(`write %s = ["…"]`, lastKey(path))
	case kind == "string" && v.kind != "table" && v.kind != "array":
		hint = fmt.Sprintf(`write %s = "…"`, lastKey(path))
	case kind == "boolean" && v.kind == "string":
		hint = "write true or false without quotes"
	}
	d.fail(v.pos, hint, "%s must be %s, not %s", path, article(kind), article(v.kind))
	return false
}

func lastKey(path string) string {
	return path[strings.LastIndexByte(path, '.')+1:]
}

func article(kind string) string {
	if strings.ContainsRune("aeio", rune(kind[0])) {
		return "an " + kind
	}
	return "a " + kind
}

// secretRef reads "scheme:value" or { exec = ["/abs", "arg"] }. What stands
// there is never shown: it may be the secret itself.
func (d *decoder) secretRef(v *value, dst reflect.Value, path string) {
	var ref providers.SecretRef
	var err error
	switch v.kind {
	case "string":
		ref, err = providers.ParseSecretRef(v.text)
	case "table":
		argv, ok := d.argv(v, path)
		if !ok {
			return
		}
		ref, err = providers.ExecRef(argv)
	default:
		d.fail(v.pos, `write "keyring:NAME", "env:NAME", "file:/PATH" or { exec = ["/PATH", "ARG"] }`,
			"%s must be a string or a table, not %s", path, article(v.kind))
		return
	}
	if err == nil && ref.Scheme == "env" && !isVariable(ref.Value) {
		err = errors.New("env: needs the name of a variable")
	}
	if err != nil {
		d.fail(v.pos, "", "%s: %s", path, clean(err.Error()))
		return
	}
	dst.Set(reflect.ValueOf(ref))
}

// argv reads the table { exec = ["/abs", "arg"] }.
func (d *decoder) argv(v *value, path string) (argv []string, ok bool) {
	var t struct {
		Exec []string `toml:"exec"`
	}
	before := len(d.problems)
	d.strict(v.table, reflect.ValueOf(&t).Elem(), path+".")
	if len(d.problems) > before {
		return nil, false
	}
	if slices.ContainsFunc(t.Exec, func(s string) bool { return strings.ContainsRune(s, 0) }) {
		d.fail(v.pos, "", "%s: exec: NUL in an argument", path)
		return nil, false
	}
	return t.Exec, true
}

// isVariable reports a name that a shell can set.
func isVariable(s string) bool {
	return isWord(s) && !strings.Contains(s, "-") && (s[0] < '0' || s[0] > '9')
}
