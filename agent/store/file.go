// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"filippo.io/age"

	"github.com/regmint/regmint/providers"
)

const (
	dataFile = "store.age"
	fileLock = "store.lock"
	// maxData bounds the file: far more than anybody has logins.
	maxData = 64 << 20
)

// file keeps all secrets in one age-encrypted file. It is read anew for every
// answer, so that what another process wrote is seen at once and nothing but
// the key stays in memory.
type file struct {
	*keySource
	o Options
}

func newFile(o Options) *file {
	return &file{keySource: &keySource{o: o, workFactor: o.ScryptWork}, o: o}
}

// content is the decrypted file. Secrets are base64 in JSON: every byte
// survives.
type content struct {
	Schema  int               `json:"schema"`
	Secrets map[string][]byte `json:"secrets"`
}

// contentSchema: fields are only added; a break counts it up.
const contentSchema = 1

// damagedError: the file is there and is not what was written.
type damagedError struct{ why string }

func (e *damagedError) Error() string { return e.why }

// read decrypts the file. No file is empty content with create, errNoKey
// without: nothing was ever saved, and no key is asked for.
func (f *file) read(ctx context.Context, create bool) (*content, *identity, error) {
	path := f.path(dataFile)
	data, tightened, err := readPrivate(path, maxData)
	absent := errors.Is(err, os.ErrNotExist)
	switch {
	case absent && !create:
		return nil, nil, errNoKey
	case err != nil && !absent:
		return nil, nil, unavailable(err, "%s", path)
	}
	if tightened {
		f.o.Log.Warn("the file of saved logins was open to others; its mode is 0600 now", "path", path)
	}
	id, err := f.identity(ctx, create)
	if err != nil {
		return nil, nil, err
	}
	if absent {
		return &content{Schema: contentSchema, Secrets: map[string][]byte{}}, id, nil
	}
	c, err := decode(data, id)
	if _, mismatch := errors.AsType[*age.NoIdentityMatchError](err); mismatch {
		f.hold(nil) // a key from outside may have changed
		return nil, nil, misconfigured(nil, "put the right key back, or move the file away and log in again",
			"%s does not open with this key (%s)", path, f.describe())
	}
	return c, id, err
}

func decode(data []byte, id age.Identity) (*content, error) {
	r, err := age.Decrypt(bytes.NewReader(data), id)
	if err != nil {
		if _, mismatch := errors.AsType[*age.NoIdentityMatchError](err); mismatch {
			return nil, err
		}
		return nil, &damagedError{"its header is damaged"}
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return nil, &damagedError{"it is cut off or changed"}
	}
	var c content
	if err := json.Unmarshal(plain, &c); err != nil {
		return nil, &damagedError{"what is in it is not ours"}
	}
	if c.Schema > contentSchema {
		return nil, misconfigured(nil, "use that version again", "the saved logins were written by a newer regmint (format %d)", c.Schema)
	}
	if c.Schema < 1 || c.Secrets == nil {
		return nil, &damagedError{"what is in it is not ours"}
	}
	return &c, nil
}

// Get implements Store.
func (f *file) Get(ctx context.Context, name string) (providers.Secret, error) {
	c, _, err := f.read(ctx, false)
	switch {
	case errors.Is(err, errNoKey):
		return providers.Secret{}, notFound(name, f.lostHint())
	case err != nil:
		return providers.Secret{}, f.damaged(ctx, err)
	}
	s, ok := c.Secrets[name]
	if !ok {
		return providers.Secret{}, notFound(name, f.lostHint())
	}
	return providers.NewSecret(string(s)), nil
}

// Names implements Store.
func (f *file) Names(ctx context.Context) ([]string, error) {
	c, _, err := f.read(ctx, false)
	switch {
	case errors.Is(err, errNoKey):
		return nil, nil
	case err != nil:
		return nil, f.damaged(ctx, err)
	}
	return slices.Sorted(maps.Keys(c.Secrets)), nil
}

// Set implements Store.
func (f *file) Set(ctx context.Context, name string, s providers.Secret) error {
	_, err := f.SetNoted(ctx, name, s)
	return err
}

// SetNoted implements Noter: a damaged file is set aside, and the note says so.
func (f *file) SetNoted(ctx context.Context, name string, s providers.Secret) (note string, err error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	if s, err = checkSecret(s); err != nil {
		return "", err
	}
	return f.change(ctx, true, func(c *content) bool {
		c.Secrets[name] = []byte(s.Reveal())
		return true
	})
}

// Delete implements Store.
func (f *file) Delete(ctx context.Context, name string) error {
	_, err := f.change(ctx, false, func(c *content) bool {
		_, ok := c.Secrets[name]
		delete(c.Secrets, name)
		return ok
	})
	if errors.Is(err, errNoKey) {
		return nil
	}
	return err
}

// change reads, changes and writes the file under the lock.
func (f *file) change(ctx context.Context, create bool, do func(*content) bool) (note string, err error) {
	if _, err := os.Lstat(f.path(dataFile)); !create && errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	unlock, err := lockDir(ctx, f.o.StateDir, fileLock)
	if err != nil {
		return "", err
	}
	defer unlock()
	c, id, err := f.read(ctx, create)
	if damage, ok := errors.AsType[*damagedError](err); ok {
		if note, err = f.setAside(damage); err != nil {
			return "", err
		}
		c, id, err = f.read(ctx, create)
	}
	if err != nil {
		return note, err
	}
	if !do(c) {
		return note, nil
	}
	plain, err := json.Marshal(c)
	if err != nil {
		return note, unavailable(err, "cannot encode the saved logins")
	}
	data, err := encrypt(plain, id.recipient)
	if err != nil {
		return note, unavailable(err, "cannot encrypt the saved logins")
	}
	sweepTemp(f.o.StateDir)
	if err := writeAtomic(f.path(dataFile), data); err != nil {
		return note, unavailable(err, "cannot write %s", f.path(dataFile))
	}
	return note, nil
}

// damaged sets a damaged file aside for a reader and turns it into an error;
// other errors pass.
func (f *file) damaged(ctx context.Context, err error) error {
	damage, ok := errors.AsType[*damagedError](err)
	if !ok {
		return err
	}
	unlock, lockErr := lockDir(ctx, f.o.StateDir, fileLock)
	if lockErr != nil {
		return lockErr
	}
	defer unlock()
	// Somebody may have set it aside, or mended it, since.
	if _, _, again := f.read(ctx, false); again == nil {
		return fault(providers.Unavailable, ErrUnavailable, "try again", "%s was being repaired", f.path(dataFile))
	}
	note, asideErr := f.setAside(damage)
	if asideErr != nil {
		return asideErr
	}
	return fault(providers.LoginRequired, ErrUnavailable, "log in again", "%s", note)
}

// setAside moves the damaged file away; nobody loses it without a word.
func (f *file) setAside(damage *damagedError) (note string, err error) {
	return setAside(f.o.Log, f.path(dataFile), damage.why)
}

// lostHint reminds of a file that was set aside: a missing login may be in it.
func (f *file) lostHint() string {
	entries, err := os.ReadDir(f.o.StateDir)
	if err != nil {
		return ""
	}
	last := ""
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), dataFile+".bad-") {
			last = e.Name()
		}
	}
	if last == "" {
		return ""
	}
	return fmt.Sprintf("a damaged copy of the saved logins is kept as %s; log in again", f.path(last))
}

// SetPassphrase implements Locker.
func (f *file) SetPassphrase(ctx context.Context, passphrase providers.Secret) error {
	unlock, err := lockDir(ctx, f.o.StateDir, fileLock)
	if err != nil {
		return err
	}
	defer unlock()
	// A key that does not open the file must not take the right one's place.
	if _, _, err := f.read(ctx, true); err != nil {
		if damage, ok := errors.AsType[*damagedError](err); ok {
			return misconfigured(ErrUnavailable, "log in again first", "%s is damaged (%s)", f.path(dataFile), damage.why)
		}
		return err
	}
	return f.setPassphrase(ctx, passphrase)
}

// Describe implements Store.
func (f *file) Describe() string {
	s := "encrypted file " + f.path(dataFile) + "; " + f.describe()
	if hint := f.lostHint(); hint != "" {
		s += "; " + hint
	}
	return s
}
