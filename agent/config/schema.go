// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"

	"github.com/regmint/regmint/providers"
)

// schema is the part of JSON Schema 2020-12 that a configuration needs. Keys
// keep the order of the structs.
type schema struct {
	Schema      string          `json:"$schema,omitempty"`
	Title       string          `json:"title,omitempty"`
	Description string          `json:"description,omitempty"`
	Type        string          `json:"type,omitempty"`
	Enum        []string        `json:"enum,omitempty"`
	Default     any             `json:"default,omitempty"`
	Pattern     string          `json:"pattern,omitempty"`
	Required    []string        `json:"required,omitempty"`
	MinItems    int             `json:"minItems,omitempty"`
	Items       *schema         `json:"items,omitempty"`
	Properties  *properties     `json:"properties,omitempty"`
	Additional  json.RawMessage `json:"additionalProperties,omitempty"`
	OneOf       []*schema       `json:"oneOf,omitempty"`
	AllOf       []*schema       `json:"allOf,omitempty"`
	If          *schema         `json:"if,omitempty"`
	Then        *schema         `json:"then,omitempty"`
	Const       string          `json:"const,omitempty"`
}

// properties is a JSON object that keeps its order.
type properties struct {
	keys   []string
	values map[string]*schema
}

func (p *properties) set(key string, s *schema) {
	if p.values == nil {
		p.values = map[string]*schema{}
	}
	if _, ok := p.values[key]; !ok {
		p.keys = append(p.keys, key)
	}
	p.values[key] = s
}

// MarshalJSON implements json.Marshaler.
func (p *properties) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, k := range p.keys {
		if i > 0 {
			b.WriteByte(',')
		}
		v, err := json.Marshal(p.values[k])
		if err != nil {
			return nil, err
		}
		b.WriteString(strconv.Quote(k) + ":")
		b.Write(v)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

var closed = json.RawMessage("false")

// Schema is the JSON schema of config.toml with the options of ps: every
// account takes the common keys and those of its provider.
func Schema(ps []providers.Provider) ([]byte, error) {
	root := structSchema(reflect.TypeFor[Config]())
	root.Schema = "https://json-schema.org/draft/2020-12/schema"
	root.Title = "regmint configuration"
	account := structSchema(reflect.TypeFor[providers.Account]())
	account.Required = []string{"hosts"}
	account.Additional = nil
	common := map[string]bool{}
	for _, k := range account.Properties.keys {
		common[k] = true
	}
	var names []string
	for _, p := range ps {
		names = append(names, p.Name())
		only := &properties{}
		for _, f := range optionFields(p) {
			if !common[f.key] {
				only.set(f.key, fieldSchema(f))
			}
		}
		then := &schema{Properties: only, Additional: closed}
		for _, k := range account.Properties.keys {
			only.set(k, &schema{})
		}
		is := &properties{}
		is.set("provider", &schema{Const: p.Name()})
		account.AllOf = append(account.AllOf, &schema{If: &schema{Properties: is, Required: []string{"provider"}}, Then: then})
	}
	account.Properties.values["provider"].Enum = names
	root.Properties.set("account", &schema{Type: "array", Items: account, Description: "one login or identity"})
	mirror := structSchema(reflect.TypeFor[Mirror]())
	mirror.Required = []string{"host", "mirrors"}
	root.Properties.set("mirror", &schema{Type: "array", Items: mirror, Description: "mirrors of a registry"})
	return json.MarshalIndent(root, "", "  ")
}

func structSchema(t reflect.Type) *schema {
	s := &schema{Type: "object", Properties: &properties{}, Additional: closed}
	for _, f := range fieldsOf(t) {
		s.Properties.set(f.key, fieldSchema(f))
	}
	return s
}

func fieldSchema(f field) *schema {
	s := typeSchema(f.typ, f.tag.Get("enum"))
	s.Description = f.tag.Get("doc")
	if d, ok := f.tag.Lookup("default"); ok {
		s.Default = d
		if v, err := strconv.ParseBool(d); err == nil && f.typ.Kind() == reflect.Bool {
			s.Default = v
		}
	}
	return s
}

func typeSchema(t reflect.Type, enum string) *schema {
	switch t {
	case secretRefType:
		return orExec(&schema{Type: "string", Pattern: "^(keyring|env|file|exec):."})
	case hostType:
		return &schema{Type: "string"}
	case stringsType:
		return &schema{OneOf: []*schema{{Type: "string"}, {Type: "array", Items: &schema{Type: "string"}}}}
	case reflect.TypeFor[providers.Duration]():
		return &schema{Type: "string", Pattern: "^([0-9.]+(ns|us|µs|ms|s|m|h))+$|^[0-9]+d$|^0$"}
	case reflect.TypeFor[providers.Access]():
		return &schema{Type: "string", Pattern: "^(pull|push|delete)(,(pull|push|delete))*$"}
	}
	if reflect.PointerTo(t).Implements(execType) {
		return orExec(&schema{Type: "string"})
	}
	if reflect.PointerTo(t).Implements(textType) {
		return &schema{Type: "string"}
	}
	switch t.Kind() {
	case reflect.Bool:
		return &schema{Type: "boolean"}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return &schema{Type: "integer"}
	case reflect.Slice:
		return &schema{Type: "array", Items: typeSchema(t.Elem(), enum)}
	case reflect.Map:
		values, err := json.Marshal(typeSchema(t.Elem(), enum))
		if err != nil {
			values = nil
		}
		return &schema{Type: "object", Additional: values}
	case reflect.Struct:
		return structSchema(t)
	case reflect.Pointer:
		return typeSchema(t.Elem(), enum)
	default:
		return &schema{Type: "string", Enum: enumOf(t, enum)}
	}
}

// orExec is a text or the table { exec = ["/abs", "arg"] }.
func orExec(text *schema) *schema {
	argv := &properties{}
	argv.set("exec", &schema{Type: "array", Items: &schema{Type: "string"}, MinItems: 1})
	return &schema{OneOf: []*schema{text, {Type: "object", Properties: argv, Required: []string{"exec"}, Additional: closed}}}
}

// typeWord is the type of a key for the reference.
func typeWord(t reflect.Type) string {
	switch t {
	case secretRefType:
		return "secret reference"
	case hostType:
		return "host"
	case stringsType:
		return "string, or list of strings"
	case reflect.TypeFor[providers.Duration]():
		return "duration"
	case reflect.TypeFor[providers.Access]():
		return "access"
	case reflect.TypeFor[providers.Pattern]():
		return "host pattern"
	}
	if reflect.PointerTo(t).Implements(execType) {
		return "reference"
	}
	if reflect.PointerTo(t).Implements(textType) && t.Kind() == reflect.Struct {
		return "string"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "integer"
	case reflect.Slice:
		return "list of " + strings.TrimSuffix(typeWord(t.Elem()), "s") + "s"
	case reflect.Map:
		return "table of " + typeWord(t.Elem()) + "s"
	case reflect.Pointer:
		return typeWord(t.Elem())
	case reflect.Struct:
		return "table"
	default:
		return "string"
	}
}
