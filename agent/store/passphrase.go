// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"

	"filippo.io/age"

	"github.com/regmint/regmint/providers"
)

// Locked implements Locker.
func (k *keySource) Locked() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.held == nil && !k.external() && k.exists(wrappedKeyFile)
}

// Lock implements Locker.
func (k *keySource) Lock() { k.hold(nil) }

// Unlock implements Locker.
func (k *keySource) Unlock(_ context.Context, passphrase providers.Secret) error {
	if k.external() {
		return misconfigured(nil, "", "the saved logins have no passphrase: %s", k.describe())
	}
	path := k.path(wrappedKeyFile)
	data, err := readSmall(path, maxKeyFile)
	if errors.Is(err, os.ErrNotExist) {
		return misconfigured(nil, "", "the saved logins have no passphrase")
	} else if err != nil {
		return unavailable(err, "%s", path)
	}
	wrong := fault(providers.Denied, nil, "try again", "this passphrase does not open the saved logins")
	s, err := age.NewScryptIdentity(passphrase.Reveal())
	if err != nil { // an empty one
		return wrong
	}
	s.SetMaxWorkFactor(20)
	defer debug.FreeOSMemory() // scrypt took 256 MiB
	r, err := age.Decrypt(bytes.NewReader(data), s)
	if _, mismatch := errors.AsType[*age.NoIdentityMatchError](err); mismatch {
		return wrong
	}
	damaged := misconfigured(nil, "put a copy of it back, or move it and "+k.path(dataFile)+" away and log in again", "%s is damaged", path)
	if err != nil {
		return damaged
	}
	text, err := io.ReadAll(io.LimitReader(r, maxKeyFile))
	if err != nil {
		return damaged
	}
	id, err := parseIdentity(string(text))
	if err != nil {
		return damaged
	}
	k.hold(id)
	k.dropPlain(id)
	return nil
}

// dropPlain removes a key file that a SetPassphrase which was killed left
// beside the wrapped key: it is the same key without protection.
func (k *keySource) dropPlain(id *identity) {
	if plain, err := k.readKeyFile(); err == nil && plain.text == id.text {
		_ = os.Remove(k.path(keyFile))
	}
}

// setPassphrase wraps the key anew; the caller holds the store's lock.
func (k *keySource) setPassphrase(ctx context.Context, passphrase providers.Secret) error {
	if k.external() {
		return misconfigured(nil, "", "a passphrase is of no use here: %s", k.describe())
	}
	id, err := k.identity(ctx, true)
	if err != nil {
		return err
	}
	if passphrase.IsZero() {
		if err := k.writeKeyFile(id); err != nil {
			return err
		}
		k.hold(nil)
		return removeDurably(k.path(wrappedKeyFile))
	}
	r, err := age.NewScryptRecipient(passphrase.Reveal())
	if err != nil {
		return misconfigured(nil, "", "this passphrase cannot be used")
	}
	if k.workFactor > 0 {
		r.SetWorkFactor(k.workFactor)
	}
	defer debug.FreeOSMemory() // scrypt takes 256 MiB
	data, err := encrypt([]byte(id.text+"\n"), r)
	if err != nil {
		return unavailable(err, "cannot encrypt the key")
	}
	if err := writeAtomic(k.path(wrappedKeyFile), data); err != nil {
		return unavailable(err, "cannot write %s", k.path(wrappedKeyFile))
	}
	k.hold(id)
	return removeDurably(k.path(keyFile))
}

func removeDurably(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return unavailable(err, "cannot remove %s", path)
	}
	return syncDir(filepath.Dir(path))
}
