// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"

	"github.com/regmint/regmint/providers"
)

// locksDir holds one file per lock, below the state directory.
const locksDir = "locks"

// Lock takes the user's lock of this name in the state directory: processes of
// the user never hold it at the same time, and it goes with its process. It
// waits until ctx ends. unlock may be called more than once. It is Deps.Lock.
func Lock(ctx context.Context, stateDir, name string) (unlock func(), err error) {
	l, path, err := openLock(stateDir, name)
	if err != nil {
		return nil, err
	}
	// The kernel's own queue is fair, which a loop of attempts is not.
	locked := make(chan error, 1)
	go func() { locked <- l.Lock() }()
	select {
	case err := <-locked:
		if err != nil {
			return nil, misconfigured("cannot lock %s: %w", path, err)
		}
		handOver(path)
		return func() { _ = l.Close() }, nil
	case <-ctx.Done():
		go func() { // ends when the lock is free
			if <-locked == nil {
				_ = l.Close()
			}
		}()
		return nil, &providers.Error{
			Kind: providers.Unavailable, Hint: "try again",
			Err: because{fmt.Sprintf("another regmint still refreshes %q", clean(name)), ctx.Err()},
		}
	}
}

// TryLock is Lock that does not wait: unlock is nil where somebody has the lock.
// Whoever asks often, and can do without, leaves nothing waiting.
func TryLock(stateDir, name string) (unlock func(), err error) {
	l, path, err := openLock(stateDir, name)
	if err != nil {
		return nil, err
	}
	got, err := l.TryLock()
	if err != nil {
		return nil, misconfigured("cannot lock %s: %w", path, err)
	}
	if !got {
		return nil, l.Close()
	}
	handOver(path)
	return func() { _ = l.Close() }, nil
}

func openLock(stateDir, name string) (l *flock.Flock, path string, err error) {
	if !filepath.IsAbs(stateDir) {
		return nil, "", &providers.Error{
			Kind: providers.Misconfigured, Err: errors.New("there is no state directory for locks"), Hint: "set REGMINT_STATE_DIR",
		}
	}
	dir := filepath.Join(stateDir, locksDir)
	if err := makeDir(dir); err != nil {
		return nil, "", misconfigured("cannot make %s: %w", dir, err)
	}
	path = filepath.Join(dir, lockName(name))
	return flock.New(path, flock.SetPermissions(0o600)), path, nil
}

// lockName is a file name of its own for every name, whatever stands in it.
func lockName(name string) string {
	readable := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}, name)
	sum := sha256.Sum256([]byte(name))
	return readable[:min(len(readable), 40)] + "-" + hex.EncodeToString(sum[:12])
}
