// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"

	"github.com/regmint/regmint/providers"
)

// render writes the file in one order, so that equal content is equal bytes.
func (s *Saved) render() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("# written by regmint; edit config.toml instead\n")
	if len(s.Behind) > 0 {
		b.WriteString("\n[docker.behind]\n")
		for _, host := range slices.Sorted(maps.Keys(s.Behind)) {
			if err := line(&b, host, s.Behind[host]); err != nil {
				return nil, err
			}
		}
	}
	realms := slices.DeleteFunc(slices.Sorted(maps.Keys(s.Realms)), func(r string) bool { return len(s.Realms[r]) == 0 })
	if len(realms) > 0 {
		b.WriteString("\n[realms]\n")
		for _, registry := range realms {
			if err := line(&b, registry, slices.Sorted(slices.Values(s.Realms[registry]))); err != nil {
				return nil, err
			}
		}
	}
	if len(s.Expires) > 0 {
		b.WriteString("\n[expires]\n")
		for _, name := range slices.Sorted(maps.Keys(s.Expires)) {
			if err := line(&b, name, s.Expires[name].UTC().Format(time.RFC3339)); err != nil {
				return nil, err
			}
		}
	}
	accounts := slices.Clone(s.Accounts)
	slices.SortStableFunc(accounts, func(a, b providers.Account) int { return strings.Compare(a.Name, b.Name) })
	for _, a := range accounts {
		b.WriteString("\n[[account]]\n")
		if err := renderAccount(&b, a); err != nil {
			return nil, fmt.Errorf("account %q: %w", a.Name, err)
		}
	}
	return b.Bytes(), nil
}

// Block is the text of an account as config.d/regmint.toml has it.
func Block(a providers.Account) (string, error) {
	var b bytes.Buffer
	b.WriteString("[[account]]\n")
	if err := renderAccount(&b, a); err != nil {
		return "", err
	}
	return b.String(), nil
}

func renderAccount(b *bytes.Buffer, a providers.Account) error {
	if err := fieldLines(b, reflect.ValueOf(a)); err != nil {
		return err
	}
	if !a.PlainHTTP && allLoopback(a.Hosts) {
		// Absent would mean http here.
		b.WriteString("plain_http = false\n")
	}
	v := reflect.ValueOf(a.Options)
	if v.Kind() == reflect.Pointer && !v.IsNil() && v.Elem().Kind() == reflect.Struct {
		return fieldLines(b, v.Elem())
	}
	return nil
}

// fieldLines writes the fields that are set, one a line.
func fieldLines(b *bytes.Buffer, v reflect.Value) error {
	for _, f := range fieldsOf(v.Type()) {
		fv := v.FieldByIndex(f.index)
		if empty(fv) {
			continue
		}
		if err := line(b, f.key, fv.Interface()); err != nil {
			return err
		}
	}
	return nil
}

func empty(v reflect.Value) bool {
	if v.Kind() == reflect.Slice || v.Kind() == reflect.Map {
		return v.Len() == 0
	}
	return v.IsZero()
}

func line(b *bytes.Buffer, key string, v any) error {
	text, err := literal(reflect.ValueOf(v))
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	name, err := quoteKey(key)
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "%s = %s\n", name, text)
	return nil
}

func quoteKey(key string) (string, error) {
	if isWord(key) {
		return key, nil
	}
	return quote(key)
}

// quote writes a string as go-toml does.
func quote(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("%q is not UTF-8", clean(s))
	}
	if !strings.ContainsAny(s, `"\`) && !hasControl(s) {
		return `"` + s + `"`, nil
	}
	out, err := toml.Marshal(map[string]string{"k": s})
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(strings.TrimPrefix(string(out), "k = "), "\n"), nil
}

// literal is the TOML text of a value; structs become inline tables.
func literal(v reflect.Value) (string, error) {
	if v.Type() == secretRefType {
		return refLiteral(v.Interface().(providers.SecretRef))
	}
	if v.Type() == hostType {
		return quote(v.Interface().(providers.Host).String())
	}
	if m, ok := v.Interface().(interface{ MarshalExec() []string }); ok {
		if argv := m.MarshalExec(); argv != nil {
			return execLiteral(argv)
		}
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		if err != nil {
			return "", err
		}
		return quote(string(text))
	}
	switch v.Kind() {
	case reflect.String:
		return quote(v.String())
	case reflect.Bool:
		return strconv.FormatBool(v.Bool()), nil
	case reflect.Int, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10), nil
	case reflect.Pointer:
		return literal(v.Elem())
	case reflect.Slice:
		items := make([]string, v.Len())
		for i := range items {
			var err error
			if items[i], err = literal(v.Index(i)); err != nil {
				return "", err
			}
		}
		return "[" + strings.Join(items, ", ") + "]", nil
	case reflect.Map:
		return mapLiteral(v)
	case reflect.Struct:
		return structLiteral(v)
	default:
		return "", fmt.Errorf("no way to write a %s", v.Kind())
	}
}

func refLiteral(r providers.SecretRef) (string, error) {
	if len(r.Args) == 0 {
		return quote(r.String())
	}
	return execLiteral(append([]string{r.Value}, r.Args...))
}

func execLiteral(argv []string) (string, error) {
	text, err := literal(reflect.ValueOf(argv))
	return "{ exec = " + text + " }", err
}

func mapLiteral(v reflect.Value) (string, error) {
	var pairs []string
	for _, k := range v.MapKeys() {
		name, err := quoteKey(k.String())
		if err != nil {
			return "", err
		}
		text, err := literal(v.MapIndex(k))
		if err != nil {
			return "", err
		}
		pairs = append(pairs, name+" = "+text)
	}
	slices.Sort(pairs)
	return "{ " + strings.Join(pairs, ", ") + " }", nil
}

func structLiteral(v reflect.Value) (string, error) {
	var pairs []string
	for _, f := range fieldsOf(v.Type()) {
		fv := v.FieldByIndex(f.index)
		if empty(fv) {
			continue
		}
		text, err := literal(fv)
		if err != nil {
			return "", err
		}
		pairs = append(pairs, f.key+" = "+text)
	}
	if len(pairs) == 0 {
		return "{}", nil
	}
	return "{ " + strings.Join(pairs, ", ") + " }", nil
}
