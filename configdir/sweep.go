// SPDX-License-Identifier: Apache-2.0

package configdir

import "time"

// JobState is one directory below jobsDir as a starting agent finds it.
type JobState struct {
	Root     string
	ID       string
	LockHeld bool
	File     JobFile
	FileErr  error // job.json missing or not readable
}

// Closed reports whether the directory is a tombstone.
func (s JobState) Closed() bool { return s.File.Closed != nil }

// List reads the state of every job directory.
func List(jobsDir string) ([]JobState, error) { return nil, nil }

// SweepReport is the result of Sweep.
type SweepReport struct {
	Live       []JobState // to adopt, or served by another agent
	Tombstones []JobState
	Removed    []string // ids
	Problems   []error
}

// Sweep keeps a job whose lock is held or for which alive answers true, keeps
// tombstones for TombstoneLife, and removes the rest and what earlier removals
// left behind. alive is asked only where the lock is free.
func Sweep(jobsDir string, now time.Time, alive func(JobState) bool) (SweepReport, error) {
	return SweepReport{}, nil
}

// Remove removes a job directory (and what --dir put elsewhere). It follows no
// symbolic link, mends modes, and tolerates another removal at the same time.
func Remove(root string) error { return nil }

// Tombstone leaves docker/, job.json and bin of a closed job, without secrets,
// so that a late client reads why.
func Tombstone(root string, closed time.Time, reason string) error { return nil }
