// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"filippo.io/age"

	"github.com/regmint/regmint/providers"
)

// The files of the key.
const (
	keyFile        = "store.key"         // an age identity, 0600
	wrappedKeyFile = "store.key.age"     // the same under a passphrase
	credentialName = "regmint-store-key" // in $CREDENTIALS_DIRECTORY
	maxKeyFile     = 16 << 10
)

// identity is a key pair of age: X25519, or the hybrid of age 1.3.
type identity struct {
	age.Identity
	recipient age.Recipient
	text      string
}

func parseIdentity(text string) (*identity, error) {
	ids, err := age.ParseIdentities(strings.NewReader(text))
	if err != nil || len(ids) != 1 {
		// age's message may show the line.
		return nil, errors.New("is not one age identity (AGE-SECRET-KEY-1…)")
	}
	switch id := ids[0].(type) {
	case *age.X25519Identity:
		return &identity{id, id.Recipient(), id.String()}, nil
	case *age.HybridIdentity:
		return &identity{id, id.Recipient(), id.String()}, nil
	}
	return nil, errors.New("is an age identity of an unknown kind")
}

// NewKey makes a key for [agent] store_key or $CREDENTIALS_DIRECTORY: the text
// of an age identity.
func NewKey() (providers.Secret, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return providers.Secret{}, err
	}
	return providers.NewSecret(id.String()), nil
}

// keySource is where the key of the encrypted file comes from.
type keySource struct {
	o          Options
	workFactor int // of scrypt, log2; 0: age's own

	mu   sync.Mutex
	held *identity // unlocked, or read from outside
}

// path of a file in the state directory.
func (k *keySource) path(name string) string { return filepath.Join(k.o.StateDir, name) }

func (k *keySource) exists(name string) bool { return exists(k.path(name)) }

// credential is the path of the service manager's credential, "" where there
// is none.
func (k *keySource) credential() string {
	dir := lookup(k.o.Env, "CREDENTIALS_DIRECTORY")
	if !filepath.IsAbs(dir) {
		return ""
	}
	path := filepath.Join(dir, credentialName)
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// lookup reads one variable of a list; the last one wins, as for a process.
func lookup(env []string, name string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(env[i], name+"="); ok {
			return v
		}
	}
	return ""
}

// pick keeps the variables of these names.
func pick(env []string, names ...string) []string {
	out := []string{}
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		if slices.Contains(names, name) {
			out = append(out, kv)
		}
	}
	return out
}

// external reports a key that somebody else keeps.
func (k *keySource) external() bool { return !k.o.Key.IsZero() || k.credential() != "" }

// identity returns the key. create makes a key file where there is no key at
// all; the caller holds the store's lock then.
func (k *keySource) identity(ctx context.Context, create bool) (*identity, error) {
	k.mu.Lock()
	held := k.held
	k.mu.Unlock()
	if held != nil {
		return held, nil
	}
	switch {
	case k.external():
		id, err := k.readExternal(ctx)
		if err == nil {
			k.hold(id)
		}
		return id, err
	case k.exists(wrappedKeyFile):
		return nil, fault(providers.LoginRequired, ErrLocked, "run: regmint unlock", "the saved logins are locked")
	case k.exists(keyFile):
		return k.readKeyFile()
	case k.exists(dataFile):
		return nil, misconfigured(nil, fmt.Sprintf("put the key back, or move %s away and log in again", k.path(dataFile)),
			"the saved logins are there, but their key %s is gone", k.path(keyFile))
	case !create:
		return nil, errNoKey
	}
	return k.createKeyFile()
}

// errNoKey: nothing was ever saved.
var errNoKey = errors.New("no key yet")

func (k *keySource) hold(id *identity) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held = id
}

func (k *keySource) readExternal(ctx context.Context) (*identity, error) {
	var text, where string
	if k.o.Key.IsZero() {
		where = "$CREDENTIALS_DIRECTORY/" + credentialName
		data, err := readSmall(k.credential(), maxKeyFile)
		if err != nil {
			return nil, unavailable(err, "%s", where)
		}
		text = string(data)
	} else {
		where = "store_key " + k.o.Key.String()
		if k.o.Resolve == nil {
			return nil, misconfigured(nil, "", "%s cannot be read here", where)
		}
		s, err := k.o.Resolve(ctx, k.o.Key)
		if err != nil {
			return nil, err
		}
		text = s.Reveal()
	}
	id, err := parseIdentity(text)
	if err != nil {
		return nil, misconfigured(nil, "make one with: age-keygen", "%s %v", where, err)
	}
	return id, nil
}

func (k *keySource) readKeyFile() (*identity, error) {
	path := k.path(keyFile)
	data, tightened, err := readPrivate(path, maxKeyFile)
	if err != nil {
		return nil, unavailable(err, "%s", path)
	}
	if tightened {
		k.o.Log.Warn("the key of the saved logins was open to others; its mode is 0600 now", "path", path)
	}
	id, err := parseIdentity(string(data))
	if err != nil {
		return nil, misconfigured(nil, "put the right key back, or move it and "+k.path(dataFile)+" away and log in again", "%s %v", path, err)
	}
	return id, nil
}

func (k *keySource) createKeyFile() (*identity, error) {
	fresh, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, unavailable(err, "cannot make a key")
	}
	id := &identity{fresh, fresh.Recipient(), fresh.String()}
	return id, k.writeKeyFile(id)
}

func (k *keySource) writeKeyFile(id *identity) error {
	text := "# opens store.age beside it; written by regmint\n" + id.text + "\n"
	if err := writeAtomic(k.path(keyFile), []byte(text)); err != nil {
		return unavailable(err, "cannot write %s", k.path(keyFile))
	}
	return nil
}

// describe says what opens the file.
func (k *keySource) describe() string {
	switch {
	case !k.o.Key.IsZero():
		return "its key comes from store_key " + k.o.Key.String()
	case k.credential() != "":
		return "its key is the service's credential " + credentialName
	case k.Locked():
		return "locked by a passphrase"
	case k.exists(wrappedKeyFile):
		return "protected by a passphrase, unlocked until the agent ends or regmint lock"
	}
	return "its key is " + k.path(keyFile) + ", readable by you alone: whoever reads your files can open it"
}

func encrypt(plain []byte, to age.Recipient) ([]byte, error) {
	var b bytes.Buffer
	w, err := age.Encrypt(&b, to)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
