// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"log/slog"

	"github.com/regmint/regmint/providers"
)

// Options is what Open needs.
type Options struct {
	// Kind is auto, keyring, file or memory; "" is auto.
	Kind string
	// StateDir holds the encrypted file, its key, the record of auto's
	// decision and the names of what the keychain holds. It is made 0700.
	StateDir string
	// Child is the command line that runs KeyringChild: the absolute path of
	// regmint, "agent", "keyring". Empty: no keychain.
	Child []string
	// Env is the environment of the child and the place where the session bus
	// is looked for: NAME=value.
	Env []string
	// Key is [agent] store_key; zero: $CREDENTIALS_DIRECTORY, a passphrase or
	// the key file.
	Key providers.SecretRef
	// Resolve reads Key.
	Resolve func(ctx context.Context, ref providers.SecretRef) (providers.Secret, error)
	// Interactive: a person waits and can answer the keychain's prompt (2 min
	// instead of 2 s).
	Interactive bool
	// Log gets warnings; nil discards them.
	Log *slog.Logger
}

// Open opens the store that o names. It reads nothing secret and never talks
// to the keychain: an `auto` that is not decided yet is decided at the first
// Set and recorded.
func Open(o Options) (Store, error) { return nil, ErrUnavailable }

// Locker is a store that a passphrase can protect.
type Locker interface {
	// Locked reports that a passphrase is needed before anything else works.
	Locked() bool
	// Lock forgets the key.
	Lock()
	// Unlock opens the key with the passphrase and keeps it in memory.
	Unlock(ctx context.Context, passphrase providers.Secret) error
	// SetPassphrase protects the key with a passphrase from now on; a zero
	// passphrase goes back to a key file. A locked store refuses.
	SetPassphrase(ctx context.Context, passphrase providers.Secret) error
}

// Noter is a store that can keep a secret elsewhere than asked; Note says so.
type Noter interface {
	// SetNoted is Set; note is a sentence for the person, "" where there is
	// nothing to say.
	SetNoted(ctx context.Context, name string, s providers.Secret) (note string, err error)
}
