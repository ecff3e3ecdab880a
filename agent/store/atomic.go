// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/regmint/regmint/providers"
)

// tempPrefix marks what an interrupted write left behind.
const tempPrefix = ".regmint-write-"

// writeAtomic puts data at path with mode 0600 (os.CreateTemp's): the old file
// or the new one is there at any moment, and the new one is durable on return.
func writeAtomic(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, tempPrefix+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	handOver(f.Name())
	if err = rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// lockWait is how long a change waits for another process; a change of the
// keychain on a terminal may hold its lock for 2 min.
const lockWait = 30 * time.Second

// lockDir makes the state directory and takes the lock of that name in it.
func lockDir(ctx context.Context, dir, name string) (unlock func(), err error) {
	if err := makeDir(dir); err != nil {
		return nil, unavailable(err, "cannot make %s", dir)
	}
	l := flock.New(filepath.Join(dir, name), flock.SetPermissions(0o600))
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	// The kernel's own queue is fair, which a loop of attempts is not.
	locked := make(chan error, 1)
	go func() { locked <- l.Lock() }()
	select {
	case err := <-locked:
		if err != nil {
			return nil, unavailable(err, "cannot lock %s", l.Path())
		}
		handOver(l.Path())
		return func() { _ = l.Close() }, nil
	case <-ctx.Done():
		go func() { // ends when the lock is free
			if <-locked == nil {
				_ = l.Close()
			}
		}()
		return nil, &providers.Error{
			Kind: providers.Unavailable, Hint: "try again",
			Err: &wrapped{"another regmint is changing the saved logins", ErrUnavailable},
		}
	}
}

// sweepTemp removes temporary files that killed writes left. Holders of the
// other locks write here too, so a fresh one is left alone.
func sweepTemp(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tempPrefix) || !e.Type().IsRegular() {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > time.Minute {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// readSmall reads a regular file of at most limit bytes, as it is.
func readSmall(path string, limit int64) ([]byte, error) {
	data, _, err := readRegular(path, limit, false)
	return data, err
}

// readPrivate is readSmall for a file of ours that others must not read; it
// tells whether it had to take their rights away.
func readPrivate(path string, limit int64) (data []byte, tightened bool, err error) {
	return readRegular(path, limit, true)
}

var errNotRegular = errors.New("is not a regular file")

// readRegular never blocks on a FIFO and never reads a device.
func readRegular(path string, limit int64, private bool) (data []byte, tightened bool, err error) {
	if info, err := os.Stat(path); err != nil {
		return nil, false, err
	} else if !info.Mode().IsRegular() {
		return nil, false, errNotRegular
	}
	f, err := os.OpenFile(path, os.O_RDONLY|openNonBlock, 0)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	if !info.Mode().IsRegular() {
		return nil, false, errNotRegular
	}
	if data, err = io.ReadAll(io.LimitReader(f, limit+1)); err != nil {
		return nil, false, err
	}
	if int64(len(data)) > limit {
		return nil, false, fmt.Errorf("is larger than %d bytes", limit)
	}
	return data, private && tighten(f, info), nil
}

// setAside renames a damaged file to NAME.bad-UTC and says so; the caller holds
// the lock of its writers.
func setAside(log *slog.Logger, path, why string) (note string, err error) {
	aside := path + ".bad-" + time.Now().UTC().Format("20060102T150405Z")
	for n := 2; exists(aside); n++ {
		aside = fmt.Sprintf("%s.bad-%s-%d", path, time.Now().UTC().Format("20060102T150405Z"), n)
	}
	if err := os.Rename(path, aside); err != nil {
		return "", unavailable(err, "%s is damaged (%s) and cannot be moved away", path, why)
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return "", unavailable(err, "cannot write %s", filepath.Dir(path))
	}
	log.Error("a file of saved logins is damaged and was set aside", "path", path, "aside", aside, "why", why)
	return fmt.Sprintf("%s was damaged (%s) and is kept as %s", path, why, filepath.Base(aside)), nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
