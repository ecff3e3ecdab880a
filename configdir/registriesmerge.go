// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"slices"
	"strings"
)

// list is a TOML array; nil where v is none.
func list(v any) []any {
	l, _ := v.([]any)
	return l
}

// prefixOf is what a registry table stands for.
func prefixOf(r any) string {
	t, _ := r.(map[string]any)
	if p, _ := t[keyPrefix].(string); p != "" {
		return p
	}
	l, _ := t[keyLocation].(string)
	return strings.TrimRight(l, "/")
}

// mergeRegistries applies a drop-in as containers/image does: registries by
// prefix and aliases by name, everything else replaces.
func mergeRegistries(conf, drop map[string]any) {
	for k, v := range drop {
		switch k {
		case keyRegistry:
			conf[k] = mergeTables(list(conf[k]), list(v))
		case keyAliases:
			have, ok := conf[k].(map[string]any)
			more, isTable := v.(map[string]any)
			if !ok || !isTable {
				conf[k] = v
				continue
			}
			for name, target := range more {
				have[name] = target
			}
		default:
			conf[k] = v
		}
	}
}

func mergeTables(have, more []any) []any {
	for _, r := range more {
		i := slices.IndexFunc(have, func(h any) bool { return prefixOf(h) == prefixOf(r) })
		if i >= 0 {
			have[i] = r
		} else {
			have = append(have, r)
		}
	}
	return have
}

// addMirrors puts mirrors before those the caller has for the same registry.
func addMirrors(conf map[string]any, mirrors []Mirror) {
	for _, m := range mirrors {
		var add []any
		for _, loc := range m.Mirrors {
			add = append(add, map[string]any{keyLocation: loc})
		}
		regs := list(conf[keyRegistry])
		i := slices.IndexFunc(regs, func(r any) bool { return prefixOf(r) == m.Host })
		if i < 0 {
			conf[keyRegistry] = append(regs, map[string]any{keyPrefix: m.Host, keyLocation: m.Host, keyMirror: add})
			continue
		}
		t := regs[i].(map[string]any) // parseRegistries lets nothing else through
		t[keyMirror] = append(add, list(t[keyMirror])...)
	}
}
