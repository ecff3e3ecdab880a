// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"errors"
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
