// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Temporary files are named after the file they become, so that a later start
// can tell ours from everybody else's: .config.json.regmint-XXXXXXXXXXXX.tmp
const (
	tempMark   = ".regmint-"
	tempSuffix = ".tmp"
	tempRandom = 12
)

// tempName is a temporary name beside name.
func tempName(name string) string {
	return filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+tempMark+NewID()[:tempRandom]+tempSuffix)
}

// tempFor is the name of the file a temporary one would become.
func tempFor(name string) (base string, ok bool) {
	rest, ok := strings.CutPrefix(name, ".")
	if !ok {
		return "", false
	}
	i := strings.LastIndex(rest, tempMark)
	if i <= 0 {
		return "", false
	}
	random, ok := strings.CutSuffix(rest[i+len(tempMark):], tempSuffix)
	return rest[:i], ok && len(random) == tempRandom && strings.Trim(random, idAlphabet) == ""
}

// steps is asked before every operation that changes the disk; an error ends
// the work there. Tests use it to stop at each one in turn. nil does nothing.
type steps func(op, name string) error

func (s steps) before(op, name string) error {
	if s == nil {
		return nil
	}
	return s(op, name)
}

// writer replaces files in a directory: temporary file, rename.
type writer struct {
	durable bool // fsync of file and directory
	steps   steps
	like    fs.FileInfo // the file whose owner is kept; nil = none
}

// WriteFile replaces path atomically and durably: a reader sees the old or the
// new content, never a part, also after a crash. The directory must exist; a
// symbolic link at path is replaced, not followed.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return plain(path, err)
	}
	defer dir.Close()
	return plain(path, writer{durable: true}.replace(dir, filepath.Base(path), data, mode))
}

// replace writes data to a temporary file beside name and renames it.
func (w writer) replace(dir *os.Root, name string, data []byte, mode fs.FileMode) (err error) {
	tmp := tempName(name)
	if err := w.steps.before("create", tmp); err != nil {
		return err
	}
	f, err := dir.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close() // closed already, unless filling it failed
			if w.steps.before("remove", tmp) == nil {
				err = errors.Join(err, ignoreAbsent(dir.Remove(tmp)))
			}
		}
	}()
	if err := w.fill(f, tmp, data, mode); err != nil {
		return err
	}
	if err := w.steps.before("rename", name); err != nil {
		return err
	}
	if err := dir.Rename(tmp, name); err != nil {
		return err
	}
	if !w.durable {
		return nil
	}
	if err := w.steps.before("syncdir", name); err != nil {
		return err
	}
	return syncDir(dir)
}

// fill writes and closes f. The mode is set on the open file: whatever the
// umask, nothing is ever wider than asked.
func (w writer) fill(f *os.File, tmp string, data []byte, mode fs.FileMode) error {
	if err := w.steps.before("write", tmp); err != nil {
		return err
	}
	if w.like != nil {
		if err := keepOwner(f, w.like); err != nil {
			return err
		}
	}
	if err := f.Chmod(mode); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if w.durable {
		if err := w.steps.before("sync", tmp); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
	}
	return f.Close()
}

// SweepTemp removes the temporary files that a killed process left for path.
// The caller holds the lock under which they are made.
func SweepTemp(path string) error {
	root, err := os.OpenRoot(filepath.Dir(path))
	if absent(err) {
		return nil
	}
	if err != nil {
		return plain(path, err)
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return plain(path, err)
	}
	for _, e := range entries {
		if base, ok := tempFor(e.Name()); !ok || base != filepath.Base(path) || e.IsDir() {
			continue
		}
		if err := root.Remove(e.Name()); err != nil && !absent(err) {
			return plain(filepath.Join(filepath.Dir(path), e.Name()), err)
		}
	}
	return nil
}

// plain names the file once, as the person knows it, and what the system said.
func plain(path string, err error) error {
	if err == nil {
		return nil
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	var le *os.LinkError
	if errors.As(err, &le) {
		err = le.Err
	}
	return fmt.Errorf("%s: %w", clean(path), err)
}

// clean shows foreign text on one line: control characters, and what is no
// UTF-8, as escapes.
func clean(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '\uFFFD' && s[i] != 0xEF:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r < 0x20 || r >= 0x7F && r < 0xA0:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r == '\u2028' || r == '\u2029' || r >= '\u202A' && r <= '\u202E' || r >= '\u2066' && r <= '\u2069':
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
