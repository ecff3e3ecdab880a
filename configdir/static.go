// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// RewriteStatic sets the auths entries of want (by host) in the text of a
// config.json, or with containers of an auth.json, and leaves everything else
// as another tool may have made it; a nil login removes the entry. No text is
// an absent file.
func RewriteStatic(data []byte, want map[string]*StaticLogin, containers bool) (out []byte, changed bool, err error) {
	if len(data) == 0 {
		data = []byte("{\n\t\"auths\": {}\n}\n")
		changed = true
	}
	for _, host := range slices.Sorted(maps.Keys(want)) {
		path := []string{keyAuths, authKey(host, containers)}
		have, err := getPath(data, path)
		if err != nil {
			return nil, false, err
		}
		login := want[host]
		if login == nil {
			if have == nil {
				continue
			}
			if data, err = setPath(data, path, nil); err != nil {
				return nil, false, err
			}
			changed = true
			continue
		}
		entry, err := encodeAuthEntry(*login)
		if err != nil {
			return nil, false, fmt.Errorf("%s: %w", clean(host), err)
		}
		if sameEntry(have, entry) {
			continue
		}
		if data, err = setPath(data, path, entry); err != nil {
			return nil, false, err
		}
		changed = true
	}
	return data, changed, nil
}

// sameEntry: docker and podman write entries in their own layout.
func sameEntry(a, b []byte) bool {
	if a == nil || b == nil {
		return false
	}
	var x, y authFields
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && x == y
}

// emptyFor is how long a file may be empty because somebody writes it in place.
const emptyFor = 2 * time.Second

// ErrBusy is the answer where another tool has written the file meanwhile:
// nothing was changed.
var ErrBusy = errors.New("another program is writing it")

// RewriteStaticFile is RewriteStatic on a file, atomically; an absent file is
// made anew (0600). Tools that rewrite the file at the same time may undo it:
// call it again, it answers changed until the entries stay. What they wrote
// after it was read is not lost: that is ErrBusy. A link in the file's place is
// replaced, what it leads to is not touched.
func RewriteStaticFile(path string, want map[string]*StaticLogin, containers bool) (changed bool, err error) {
	return rewriteStaticFile(path, want, containers, nil)
}

func rewriteStaticFile(path string, want map[string]*StaticLogin, containers bool, before steps) (changed bool, err error) {
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return false, plain(path, err)
	}
	defer dir.Close()
	name := filepath.Base(path)
	var data []byte
	info, err := dir.Lstat(name)
	switch {
	case absent(err):
	case err != nil:
		return false, plain(path, err)
	case info.Mode().IsRegular():
		if data, _, err = readRegular(path, maxConfig, openNoFollow); err != nil && !absent(err) {
			return false, plain(path, err)
		}
		if age := time.Since(info.ModTime()); info.Size() == 0 && age >= 0 && age < emptyFor {
			return false, plain(path, ErrBusy)
		}
	}
	out, changed, err := RewriteStatic(data, want, containers)
	if err != nil {
		return false, fmt.Errorf("%s: %w", clean(path), err)
	}
	if !changed {
		return false, nil
	}
	same := func(op, file string) error {
		if err := before.before(op, file); err != nil || op != "rename" {
			return err
		}
		if now, err := dir.Lstat(name); !unchanged(info, now) || err != nil && !absent(err) {
			return ErrBusy
		}
		return nil
	}
	if err := (writer{steps: same}).replace(dir, name, out, 0o600); err != nil {
		return false, plain(path, err)
	}
	return true, nil
}

// unchanged reports that nobody has written a file between two looks; nil is an
// absent one.
func unchanged(was, is fs.FileInfo) bool {
	if was == nil || is == nil {
		return was == nil && is == nil
	}
	return os.SameFile(was, is) && was.Size() == is.Size() && was.ModTime().Equal(is.ModTime())
}
