// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// gonePrefix marks a directory on its way out: renamed first, so that nobody
// meets half a job.
const gonePrefix = ".gone-"

// JobState is one directory below jobsDir as a starting agent finds it.
type JobState struct {
	Root     string
	ID       string
	LockHeld bool
	File     JobFile
	FileErr  error // job.json missing or not readable
}

// Closed reports whether the directory is a tombstone.
func (s JobState) Closed() bool { return s.FileErr == nil && s.File.Closed != nil }

// expired: the tombstone has done its time. One from the future (a clock that
// went back) is not kept for ever.
func (s JobState) expired(now time.Time) bool {
	age := now.Sub(*s.File.Closed)
	return age >= TombstoneLife || age < -TombstoneLife
}

// List reads the state of every job directory; no directory of jobs is no job.
func List(jobsDir string) ([]JobState, error) {
	jobsDir, err := filepath.Abs(jobsDir)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(jobsDir)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, plain(jobsDir, err)
	}
	var out []JobState
	for _, e := range entries {
		if !ValidID(e.Name()) || !e.IsDir() {
			continue
		}
		if s, ok := state(filepath.Join(jobsDir, e.Name())); ok {
			out = append(out, s)
		}
	}
	return out, nil
}

// state reads one directory; ok is false where it has gone.
func state(root string) (s JobState, ok bool) {
	s = JobState{Root: root, ID: filepath.Base(root)}
	held, err := LockHeld(root)
	if errors.Is(err, fs.ErrPermission) {
		unblock(root)
		held, err = LockHeld(root)
	}
	if err != nil {
		// A lock that cannot be asked is not proof that nobody lives here.
		s.LockHeld, s.FileErr = true, err
		return s, true
	}
	s.LockHeld = held
	s.File, s.FileErr = ReadJobFile(root)
	if s.FileErr != nil {
		if _, err := os.Lstat(root); err != nil {
			return s, false
		}
	}
	return s, true
}

// unblock gives a job directory and its lock file back the modes that a child
// took away; what it cannot mend shows in the next attempt.
func unblock(root string) {
	dir, err := os.OpenRoot(filepath.Dir(root))
	if err != nil {
		return
	}
	defer dir.Close()
	id := filepath.Base(root)
	if info, err := dir.Lstat(id); err != nil || !info.IsDir() {
		return
	}
	_ = dir.Chmod(id, 0o700)
	lock := filepath.Join(id, LockName)
	if info, err := dir.Lstat(lock); err == nil && info.Mode().IsRegular() {
		_ = dir.Chmod(lock, 0o600)
	}
}

// SweepReport is the result of Sweep.
type SweepReport struct {
	Live       []JobState // to adopt, or served by another agent
	Tombstones []JobState
	Removed    []string // ids
	Problems   []error
}

// Sweep keeps a job whose lock is held or for which alive answers true, keeps
// tombstones for TombstoneLife, and removes the rest and what earlier removals
// left behind. alive is asked only where the lock is free; a job whose
// directory is just being made is never met.
func Sweep(jobsDir string, now time.Time, alive func(JobState) bool) (SweepReport, error) {
	var r SweepReport
	jobs, err := List(jobsDir)
	if err != nil {
		return r, err
	}
	for _, s := range jobs {
		switch {
		case s.LockHeld:
			r.Live = append(r.Live, s)
		case s.Closed() && !s.expired(now):
			r.Tombstones = append(r.Tombstones, s)
		case !s.Closed() && alive != nil && alive(s):
			r.Live = append(r.Live, s)
		default:
			r.discard(jobsDir, s, alive)
		}
	}
	return r, r.leftovers(jobsDir)
}

// discard removes a job nobody claims. The lock is asked again where no job can
// be made at the same time: one that was just born is kept.
func (r *SweepReport) discard(jobsDir string, s JobState, alive func(JobState) bool) {
	release, err := lockSweep(jobsDir, true)
	if err != nil {
		r.Problems = append(r.Problems, err)
		return
	}
	now, ok := state(s.Root)
	if ok && (now.LockHeld || s.FileErr != nil && now.FileErr == nil && alive != nil && alive(now)) {
		release()
		r.Live = append(r.Live, now)
		return
	}
	gone, err := setAside(s.Root)
	release()
	if err == nil {
		err = gone.remove()
	}
	if err != nil {
		r.Problems = append(r.Problems, err)
		return
	}
	r.Removed = append(r.Removed, s.ID)
}

// leftovers removes what a removal that was killed, or a write that was, left.
func (r *SweepReport) leftovers(jobsDir string) error {
	dir, err := os.OpenRoot(jobsDir)
	if absent(err) {
		return nil
	}
	if err != nil {
		return plain(jobsDir, err)
	}
	defer dir.Close()
	entries, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		return plain(jobsDir, err)
	}
	for _, e := range entries {
		if id, ok := strings.CutPrefix(e.Name(), gonePrefix); ok && ValidID(id) {
			if err := removeTree(dir, e.Name()); err != nil {
				r.Problems = append(r.Problems, plain(filepath.Join(jobsDir, e.Name()), err))
			}
		}
	}
	return nil
}

// Remove removes a job directory (and what --dir put elsewhere). It follows no
// symbolic link, mends modes, and tolerates another removal at the same time;
// an absent directory is no error.
func Remove(root string) error {
	g, err := setAside(root)
	if err != nil || g == nil {
		return err
	}
	return g.remove()
}

// gone is a job directory under its last name.
type gone struct {
	parent string
	name   string
	id     string
	docker string // the docker part elsewhere; "" = none
}

// setAside renames a job directory, so that it ends at one instant for
// everybody. nil is an absent one.
func setAside(root string) (*gone, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	g := &gone{parent: filepath.Dir(root), id: filepath.Base(root)}
	if !ValidID(g.id) {
		return nil, fmt.Errorf("%s is not a job directory: %w", clean(root), ErrForeign)
	}
	dir, err := os.OpenRoot(g.parent)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, plain(g.parent, err)
	}
	defer dir.Close()
	if f, err := ReadJobFile(root); err == nil {
		g.docker = f.DockerDir
	}
	g.name = gonePrefix + NewID()
	switch err := dir.Rename(g.id, g.name); {
	case absent(err):
		return nil, nil
	case err != nil:
		// A directory whose mode was taken away cannot be renamed on some
		// systems: it is removed where it stands.
		g.name = g.id
	}
	return g, nil
}

// remove deletes what setAside put away.
func (g *gone) remove() error {
	if g == nil {
		return nil
	}
	dir, err := os.OpenRoot(g.parent)
	if absent(err) {
		return nil
	}
	if err != nil {
		return plain(g.parent, err)
	}
	defer dir.Close()
	err = plain(filepath.Join(g.parent, g.id), removeTree(dir, g.name))
	if g.docker != "" {
		err = errors.Join(err, releaseDir(g.docker, g.id))
	}
	return err
}

// removeRounds bounds the attempts against a process that goes on writing.
const removeRounds = 64

// removeTree removes name below dir. os.Root follows no link out of dir, and
// RemoveAll follows none at all.
func removeTree(dir *os.Root, name string) error {
	var err error
	for range removeRounds {
		if err = dir.RemoveAll(name); err == nil || absent(err) {
			return nil
		}
		if errors.Is(err, fs.ErrPermission) {
			mend(dir, name, 0)
		}
	}
	return err
}

// mendDepth bounds the descent of mend; deeper trees are mended round by round.
const mendDepth = 256

// mend gives the directories of a tree the mode that lets their owner remove
// what is in them. Errors show in the next RemoveAll.
func mend(dir *os.Root, name string, depth int) {
	info, err := dir.Lstat(name)
	if err != nil || !info.IsDir() || depth > mendDepth {
		return
	}
	if info.Mode().Perm()&0o700 != 0o700 {
		_ = dir.Chmod(name, 0o700)
	}
	sub, err := dir.OpenRoot(name)
	if err != nil {
		return
	}
	defer sub.Close()
	entries, err := fs.ReadDir(sub.FS(), ".")
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() {
			mend(sub, e.Name(), depth+1)
		}
	}
}
