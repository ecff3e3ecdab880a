// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"slices"
	"strings"
	"sync"
)

// report collects what the tests measured.
var report measured

type measured struct {
	mu   sync.Mutex
	keys map[string]map[string][]string // client, operation, forms
}

// asked notes which keys a client asked for; H is the registry.
func (m *measured) asked(client, way, op string, r *registry, keys []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var form []string
	for _, k := range keys {
		form = append(form, strings.ReplaceAll(k, r.host, "H"))
	}
	if m.keys == nil {
		m.keys = map[string]map[string][]string{}
	}
	if m.keys[client] == nil {
		m.keys[client] = map[string][]string{}
	}
	text := way + ": " + strings.Join(form, ", ")
	if !slices.Contains(m.keys[client][op], text) {
		m.keys[client][op] = append(m.keys[client][op], text)
	}
}

func (m *measured) write() error { return nil }
