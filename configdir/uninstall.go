// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// UninstallReport says what Uninstall did.
type UninstallReport struct {
	Restored []Change // Before: our value, After: what stands there again
	Left     []Change // changed by others since: Before and After are what stands there
	Notes    []string
}

// Uninstall undoes the journal, not the file: a file nobody else has touched is
// byte for byte what it was; otherwise each key that still has our value goes
// back, and one that has not is left and named. Without a journal it does
// nothing. It may be repeated after a failure.
func Uninstall(journalPath string) (UninstallReport, error) {
	return uninstall(journalPath, nil)
}

func uninstall(journalPath string, s steps) (UninstallReport, error) {
	var r UninstallReport
	if !dirExists(filepath.Dir(journalPath)) {
		return r, nil
	}
	release, err := lockJournal(journalPath)
	if err != nil {
		return r, err
	}
	defer release()
	if err := SweepTemp(journalPath); err != nil {
		return r, err
	}
	j, err := readJournal(journalPath)
	if err != nil {
		return r, err
	}
	for len(j.Files) > 0 {
		f := j.Files[len(j.Files)-1]
		if err := r.undo(f, s); err != nil {
			return r, err
		}
		j.Files = j.Files[:len(j.Files)-1]
		if err := j.write(journalPath, s); err != nil {
			return r, err
		}
	}
	return r, nil
}

// undo takes one file back.
func (r *UninstallReport) undo(f journalFile, s steps) error {
	p, err := openPlanned(f.Path, os.Geteuid())
	if err != nil {
		return err
	}
	if err := f.sweep(p.target); err != nil {
		return err
	}
	switch {
	case p.before == nil && len(f.Changes) > 0 && !f.Created:
		r.Notes = append(r.Notes, fmt.Sprintf("%s is gone: nothing to undo there", clean(f.Path)))
	case p.before == nil || digest(p.before) == f.Before:
		// Killed before the file was edited, or undone before.
	default:
		if err := r.restore(f, p, s); err != nil {
			return err
		}
	}
	return f.tidy(s)
}

// restore writes the text without our changes, or removes the file we made.
func (r *UninstallReport) restore(f journalFile, p *plannedFile, s steps) error {
	text, remove, err := f.without(p.before, r)
	if err != nil {
		return fmt.Errorf("%s: %w: mend it, then run regmint uninstall again", clean(f.Path), err)
	}
	dir, err := os.OpenRoot(filepath.Dir(p.target))
	if err != nil {
		return plain(p.target, err)
	}
	defer dir.Close()
	name := filepath.Base(p.target)
	switch {
	case remove:
		if err := s.before("remove", p.target); err != nil {
			return err
		}
		return plain(f.Path, ignoreAbsent(dir.Remove(name)))
	case string(text) == string(p.before):
		return nil
	}
	w := writer{durable: true, steps: s, like: p.info}
	return plain(f.Path, w.replace(dir, name, text, p.info.Mode().Perm()))
}

// without is current without our changes.
func (f *journalFile) without(current []byte, r *UninstallReport) (text []byte, remove bool, err error) {
	whole := len(f.Changes) == 1 && len(f.Changes[0].Key) == 0
	if f.exact(current) {
		for _, c := range f.Changes {
			r.Restored = append(r.Restored, Change{File: f.Path, Key: c.Key, Before: c.After, After: c.Before})
		}
		if f.Created {
			return nil, true, nil
		}
		if text, ok := f.backup(); ok {
			return text, false, nil
		}
		r.Restored = r.Restored[:len(r.Restored)-len(f.Changes)]
	}
	if whole {
		r.Left = append(r.Left, Change{File: f.Path})
		return current, false, nil
	}
	return f.withoutKeys(current, r)
}

// backup is the text as it was first, if the backup still holds it.
func (f *journalFile) backup() ([]byte, bool) {
	if f.Backup == "" {
		return nil, false
	}
	data, _, err := readRegular(f.Backup, maxConfig, openNoFollow)
	return data, err == nil && digest(data) == f.Before
}

// withoutKeys takes back each key that still has our value, the last first.
func (f *journalFile) withoutKeys(text []byte, r *UninstallReport) (out []byte, remove bool, err error) {
	for _, c := range slices.Backward(f.Changes) {
		have, err := getPath(text, c.Key)
		if err != nil {
			return nil, false, err
		}
		now := rawText(have)
		switch {
		case same(now, c.After):
			var back []byte
			if c.Before != nil {
				back = []byte(*c.Before)
			}
			if text, err = setPath(text, c.Key, back); err != nil {
				return nil, false, err
			}
			r.Restored = append(r.Restored, Change{File: f.Path, Key: c.Key, Before: c.After, After: c.Before})
		case same(now, c.Before):
			// Undone before.
		default:
			r.Left = append(r.Left, Change{File: f.Path, Key: c.Key, Before: now, After: now})
		}
	}
	if text, err = f.dropEmpty(text); err != nil {
		return nil, false, err
	}
	o, err := parseObject(text)
	if err != nil {
		return nil, false, err
	}
	return text, f.Created && len(o.members) == 0, nil
}

// dropEmpty removes a credHelpers that is empty now and was made by us.
func (f *journalFile) dropEmpty(text []byte) ([]byte, error) {
	if !f.MadeHelpers {
		return text, nil
	}
	raw, err := getPath(text, []string{keyHelpers})
	if err != nil || raw == nil {
		return text, err
	}
	o, err := nested(raw)
	if err != nil || len(o.members) > 0 {
		return text, nil
	}
	return setPath(text, []string{keyHelpers}, nil)
}

// tidy removes the backup and the directories we made, where they are empty.
func (f *journalFile) tidy(s steps) error {
	if f.Backup != "" {
		if err := s.before("remove", f.Backup); err != nil {
			return err
		}
		if err := os.Remove(f.Backup); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return plain(f.Backup, err)
		}
	}
	for _, d := range f.Dirs {
		if err := s.before("rmdir", d); err != nil {
			return err
		}
		if os.Remove(d) != nil {
			return nil // somebody uses it
		}
	}
	return nil
}
