// SPDX-License-Identifier: Apache-2.0

// Package store keeps the long-lived secrets that `regmint login` saved: in
// the OS keychain, in an age-encrypted file, or in memory. Nothing minted ever
// enters it.
package store

import (
	"context"
	"errors"

	"github.com/regmint/regmint/providers"
)

// The errors callers act on; test with errors.Is.
var (
	ErrNotFound    = errors.New("no such secret")
	ErrLocked      = errors.New("store is locked")
	ErrUnavailable = errors.New("store does not answer")
	ErrTooLarge    = errors.New("secret too large for this store")
)

// Store keeps secrets by name. Implementations are safe for concurrent use by
// goroutines and by processes.
type Store interface {
	Get(ctx context.Context, name string) (providers.Secret, error)
	Set(ctx context.Context, name string, s providers.Secret) error
	// Delete of an unknown name succeeds.
	Delete(ctx context.Context, name string) error
	Names(ctx context.Context) ([]string, error)
	// Describe says in words what protects the secrets.
	Describe() string
}
