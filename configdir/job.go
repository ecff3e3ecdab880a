// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// idAlphabet is RFC 4648 base32 in lower case: file systems that fold case
// cannot confuse two jobs.
const idAlphabet = "abcdefghijklmnopqrstuvwxyz234567"

const idLength = 26

// sweepLockName, in the directory of all jobs, is held shared while a job
// directory is made and locked, and exclusively while a sweep judges: a sweep
// never meets a job between its mkdir and its lock.
const sweepLockName = ".lock"

// lockPatience bounds the wait for a lock that is held for moments only.
const lockPatience = 5 * time.Second

const lockRetry = 2 * time.Millisecond

// Job is one job directory: <runtime>/j/<id>.
type Job struct {
	Root string // absolute
	ID   string
	lock *flock.Flock
}

// NewID makes a job's name: 26 lower-case base32 characters, 128 random bits.
func NewID() string {
	var b [16]byte
	rand.Read(b[:]) // crypto/rand never fails: it ends the program instead
	return base32.NewEncoding(idAlphabet).WithPadding(base32.NoPadding).EncodeToString(b[:])
}

// ValidID reports whether id has the form that NewID makes.
func ValidID(id string) bool {
	return len(id) == idLength && strings.Trim(id, idAlphabet) == ""
}

// CreateNew is Create with a fresh id; three names are tried.
func CreateNew(jobsDir string) (*Job, error) {
	var err error
	for range 3 {
		var j *Job
		if j, err = Create(jobsDir, NewID()); err == nil || !errors.Is(err, fs.ErrExist) {
			return j, err
		}
	}
	return nil, err
}

// Create makes the directory of a new job below jobsDir (itself made where it
// is missing) and holds the job's lock until Close. It never reuses anything:
// whatever has the name already is fs.ErrExist.
func Create(jobsDir, id string) (*Job, error) {
	if !ValidID(id) {
		return nil, fmt.Errorf("job id %q: not 26 characters of a-z2-7", clean(id))
	}
	jobsDir, err := filepath.Abs(jobsDir)
	if err != nil {
		return nil, err
	}
	root := filepath.Join(jobsDir, id)
	if _, err := SocketPath(root); err != nil {
		return nil, err
	}
	if err := makePrivate(jobsDir); err != nil {
		return nil, err
	}
	release, err := lockSweep(jobsDir, false)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := os.Mkdir(root, 0o700); err != nil {
		return nil, plain(root, err)
	}
	j, err := populate(root, id)
	if err != nil {
		return nil, errors.Join(err, Remove(root))
	}
	return j, nil
}

// populate fills a directory just made.
func populate(root, id string) (*Job, error) {
	if err := os.Chmod(root, 0o700); err != nil {
		return nil, plain(root, err)
	}
	j := &Job{Root: root, ID: id}
	if err := j.Lock(); err != nil {
		return nil, err
	}
	for _, d := range []string{DockerDir, ContainersDir, BinDir} {
		d = filepath.Join(root, d)
		if err := errors.Join(os.Mkdir(d, 0o700), os.Chmod(d, 0o700)); err != nil {
			return nil, errors.Join(plain(d, err), j.Close())
		}
	}
	return j, nil
}

// makePrivate makes dir 0700, or checks that it is ours alone.
func makePrivate(dir string) error {
	switch err := os.Mkdir(dir, 0o700); {
	case err == nil:
		return plain(dir, os.Chmod(dir, 0o700))
	case !errors.Is(err, fs.ErrExist):
		return plain(dir, err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return plain(dir, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory: %w", clean(dir), ErrForeign)
	}
	return checkPrivate(dir, info)
}

// lockSweep takes the lock of the directory of all jobs.
func lockSweep(jobsDir string, exclusive bool) (release func(), err error) {
	path := filepath.Join(jobsDir, sweepLockName)
	l, err := newLock(path)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	take := l.TryRLockContext
	if exclusive {
		take = l.TryLockContext
	}
	if _, err := take(ctx, lockRetry); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, fmt.Errorf("%s: another regmint has held this lock for %s: %w", clean(path), lockPatience, ErrLocked)
		}
		return nil, plain(path, err)
	}
	return func() { _ = l.Close() }, nil
}

// newLock makes a lock file, 0600 whatever the umask, and does not lock it yet.
func newLock(path string) (*flock.Flock, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	switch {
	case err == nil:
		err = errors.Join(f.Chmod(0o600), f.Close())
	case errors.Is(err, fs.ErrExist):
		err = nil
	}
	if err != nil {
		return nil, plain(path, err)
	}
	return flock.New(path, flock.SetFlag(os.O_RDWR|openNonBlock|openNoFollow)), nil
}

// Open names an existing job directory without taking its lock.
func Open(root string) (*Job, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	id := filepath.Base(root)
	if !ValidID(id) {
		return nil, fmt.Errorf("%s is not a job directory: %w", clean(root), ErrForeign)
	}
	info, err := os.Lstat(root)
	if err != nil {
		return nil, plain(root, err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a directory: %w", clean(root), ErrForeign)
	}
	if err := checkPrivate(root, info); err != nil {
		return nil, err
	}
	return &Job{Root: root, ID: id}, nil
}

// Lock takes the lock of an opened job; ErrLocked where another process has it.
func (j *Job) Lock() error {
	if j.lock != nil {
		return nil
	}
	path := filepath.Join(j.Root, LockName)
	l, err := newLock(path)
	if err != nil {
		return err
	}
	// A sweep or a status that looks at the lock holds it, shared, for an instant.
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience/10)
	defer cancel()
	if _, err := l.TryLockContext(ctx, lockRetry); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("%s: %w by another process", clean(path), ErrLocked)
		}
		return plain(path, err)
	}
	j.lock = l
	return nil
}

// Close releases the lock; the directory stays.
func (j *Job) Close() error {
	if j.lock == nil {
		return nil
	}
	l := j.lock
	j.lock = nil
	return l.Close()
}

// SocketPath is the job's socket <root>/s; an error with both lengths where it
// is longer than the system's socket addresses.
func SocketPath(root string) (string, error) {
	s := filepath.Join(root, SocketName)
	if limit := maxSocketPath(); len(s) > limit {
		return "", fmt.Errorf("the socket path %s has %d bytes, this system allows %d: set REGMINT_RUNTIME_DIR to a shorter directory",
			clean(s), len(s), limit)
	}
	return s, nil
}

// LockHeld reports whether a process holds the job's lock. It changes nothing:
// a missing lock file is not held.
func LockHeld(root string) (bool, error) {
	path := filepath.Join(root, LockName)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, plain(path, err)
	}
	if !info.Mode().IsRegular() {
		return false, nil
	}
	l := flock.New(path, flock.SetFlag(os.O_RDONLY|openNonBlock|openNoFollow))
	got, err := l.TryRLock()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, plain(path, err)
	}
	if got {
		return false, l.Close()
	}
	return true, l.Close()
}
