// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// JobRef is the job a process belongs to.
type JobRef struct {
	ID     string    // "" where only REGMINT_SOCKET names it
	Socket string    // absolute
	Closed time.Time // zero: open as far as its files say
	Reason string    // why it was closed
}

// JobClosedError is what a client of a closed job reads.
type JobClosedError struct {
	At     time.Time
	Reason string
}

// Error reads "this job was closed at 10:32 (ttl)", in local time.
func (e *JobClosedError) Error() string {
	at, layout := e.At.Local(), "15:04"
	if now := time.Now(); now.YearDay() != at.YearDay() || now.Year() != at.Year() {
		layout = "2006-01-02 15:04"
	}
	s := "this job was closed at " + at.Format(layout)
	if e.Reason != "" {
		s += " (" + CleanLine(e.Reason, 60) + ")"
	}
	return s
}

// pointerName is the file in a job's docker directory that names its job and
// socket; tombstone is the file beside the socket that tells of its end.
const (
	pointerName = "regmint-job.json"
	jobFileName = "job.json"
	maxJobFile  = 1 << 20
)

// FindJob finds the job this process names: REGMINT_SOCKET, or
// regmint-job.json in its docker config directory. Where inJob is true the
// caller uses that job's socket or fails, whatever err says: it never turns
// to the main socket. err is a *JobClosedError for a closed job.
func FindJob() (ref JobRef, inJob bool, err error) { return findJob(processEnv) }

func findJob(env environment) (JobRef, bool, error) {
	if socket := env.get("REGMINT_SOCKET"); socket != "" {
		if err := CheckSocketPath(socket); err != nil {
			return JobRef{}, true, fmt.Errorf("REGMINT_SOCKET: %w", err)
		}
		ref := JobRef{Socket: socket}
		return ref, true, ref.look("")
	}
	dir := env.dockerDir()
	if dir == "" {
		return JobRef{}, false, nil
	}
	pointer := filepath.Join(dir, pointerName)
	id, socket, err := readPointer(pointer)
	if err != nil {
		return JobRef{}, true, fmt.Errorf("job file %s: %w", pointer, err)
	}
	ref := JobRef{ID: id, Socket: filepath.Join(filepath.Dir(dir), "s")}
	if f, err := readJobFile(filepath.Join(filepath.Dir(dir), jobFileName)); err != nil || f.id != id {
		ref.Socket = socket // the docker directory was moved or copied
	}
	if err := CheckSocketPath(ref.Socket); err != nil {
		return ref, true, fmt.Errorf("job file %s: %w", pointer, err)
	}
	return ref, true, ref.look(id)
}

// dockerDir is docker's configuration directory, absolute and with its links
// resolved, so that its parent is the job's directory; "" where it names no
// job.
func (e environment) dockerDir() string {
	dir := e.get("DOCKER_CONFIG")
	if dir == "" {
		home := e.get("HOME")
		if home == "" {
			return ""
		}
		dir = filepath.Join(home, ".docker")
	}
	if _, err := os.Lstat(filepath.Join(dir, pointerName)); err != nil {
		return ""
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		return real
	}
	return abs
}

// look notes that the job has ended. Where its socket is there the agent
// itself says what is to be said.
func (r *JobRef) look(id string) error {
	if socketThere(r.Socket) {
		return nil
	}
	f, err := readJobFile(filepath.Join(filepath.Dir(r.Socket), jobFileName))
	if err == nil && !f.closed.IsZero() && (id == "" || f.id == id) {
		r.ID, r.Closed, r.Reason = f.id, f.closed, f.reason
		return &JobClosedError{At: f.closed, Reason: f.reason}
	}
	return nil
}

// readPointer reads regmint-job.json.
func readPointer(path string) (id, socket string, err error) {
	b, err := readSmall(path)
	if err != nil {
		return "", "", err
	}
	err = scanFlat(b, []string{"job", "socket"}, false, func(s *scanner, name string) (err error) {
		if name == "job" {
			id, err = s.text()
		} else {
			socket, err = s.text()
		}
		return err
	})
	if err == nil && (id == "" || socket == "") {
		err = errors.New("it names no job")
	}
	return id, socket, err
}

// jobFile is what FindJob needs of job.json.
type jobFile struct {
	id     string
	closed time.Time
	reason string
}

func readJobFile(path string) (f jobFile, err error) {
	b, err := readSmall(path)
	if err != nil {
		return f, err
	}
	err = scanFlat(b, []string{"job", "closed", "reason"}, false, func(s *scanner, name string) (err error) {
		var v string
		if v, err = s.text(); err != nil {
			return err
		}
		switch name {
		case "job":
			f.id = v
		case "reason":
			f.reason = v
		default:
			f.closed, err = time.Parse(time.RFC3339Nano, v)
		}
		return err
	})
	return f, err
}

// readSmall reads a regular file of bounded size.
func readSmall(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|nonBlock, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxJobFile {
		return nil, errors.New("it is not a small regular file")
	}
	return io.ReadAll(io.LimitReader(f, maxJobFile))
}

// resumeLimit is how long a job waits for its agent to come back: the wrapper
// starts the next one and resumes the job there.
const resumeLimit = 3 * time.Second

// Dial connects to the job's agent. While the job's files are there a missing
// agent is waited for; the error wraps ErrNoAgent where the job is over.
func (r JobRef) Dial(ctx context.Context) (*Client, error) {
	c, err := Dial(ctx, r.Socket)
	if !errors.Is(err, ErrNoAgent) {
		return c, err
	}
	ctx, cancel := context.WithTimeout(ctx, resumeLimit)
	defer cancel()
	for ; ; c, err = Dial(ctx, r.Socket) {
		if !errors.Is(err, ErrNoAgent) {
			return c, err
		}
		if closed := r.look(r.ID); closed != nil {
			return nil, closed
		}
		if _, gone := os.Stat(filepath.Join(filepath.Dir(r.Socket), jobFileName)); gone != nil {
			return nil, fmt.Errorf("%w: the job has ended, or its directory is not mounted here", err)
		}
		if pause(ctx, 20*time.Millisecond) != nil {
			return nil, fmt.Errorf("%w: the job's agent is gone; run: regmint agent start", err)
		}
	}
}
