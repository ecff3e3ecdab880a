// SPDX-License-Identifier: Apache-2.0

package config

import (
	_ "embed"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/regmint/regmint/providers"
)

//go:embed reference.md
var referenceIntro string

// Reference is the reference of all keys and variables in Markdown. With
// providers it lists their keys too.
func Reference(ps []providers.Provider) string {
	var b strings.Builder
	b.WriteString(referenceIntro)
	sections := []struct {
		title string
		typ   reflect.Type
	}{
		{"[[account]]", reflect.TypeFor[providers.Account]()},
		{"[agent]", reflect.TypeFor[Agent]()},
		{"[network]", reflect.TypeFor[providers.Network]()},
		{"[policy]", reflect.TypeFor[Policy]()},
		{"[docker]", reflect.TypeFor[Docker]()},
		{"[[mirror]]", reflect.TypeFor[Mirror]()},
	}
	for _, s := range sections {
		fmt.Fprintf(&b, "\n## `%s`\n\n", s.title)
		keyTable(&b, fieldsOf(s.typ))
	}
	for _, p := range ps {
		if fs := optionFields(p); len(fs) > 0 {
			fmt.Fprintf(&b, "\n## Keys of provider `%s`\n\n", p.Name())
			keyTable(&b, fs)
		}
	}
	b.WriteString("\n## Environment variables\n")
	all := Vars(ps)
	for _, g := range Groups() {
		in := slices.DeleteFunc(slices.Clone(all), func(v Var) bool { return v.Group != g })
		if len(in) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n### %s\n\n| variable | meaning | expects |\n|---|---|---|\n", g)
		for _, v := range in {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", v.Name, cell(v.Meaning), cell(v.Expects))
		}
	}
	return b.String()
}

// OptionsReference is the table of one provider's own keys in Markdown, ""
// where it has none.
func OptionsReference(p providers.Provider) string {
	fs := optionFields(p)
	if len(fs) == 0 {
		return ""
	}
	var b strings.Builder
	keyTable(&b, fs)
	return b.String()
}

func keyTable(b *strings.Builder, fs []field) {
	b.WriteString("| key | type | default | meaning |\n|---|---|---|---|\n")
	for _, f := range fs {
		def := ""
		if d := f.tag.Get("default"); d != "" {
			def = "`" + d + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", f.key, typeWord(f.typ), def, cell(f.tag.Get("doc")))
	}
}

// cell keeps a text inside its table cell.
func cell(s string) string { return strings.ReplaceAll(strings.ReplaceAll(s, "|", `\|`), "\n", " ") }
