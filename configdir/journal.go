// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// journalSchema is the version of the install journal.
const journalSchema = 1

// journal is what Install changed and Uninstall undoes. It is written before
// the files are.
type journal struct {
	Schema int           `json:"schema"`
	Files  []journalFile `json:"files"`
}

// journalFile is one edited file.
type journalFile struct {
	Path    string   `json:"path"`
	Created bool     `json:"created,omitempty"` // it was absent
	Dirs    []string `json:"dirs,omitempty"`    // directories made for it, innermost first
	Backup  string   `json:"backup,omitempty"`  // the file as it was first
	Before  string   `json:"before,omitempty"`  // its SHA-256; "" where it was absent
	// MadeHelpers: credHelpers was absent, and goes when it is empty again.
	MadeHelpers bool     `json:"made_helpers,omitempty"`
	Ours        []string `json:"ours"` // SHA-256 of every text we wrote in an unbroken chain from Before
	Changes     []Change `json:"changes"`
}

// exact reports that data is a text of ours that nobody else has touched since
// Before.
func (f *journalFile) exact(data []byte) bool { return slices.Contains(f.Ours, digest(data)) }

// sweep removes what a killed install or uninstall left beside the file.
func (f *journalFile) sweep(target string) error {
	for _, path := range []string{target, f.Backup} {
		if path == "" {
			continue
		}
		if err := SweepTemp(path); err != nil {
			return err
		}
	}
	return nil
}

// readJournal reads the journal; an absent one is empty.
func readJournal(path string) (*journal, error) {
	data, _, err := readRegular(path, maxConfig, openNoFollow)
	if absent(err) {
		return &journal{Schema: journalSchema}, nil
	}
	if err != nil {
		return nil, plain(path, err)
	}
	var j journal
	if err := json.Unmarshal(data, &j); err != nil {
		return nil, fmt.Errorf("the install journal %s is %w; the files as they were lie beside the edited ones as *%s", clean(path), ErrMalformed, backupSuffix)
	}
	if j.Schema != journalSchema {
		return nil, fmt.Errorf("the install journal %s has schema %d; this regmint knows %d: use the version that made it", clean(path), j.Schema, journalSchema)
	}
	return &j, nil
}

// write saves the journal, or removes it when it is empty.
func (j *journal) write(path string, s steps) error {
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return plain(path, err)
	}
	defer dir.Close()
	if len(j.Files) == 0 {
		if err := s.before("remove", path); err != nil {
			return err
		}
		if err := ignoreAbsent(dir.Remove(filepath.Base(path))); err != nil {
			return plain(path, err)
		}
		return plain(path, syncDir(dir))
	}
	data, err := json.MarshalIndent(j, "", "\t")
	if err != nil {
		return err
	}
	return plain(path, writer{durable: true, steps: s}.replace(dir, filepath.Base(path), append(data, '\n'), 0o600))
}

// file is the entry of a path; nil where there is none.
func (j *journal) file(path string) *journalFile {
	for i := range j.Files {
		if j.Files[i].Path == path {
			return &j.Files[i]
		}
	}
	return nil
}

// lockJournal keeps two installs apart.
func lockJournal(path string) (release func(), err error) {
	l, err := newLock(path + ".lock")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	if _, err := l.TryLockContext(ctx, 10*lockRetry); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, fmt.Errorf("another regmint install is at work (%s): %w", clean(path), ErrLocked)
		}
		return nil, plain(path+".lock", err)
	}
	return func() { _ = l.Close() }, nil
}

// record merges a planned file into the journal. current is what the file holds
// now.
func (j *journal) record(p plannedFile) *journalFile {
	f := j.file(p.path)
	if f != nil {
		f.MadeHelpers = f.MadeHelpers || p.madeHelpers
	}
	sum := digest(p.before)
	switch {
	case f != nil && (f.exact(p.before) || sum != f.Before):
		// A further edit of ours, or one on top of somebody else's: then the
		// text as it was first cannot come back as a whole, only our keys.
		if !f.exact(p.before) {
			f.Ours = nil
		}
		f.merge(p.changes)
		if f.Ours != nil {
			f.Ours = append(f.Ours, digest(p.after))
		}
		return f
	case f != nil:
		// Nothing of ours is in the file: an install that was killed, or the
		// person put the old file back. Begin again.
		f.Changes = p.changes
		f.Ours = []string{digest(p.after)}
		return f
	}
	j.Files = append(j.Files, journalFile{
		Path:    p.path,
		Created: p.before == nil,
		Before:  sum,
		Ours:    []string{digest(p.after)},
		Changes: p.changes,

		MadeHelpers: p.madeHelpers,
	})
	return &j.Files[len(j.Files)-1]
}

// merge adds changes. A key that still had our value keeps what was there
// before us; one that somebody changed in between has a new past.
func (f *journalFile) merge(changes []Change) {
	for _, c := range changes {
		i := slices.IndexFunc(f.Changes, func(o Change) bool { return slices.Equal(o.Key, c.Key) })
		switch {
		case i < 0:
			f.Changes = append(f.Changes, c)
		case same(f.Changes[i].After, c.Before):
			f.Changes[i].After = c.After
		default:
			f.Changes[i] = c
		}
	}
}

// same compares optional raw values.
func same(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// missingDirs are the directories that have to be made for dir, innermost
// first.
func missingDirs(dir string) ([]string, error) {
	var missing []string
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); err == nil || d == filepath.Dir(d) {
			return missing, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, plain(d, err)
		}
		missing = append(missing, d)
	}
}

// makeDirs makes what missingDirs found, 0700.
func makeDirs(missing []string, s steps) error {
	for _, d := range slices.Backward(missing) {
		if err := s.before("mkdir", d); err != nil {
			return err
		}
		if err := os.Mkdir(d, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return plain(d, err)
		}
	}
	return nil
}
