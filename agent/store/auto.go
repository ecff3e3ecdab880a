// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"sync"

	"github.com/regmint/regmint/providers"
)

const autoLock = "auto.lock"

// probeName is asked for to see whether the keychain works; nothing has it.
const probeName = "regmint probe"

// auto decides between keychain and encrypted file at the first Set, records
// it, and sticks to it: a keychain that stops answering later is an error.
type auto struct {
	o       Options
	keyring *keyringStore // nil: there is none
	file    *file

	mu     sync.Mutex
	chosen Store
}

func newAuto(o Options) (*auto, error) {
	a := &auto{o: o, file: newFile(o)}
	if len(o.Child) > 0 {
		a.keyring = newKeyring(o)
		a.file = a.keyring.large
	}
	_, err := a.store()
	return a, err
}

// store is the recorded choice, nil where there is none yet. It is looked up
// again until there is one: another process may have made it.
func (a *auto) store() (Store, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.chosen != nil {
		return a.chosen, nil
	}
	kind, err := readRecord(a.o.StateDir)
	if err != nil {
		return nil, err
	}
	switch kind {
	case KindKeyring:
		if a.keyring == nil {
			return nil, misconfigured(ErrUnavailable, `set store = "file" under [agent] and log in again`, "logins are kept in the keyring, and there is none here")
		}
		a.chosen = a.keyring
	case KindFile:
		a.chosen = a.file
	}
	return a.chosen, nil
}

// decide makes the choice under a lock and records it before anything is
// stored.
func (a *auto) decide(ctx context.Context) (st Store, note string, err error) {
	unlock, err := lockDir(ctx, a.o.StateDir, autoLock)
	if err != nil {
		return nil, "", err
	}
	defer unlock()
	if st, err := a.store(); st != nil || err != nil {
		return st, "", err
	}
	kind := KindFile
	switch {
	case a.keyring == nil:
		note = "there is no keyring here"
	case a.file.external():
		note = "a key for the encrypted file is configured"
	default:
		_, err := a.keyring.chain.call(ctx, childRequest{Op: "get", Name: probeName})
		switch {
		case err == nil, errors.Is(err, ErrNotFound):
			kind = KindKeyring
		case errors.Is(err, ErrUnavailable) && ctx.Err() == nil:
			note = reason(err)
		default:
			// Locked: a person can still open it. Nothing is decided.
			return nil, "", err
		}
	}
	if err := writeRecord(a.o.StateDir, kind); err != nil {
		return nil, "", err
	}
	if st, err = a.store(); err != nil || kind == KindKeyring {
		return st, "", err
	}
	a.o.Log.Info("logins are kept in the encrypted file from now on", "why", note)
	return st, "logins are kept in the " + a.file.Describe() + " (" + note + ")", nil
}

// reason is an error without its hint.
func reason(err error) string {
	if e, ok := errors.AsType[*providers.Error](err); ok && e.Err != nil {
		return e.Err.Error()
	}
	return err.Error()
}

// Get implements Store. Before the first login there is nothing, and nobody is
// asked.
func (a *auto) Get(ctx context.Context, name string) (providers.Secret, error) {
	st, err := a.store()
	if err != nil {
		return providers.Secret{}, err
	}
	if st == nil {
		return providers.Secret{}, notFound(name, "")
	}
	return st.Get(ctx, name)
}

// Set implements Store.
func (a *auto) Set(ctx context.Context, name string, s providers.Secret) error {
	_, err := a.SetNoted(ctx, name, s)
	return err
}

// SetNoted implements Noter: the first login says where logins are kept.
func (a *auto) SetNoted(ctx context.Context, name string, s providers.Secret) (note string, err error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	if s, err = checkSecret(s); err != nil {
		return "", err
	}
	st, err := a.store()
	if err == nil && st == nil {
		st, note, err = a.decide(ctx)
	}
	if err != nil {
		return note, err
	}
	more, err := SetNoted(ctx, st, name, s)
	return join(note, more), err
}

// Delete implements Store.
func (a *auto) Delete(ctx context.Context, name string) error {
	st, err := a.store()
	if err != nil || st == nil {
		return err
	}
	return st.Delete(ctx, name)
}

// Names implements Store.
func (a *auto) Names(ctx context.Context) ([]string, error) {
	st, err := a.store()
	if err != nil || st == nil {
		return nil, err
	}
	return st.Names(ctx)
}

// Describe implements Store.
func (a *auto) Describe() string {
	switch st, err := a.store(); {
	case err != nil:
		return reason(err)
	case st != nil:
		return st.Describe()
	case a.keyring == nil:
		return "not decided yet: the first login makes the encrypted file " + a.file.path(dataFile)
	}
	return "not decided yet: the first login takes the keyring where one answers, else the encrypted file " + a.file.path(dataFile)
}

// Locked implements Locker.
func (a *auto) Locked() bool { return a.file.Locked() }

// Lock implements Locker.
func (a *auto) Lock() { a.file.Lock() }

// Unlock implements Locker.
func (a *auto) Unlock(ctx context.Context, passphrase providers.Secret) error {
	return a.file.Unlock(ctx, passphrase)
}

// SetPassphrase implements Locker. A passphrase is for the file: where nothing
// is decided yet it decides for that.
func (a *auto) SetPassphrase(ctx context.Context, passphrase providers.Secret) error {
	st, err := a.store()
	if err != nil {
		return err
	}
	if st == nil {
		unlock, err := lockDir(ctx, a.o.StateDir, autoLock)
		if err != nil {
			return err
		}
		defer unlock()
		if st, err = a.store(); err == nil && st == nil {
			err = writeRecord(a.o.StateDir, KindFile)
		}
		if err != nil {
			return err
		}
	}
	return a.file.SetPassphrase(ctx, passphrase)
}
