// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/regmint/regmint/providers"
)

const (
	indexFile   = "keyring.json"
	keyringLock = "keyring.lock"
	maxIndex    = 4 << 20
)

// keyringStore keeps small secrets in the keychain and those above its limit
// in the encrypted file. A keychain cannot be listed, so names are kept in an
// index, which also says where a secret is. Every change holds one lock.
type keyringStore struct {
	o     Options
	chain keychain
	large *file
}

func newKeyring(o Options) *keyringStore {
	return &keyringStore{o: o, chain: keychain{o, quickLimit}, large: newFile(o)}
}

// index maps names to KindKeyring or KindFile.
type index struct {
	Schema int               `json:"schema"`
	Names  map[string]string `json:"names"`
}

func (k *keyringStore) path() string { return filepath.Join(k.o.StateDir, indexFile) }

// readIndex returns an empty index where there is no file, and a
// *damagedError where it cannot be understood.
func (k *keyringStore) readIndex() (index, error) {
	x := index{Schema: 1, Names: map[string]string{}}
	data, err := readSmall(k.path(), maxIndex)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return x, nil
	case err != nil:
		return x, unavailable(err, "%s", k.path())
	}
	var in index
	if err := json.Unmarshal(data, &in); err != nil || in.Schema < 1 || in.Names == nil {
		return x, &damagedError{"it is cut off or not ours"}
	}
	if in.Schema > 1 {
		return x, misconfigured(nil, "use that version again", "%s was written by a newer regmint", k.path())
	}
	return in, nil
}

// openIndex is readIndex for a change, which holds the lock: a damaged index
// is set aside. The secrets stay where they are and are found by name.
func (k *keyringStore) openIndex() (x index, note string, err error) {
	x, err = k.readIndex()
	damage, ok := errors.AsType[*damagedError](err)
	if !ok {
		return x, "", err
	}
	note, err = setAside(k.o.Log, k.path(), damage.why)
	return x, note, err
}

func (k *keyringStore) writeIndex(x index) error {
	data, err := json.MarshalIndent(x, "", "  ")
	if err != nil {
		return unavailable(err, "cannot encode %s", k.path())
	}
	sweepTemp(k.o.StateDir)
	if err := writeAtomic(k.path(), append(data, '\n')); err != nil {
		return unavailable(err, "cannot write %s", k.path())
	}
	return nil
}

// Get implements Store.
func (k *keyringStore) Get(ctx context.Context, name string) (providers.Secret, error) {
	if err := checkName(name); err != nil {
		return providers.Secret{}, err
	}
	x, err := k.lookIndex()
	if err != nil {
		return providers.Secret{}, err
	}
	where := x.Names[name]
	s, err := k.getFrom(ctx, where, name)
	if !errors.Is(err, ErrNotFound) {
		return s, err
	}
	// It may have moved between the two since the index was read.
	if x, indexErr := k.lookIndex(); indexErr == nil && x.Names[name] != where {
		return k.getFrom(ctx, x.Names[name], name)
	}
	return s, err
}

// lookIndex is readIndex for Get, which finds secrets without an index too.
func (k *keyringStore) lookIndex() (index, error) {
	x, err := k.readIndex()
	if _, damaged := errors.AsType[*damagedError](err); damaged {
		return x, nil
	}
	return x, err
}

// getFrom looks where the index says, and in both places where it says
// nothing.
func (k *keyringStore) getFrom(ctx context.Context, where, name string) (providers.Secret, error) {
	if where == KindFile {
		return k.large.Get(ctx, name)
	}
	b, err := k.chain.call(ctx, childRequest{Op: "get", Name: name})
	if where == "" && errors.Is(err, ErrNotFound) && k.large.exists(dataFile) {
		return k.large.Get(ctx, name)
	}
	if err != nil {
		return providers.Secret{}, err
	}
	return providers.NewSecret(string(b)), nil
}

// Names implements Store.
func (k *keyringStore) Names(context.Context) ([]string, error) {
	x, err := k.readIndex()
	if damage, ok := errors.AsType[*damagedError](err); ok {
		return nil, misconfigured(nil, "log in again, or put a copy back", "%s is damaged (%s): the names of the saved logins are unknown", k.path(), damage.why)
	}
	return slices.Sorted(maps.Keys(x.Names)), err
}

// Set implements Store.
func (k *keyringStore) Set(ctx context.Context, name string, s providers.Secret) error {
	_, err := k.SetNoted(ctx, name, s)
	return err
}

// SetNoted implements Noter: a secret above the keychain's limit goes to the
// encrypted file, and the note says so.
func (k *keyringStore) SetNoted(ctx context.Context, name string, s providers.Secret) (note string, err error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	if s, err = checkSecret(s); err != nil {
		return "", err
	}
	unlock, err := lockDir(ctx, k.o.StateDir, keyringLock)
	if err != nil {
		return "", err
	}
	defer unlock()
	x, note, err := k.openIndex()
	if err != nil {
		return "", err
	}
	n := len(s.Reveal())
	err = ErrTooLarge
	if n <= ringLimit {
		err = k.setSmall(ctx, x, name, s)
	}
	if errors.Is(err, ErrTooLarge) { // by our limit or the keychain's own
		var more string
		more, err = k.setLarge(ctx, x, name, s, n)
		note = join(note, more)
	}
	return note, err
}

// join makes one sentence of two notes.
func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// setSmall writes the keychain. The name enters the index first: a secret in
// the keychain that no list knows would stay there for good.
func (k *keyringStore) setSmall(ctx context.Context, x index, name string, s providers.Secret) error {
	before, known := x.Names[name]
	if !known {
		x.Names[name] = KindKeyring
		if err := k.writeIndex(x); err != nil {
			return err
		}
	}
	_, err := k.chain.call(ctx, childRequest{Op: "set", Name: name, Secret: []byte(s.Reveal())})
	if err != nil {
		// A child that was ended may have stored it: only what surely failed
		// leaves the index.
		if !known && !errors.Is(err, ErrUnavailable) {
			delete(x.Names, name)
			if err := k.writeIndex(x); err != nil {
				k.o.Log.Warn("the list of saved logins names one too many", "name", name, "error", err)
			}
		}
		return err
	}
	if before != KindFile {
		return nil
	}
	x.Names[name] = KindKeyring
	if err := k.writeIndex(x); err != nil {
		return err
	}
	return k.large.Delete(ctx, name)
}

// setLarge writes the encrypted file; the index decides which value counts.
func (k *keyringStore) setLarge(ctx context.Context, x index, name string, s providers.Secret, n int) (string, error) {
	damage, err := k.large.SetNoted(ctx, name, s)
	if err != nil {
		return damage, err
	}
	before := x.Names[name]
	x.Names[name] = KindFile
	if err := k.writeIndex(x); err != nil {
		return damage, err
	}
	if before == KindKeyring {
		if _, err := k.chain.call(ctx, childRequest{Op: "delete", Name: name}); err != nil {
			k.o.Log.Warn("the former secret stays in the keyring", "name", name, "error", err)
		}
	}
	return join(damage, fmt.Sprintf("secret too large for this keyring: %d > %d bytes; it is in the %s", n, ringLimit, k.large.Describe())), nil
}

// Delete implements Store.
func (k *keyringStore) Delete(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return nil // nothing has such a name
	}
	unlock, err := lockDir(ctx, k.o.StateDir, keyringLock)
	if err != nil {
		return err
	}
	defer unlock()
	x, _, err := k.openIndex()
	if err != nil {
		return err
	}
	where, known := x.Names[name]
	if !known {
		return nil
	}
	if where == KindFile {
		err = k.large.Delete(ctx, name)
	} else {
		_, err = k.chain.call(ctx, childRequest{Op: "delete", Name: name})
	}
	if err != nil {
		return err
	}
	delete(x.Names, name)
	return k.writeIndex(x)
}

// Describe implements Store.
func (k *keyringStore) Describe() string {
	s := "keyring of this system (" + ringName + "): opens with your session, for every program of yours"
	if x, err := k.readIndex(); err == nil && slices.Contains(slices.Collect(maps.Values(x.Names)), KindFile) {
		s += "; large secrets in the " + k.large.Describe()
	}
	return s
}

// The large secrets' file can have a passphrase.

// Locked implements Locker: the keychain itself asks its owner.
func (k *keyringStore) Locked() bool { return k.large.Locked() }

// Lock implements Locker.
func (k *keyringStore) Lock() { k.large.Lock() }

// Unlock implements Locker.
func (k *keyringStore) Unlock(ctx context.Context, passphrase providers.Secret) error {
	return k.large.Unlock(ctx, passphrase)
}

// SetPassphrase implements Locker.
func (k *keyringStore) SetPassphrase(ctx context.Context, passphrase providers.Secret) error {
	return k.large.SetPassphrase(ctx, passphrase)
}
