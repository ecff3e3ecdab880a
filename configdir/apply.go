// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Apply makes the edits: for each file a backup beside it, the journal, then
// the file, each atomically and durably; killed at any point, the file is the
// old or the new one, and Uninstall works. ErrChanged: a file is not what
// Install saw; plan anew.
func (p *Plan) Apply() error {
	if len(p.files) == 0 {
		return nil
	}
	release, err := lockJournal(p.journal)
	if err != nil {
		return err
	}
	defer release()
	for _, f := range p.files {
		if err := f.unchanged(); err != nil {
			return err
		}
	}
	if err := SweepTemp(p.journal); err != nil {
		return err
	}
	j, err := readJournal(p.journal)
	if err != nil {
		return err
	}
	for _, f := range p.files {
		if err := p.apply(j, f); err != nil {
			return err
		}
	}
	return nil
}

// unchanged compares the file with what was planned upon.
func (f *plannedFile) unchanged() error {
	now, _, err := readTrusted(f.path, f.uid)
	if err != nil {
		return err
	}
	if !bytes.Equal(now, f.before) || (now == nil) != (f.before == nil) {
		return fmt.Errorf("%s %w: run the command again", clean(f.path), ErrChanged)
	}
	return nil
}

func (p *Plan) apply(j *journal, f plannedFile) error {
	missing, err := missingDirs(filepath.Dir(f.target))
	if err != nil {
		return err
	}
	rec := j.record(f)
	rec.Dirs = append(missing, rec.Dirs...)
	// Also when a killed install has named the backup and not made it.
	fresh := f.before != nil && digest(f.before) == rec.Before
	if fresh && rec.Backup == "" {
		if rec.Backup, err = freeName(f.target + backupSuffix); err != nil {
			return err
		}
	}
	backup := rec.Backup
	// The journal goes before everything it names, so that nothing we leave
	// behind is unknown to Uninstall.
	if err := j.write(p.journal, p.steps); err != nil {
		return err
	}
	if err := makeDirs(missing, p.steps); err != nil {
		return err
	}
	dir, err := os.OpenRoot(filepath.Dir(f.target))
	if err != nil {
		return plain(f.target, err)
	}
	defer dir.Close()
	if err := rec.sweep(f.target); err != nil {
		return err
	}
	w := writer{durable: true, steps: p.steps, like: f.info}
	if fresh {
		if err := w.replace(dir, filepath.Base(backup), f.before, 0o600); err != nil {
			return plain(backup, err)
		}
	}
	mode := os.FileMode(0o600)
	if f.info != nil {
		mode = f.info.Mode().Perm()
	}
	// Once more, as late as can be: docker takes no lock when it writes.
	if err := f.unchanged(); err != nil {
		return err
	}
	return plain(f.path, w.replace(dir, filepath.Base(f.target), f.after, mode))
}

// freeName is path, or path.1 and so on, that nothing has yet: a backup never
// takes another file's place.
func freeName(path string) (string, error) {
	name := path
	for n := 1; n < 100; n++ {
		if _, err := os.Lstat(name); absent(err) {
			return name, nil
		}
		name = fmt.Sprintf("%s.%d", path, n)
	}
	return "", fmt.Errorf("%s and 98 more like it are there already: remove old backups", clean(path))
}

// Print writes the plan for a person.
func (p *Plan) Print(w io.Writer) error {
	var b strings.Builder
	file := ""
	for _, c := range p.Changes {
		if c.File != file {
			file = c.File
			fmt.Fprintf(&b, "%s\n", clean(file))
		}
		b.WriteString("  " + c.String() + "\n")
	}
	if len(p.Changes) == 0 {
		b.WriteString("nothing to change\n")
	}
	for _, host := range slices.Sorted(maps.Keys(p.Behind)) {
		who := clean(host)
		if host == "*" {
			who = "every other host"
		}
		fmt.Fprintf(&b, "  %s: answered by %s as before\n", who, behindName(p.Behind[host]))
	}
	for _, n := range p.Notes {
		fmt.Fprintf(&b, "  note: %s\n", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// behindName shows a Behind value in words.
func behindName(v string) string {
	if path, ok := strings.CutPrefix(v, AuthsPrefix); ok {
		return "the passwords in " + clean(path)
	}
	return clean(filepath.Base(v))
}

// String is the change on one line. Values of credsStore and credHelpers are no
// secrets.
func (c Change) String() string {
	if len(c.Key) == 0 {
		if c.After == nil {
			return "the file is removed"
		}
		return "the file is written"
	}
	key := clean(strings.Join(c.Key, "."))
	switch {
	case c.Before == nil && c.After == nil:
		return key + " stays"
	case c.Before == nil:
		return fmt.Sprintf("%s: %s (new)", key, clean(*c.After))
	case c.After == nil:
		return fmt.Sprintf("%s: %s (removed)", key, clean(*c.Before))
	}
	return fmt.Sprintf("%s: %s instead of %s", key, clean(*c.After), clean(*c.Before))
}
