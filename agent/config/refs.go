// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/regmint/regmint/providers"
)

// SecretRefs lists every secret reference of an account, those in its options
// included, each once. rotate_to is left out: it takes a secret, it gives none.
func SecretRefs(a providers.Account) []providers.SecretRef {
	var out []providers.SecretRef
	collectRefs(reflect.ValueOf(a.Password), &out, 0)
	if a.Options != nil {
		collectRefs(reflect.ValueOf(a.Options), &out, 0)
	}
	return out
}

func collectRefs(v reflect.Value, out *[]providers.SecretRef, depth int) {
	if depth > 8 || !v.IsValid() {
		return
	}
	if v.Type() == secretRefType {
		r := v.Interface().(providers.SecretRef)
		if !r.IsZero() && !slices.ContainsFunc(*out, func(o providers.SecretRef) bool { return RefKey(o) == RefKey(r) }) {
			*out = append(*out, r)
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			collectRefs(v.Elem(), out, depth+1)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				collectRefs(v.Field(i), out, depth+1)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			collectRefs(v.Index(i), out, depth+1)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			collectRefs(v.MapIndex(k), out, depth+1)
		}
	default:
	}
}

// EnvNames lists the variables that the accounts name as env: references, each
// once, sorted.
func EnvNames(accounts []providers.Account) []string {
	var out []string
	for _, a := range accounts {
		for _, r := range SecretRefs(a) {
			if r.Scheme == "env" {
				out = appendNew(out, r.Value)
			}
		}
	}
	slices.Sort(out)
	return out
}

// RefKey is the key of a reference in Resolver.Resolved and in the wire's
// "resolved" map. It is the reference itself; exec: arguments follow, each
// quoted, so that no two lists read alike.
func RefKey(r providers.SecretRef) string {
	var b strings.Builder
	b.WriteString(r.String())
	for _, a := range r.Args {
		b.WriteByte(' ')
		b.WriteString(strconv.Quote(a))
	}
	return b.String()
}

// ResolveAll reads the env:, file: and exec: references of accounts, for a job
// whose own configuration is resolved with its caller's rights. The map is
// keyed by RefKey. keyring: references stay with the agent.
func (r Resolver) ResolveAll(ctx context.Context, accounts []providers.Account) (map[string]providers.Secret, error) {
	out := map[string]providers.Secret{}
	for _, a := range accounts {
		for _, ref := range SecretRefs(a) {
			key := RefKey(ref)
			if _, done := out[key]; done || ref.Scheme == "keyring" {
				continue
			}
			s, err := r.Resolve(ctx, ref)
			if err != nil {
				return nil, err
			}
			out[key] = s
		}
	}
	return out, nil
}

// SecretFiles lists the files that the account's file: references and ca_file
// name: what a watcher should look at.
func SecretFiles(a providers.Account) []string {
	var out []string
	for _, r := range SecretRefs(a) {
		if r.Scheme == "file" {
			out = appendNew(out, r.Value)
		}
	}
	if a.CAFile != "" {
		out = appendNew(out, a.CAFile)
	}
	return out
}
