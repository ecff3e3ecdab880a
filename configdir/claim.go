// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// claimDir prepares the directory of --dir for a job: absent, empty, or left by
// a job that is gone. It returns its absolute path.
func claimDir(dir, id string) (abs string, notes []string, err error) {
	if abs, err = filepath.Abs(dir); err != nil {
		return "", nil, err
	}
	switch err := os.Mkdir(abs, 0o700); {
	case err == nil:
		return abs, nil, plain(abs, os.Chmod(abs, 0o700))
	case !errors.Is(err, fs.ErrExist):
		return "", nil, plain(abs, err)
	}
	// A link to a directory is the person's own business; what counts is where
	// it leads.
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return "", nil, plain(dir, err)
	}
	info, err := os.Stat(abs)
	if err != nil {
		return "", nil, plain(abs, err)
	}
	if !info.IsDir() {
		return "", nil, fmt.Errorf("%s is not a directory: %w", clean(abs), ErrForeign)
	}
	if err := checkClaim(abs, id); err != nil {
		return "", nil, err
	}
	if runtime.GOOS == "windows" || info.Mode().Perm() == 0o700 {
		return abs, nil, nil
	}
	if err := os.Chmod(abs, 0o700); err != nil {
		notes = append(notes, fmt.Sprintf("%s keeps its mode %04o: it belongs to somebody else", clean(abs), info.Mode().Perm()))
	}
	return abs, notes, nil
}

// checkClaim: empty, or marked by a job that does not live any more.
func checkClaim(dir, id string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return plain(dir, err)
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return plain(dir, err)
	}
	empty := true
	for _, e := range entries {
		// The root of a fresh ext4 volume has lost+found.
		_, temp := tempFor(e.Name())
		empty = empty && (temp || e.Name() == "lost+found")
	}
	if empty {
		return nil
	}
	p, err := readPointer(root)
	if err != nil {
		return fmt.Errorf("%s holds other files: choose an empty directory for --dir: %w", clean(dir), ErrForeign)
	}
	if p.ID == id {
		return nil
	}
	other := filepath.Dir(p.Socket)
	if filepath.Base(other) == p.ID {
		if held, err := LockHeld(other); err == nil && held {
			return fmt.Errorf("%s is in use by job %s: %w", clean(dir), p.ID, ErrLocked)
		}
		if f, err := ReadJobFile(other); err == nil && f.Closed == nil {
			return fmt.Errorf("%s is in use by job %s: run: regmint job close %s: %w", clean(dir), p.ID, p.ID, ErrLocked)
		}
	}
	return nil
}

// readPointer reads regmint-job.json in a docker part.
func readPointer(dir *os.Root) (Pointer, error) {
	f, err := dir.OpenFile(PointerName, os.O_RDONLY|openNonBlock, 0)
	if err != nil {
		return Pointer{}, err
	}
	defer f.Close()
	data, _, err := readOpen(f, maxJobFile)
	if err != nil {
		return Pointer{}, err
	}
	var p Pointer
	if err := json.Unmarshal(data, &p); err != nil {
		return Pointer{}, err
	}
	if !ValidID(p.ID) || p.Schema != jobSchema {
		return Pointer{}, fmt.Errorf("%w pointer", ErrMalformed)
	}
	return p, nil
}
