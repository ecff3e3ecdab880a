// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/regmint/regmint/providers"
)

// memory keeps secrets until the process ends.
type memory struct {
	mu      sync.Mutex
	secrets map[string]providers.Secret
}

func newMemory() *memory { return &memory{secrets: map[string]providers.Secret{}} }

func (m *memory) Get(_ context.Context, name string) (providers.Secret, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.secrets[name]; ok {
		return s, nil
	}
	return providers.Secret{}, notFound(name, "")
}

func (m *memory) Set(_ context.Context, name string, s providers.Secret) error {
	if err := checkName(name); err != nil {
		return err
	}
	s, err := checkSecret(s)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.secrets[name] = s
	return nil
}

func (m *memory) Delete(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.secrets, name)
	return nil
}

func (m *memory) Names(context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.secrets)), nil
}

func (m *memory) Describe() string { return "memory of the agent: logins are gone when it ends" }
