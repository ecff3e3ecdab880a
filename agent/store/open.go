// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

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
	// and $CREDENTIALS_DIRECTORY are looked for: NAME=value.
	Env []string
	// Key is [agent] store_key; zero: $CREDENTIALS_DIRECTORY, a passphrase or
	// the key file.
	Key providers.SecretRef
	// Resolve reads Key.
	Resolve func(ctx context.Context, ref providers.SecretRef) (providers.Secret, error)
	// Interactive: a person waits and can answer the keychain's prompt (2 min
	// instead of 2 s).
	Interactive bool
	// ScryptWork is what a new passphrase costs, log2; 0: age's own, about a
	// second.
	ScryptWork int
	// Log gets warnings; nil discards them.
	Log *slog.Logger
}

// The kinds of store.
const (
	KindAuto    = "auto"
	KindKeyring = "keyring"
	KindFile    = "file"
	KindMemory  = "memory"
)

// Locker is a store that a passphrase can protect.
type Locker interface {
	// Locked reports that a passphrase is needed before anything else works.
	Locked() bool
	// Lock forgets the key. A store without a passphrase stays open.
	Lock()
	// Unlock opens the key with the passphrase and keeps it in memory.
	Unlock(ctx context.Context, passphrase providers.Secret) error
	// SetPassphrase protects the key with a passphrase from now on; a zero
	// passphrase goes back to a key file. A locked store refuses.
	SetPassphrase(ctx context.Context, passphrase providers.Secret) error
}

// Noter is a store that can keep a secret elsewhere than asked, or lose what
// was damaged; the note says so.
type Noter interface {
	// SetNoted is Set; note is a sentence for the person, "" where there is
	// nothing to say.
	SetNoted(ctx context.Context, name string, s providers.Secret) (note string, err error)
}

// SetNoted stores a secret and returns the store's note, "" where it has none.
func SetNoted(ctx context.Context, st Store, name string, s providers.Secret) (string, error) {
	if n, ok := st.(Noter); ok {
		return n.SetNoted(ctx, name, s)
	}
	return "", st.Set(ctx, name, s)
}

// Open opens the store that o names. It reads nothing secret and never talks
// to the keychain: an `auto` that is not decided yet is decided at the first
// Set and recorded. Errors are *providers.Error.
func Open(o Options) (Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Kind == KindMemory {
		return newMemory(), nil
	}
	if !filepath.IsAbs(o.StateDir) {
		return nil, misconfigured(nil, "set REGMINT_STATE_DIR", "there is no state directory for saved logins")
	}
	if len(o.Child) > 0 && !filepath.IsAbs(o.Child[0]) {
		return nil, misconfigured(nil, "", "the program for the keychain needs an absolute path")
	}
	switch o.Kind {
	case KindFile:
		return newFile(o), nil
	case KindKeyring:
		if len(o.Child) == 0 {
			return nil, misconfigured(ErrUnavailable, `set store = "file" under [agent]`, "there is no keychain here")
		}
		return newKeyring(o), nil
	case KindAuto, "":
		return newAuto(o)
	}
	return nil, misconfigured(nil, "use auto, keyring, file or memory", "there is no store %q", o.Kind)
}

// recordFile holds auto's decision.
const recordFile = "store"

// readRecord returns auto's decision, "" where there is none yet.
func readRecord(dir string) (string, error) {
	path := filepath.Join(dir, recordFile)
	data, err := readSmall(path, 64)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", nil
	case err != nil:
		return "", unavailable(err, "cannot read %s", path)
	}
	switch kind := strings.TrimSpace(string(data)); kind {
	case KindKeyring, KindFile:
		return kind, nil
	}
	return "", misconfigured(nil, `write "keyring" or "file" into it, or set store under [agent]`,
		"%s does not say where logins are kept", path)
}

func writeRecord(dir, kind string) error {
	path := filepath.Join(dir, recordFile)
	if err := writeAtomic(path, []byte(kind+"\n")); err != nil {
		return unavailable(err, "cannot write %s", path)
	}
	return nil
}

// The constructors of errors. cause is one of the exported errors, or nil.

func fault(kind providers.Kind, cause error, hint, format string, args ...any) error {
	return &providers.Error{Kind: kind, Hint: hint, Err: &wrapped{fmt.Sprintf(format, args...), cause}}
}

// wrapped is a worded error whose cause shows to errors.Is alone.
type wrapped struct {
	text  string
	cause error
}

func (w *wrapped) Error() string { return w.text }
func (w *wrapped) Unwrap() error { return w.cause }

func misconfigured(cause error, hint, format string, args ...any) error {
	return fault(providers.Misconfigured, cause, hint, format, args...)
}

// unavailable adds the cause's own words: those of a system call.
func unavailable(cause error, format string, args ...any) error {
	return &providers.Error{Kind: providers.Unavailable, Err: fmt.Errorf(format+": %w", append(args, plain(cause))...)}
}

// plain drops the path of a file error, which the caller names.
func plain(err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err
	}
	if le, ok := errors.AsType[*os.LinkError](err); ok {
		return le.Err
	}
	return err
}

func notFound(name, hint string) error {
	return fault(providers.LoginRequired, ErrNotFound, hint, "no saved secret %q", name)
}

// checkName wants a name that every backend keeps as it is.
func checkName(name string) error {
	if name == "" || len(name) > 512 || !printable(name) {
		return misconfigured(nil, "", "a saved secret needs a name of 1 to 512 printable characters")
	}
	return nil
}

func printable(s string) bool {
	return strings.ToValidUTF8(s, "") == s && !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}

// maxSecret bounds what any store takes.
const maxSecret = 1 << 20

// checkSecret refuses what some keychain would alter without a word. A JSON
// object (a Google key is a password) is put on one line.
func checkSecret(s providers.Secret) (providers.Secret, error) {
	text := s.Reveal()
	var one bytes.Buffer
	if strings.ContainsAny(text, "\n\r") && strings.HasPrefix(strings.TrimSpace(text), "{") && json.Compact(&one, []byte(text)) == nil {
		text = one.String()
	}
	switch {
	case text == "":
		return s, misconfigured(nil, "", "an empty secret is not saved")
	case strings.ContainsAny(text, "\n\r\x00"):
		return s, misconfigured(nil, "", "a secret with a line end or a NUL byte in it is not saved")
	case len(text) > maxSecret:
		return s, tooLarge("the store", len(text), maxSecret)
	}
	return providers.NewSecret(text), nil
}

func tooLarge(what string, n, limit int) error {
	return misconfigured(ErrTooLarge, "", "secret too large for %s: %d > %d bytes", what, n, limit)
}
