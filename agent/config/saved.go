// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"

	"github.com/regmint/regmint/providers"
)

// Saved is the content of config.d/regmint.toml.
type Saved struct {
	Accounts []providers.Account
	Behind   map[string]string   // host → former helper
	Realms   map[string][]string // registry host → accepted realm hosts
}

// SavedFile is config.d/regmint.toml, written by regmint alone.
type SavedFile struct {
	Path      string // Paths.Saved
	StateDir  string // holds the lock
	Providers []providers.Provider
}

// Read returns the content; a file that does not exist is empty.
func (f SavedFile) Read() (*Saved, error) { return nil, nil }

// Update reads, changes and writes the file under a lock shared by every
// process of the user. Nothing is written where change fails, where nothing
// changed, or where the file on disk is malformed.
func (f SavedFile) Update(ctx context.Context, change func(*Saved) error) error { return nil }

// Put adds an account or replaces the one of the same name.
func (s *Saved) Put(a providers.Account) {}

// Remove removes the account of this name and reports whether there was one.
func (s *Saved) Remove(name string) bool { return false }

// AcceptRealm records that realm may get the credential of registry.
func (s *Saved) AcceptRealm(registry, realm providers.Host) {}
