// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"
	"time"

	"github.com/regmint/regmint/providers"
)

// Keyring is the part of a store.Store that a Resolver reads.
type Keyring interface {
	Get(ctx context.Context, name string) (providers.Secret, error)
}

// Resolver reads secret references. Its fields are fixed at construction; it
// is safe for concurrent use.
type Resolver struct {
	// Env looks up env: references, in the caller's environment.
	Env func(name string) (string, bool)
	// Keyring answers keyring: references.
	Keyring Keyring
	// Resolved, when not nil, answers env:, file: and exec: references by
	// RefKey instead of the machine: a job's own configuration.
	Resolved map[string]string
	// ExecEnv is the environment of exec: programs, NAME=value: see ExecEnv().
	ExecEnv []string
	// ExecTimeout bounds an exec: program; 0 means 10 s.
	ExecTimeout time.Duration
}

// Resolve reads ref. Errors are *providers.Error.
func (r Resolver) Resolve(ctx context.Context, ref providers.SecretRef) (providers.Secret, error) {
	return providers.Secret{}, nil
}

// SecretFiles lists the files that the account's file: references and ca_file
// name: what a watcher should look at.
func SecretFiles(a providers.Account) []string { return nil }
