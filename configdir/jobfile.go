// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// jobSchema is the version of job.json and regmint-job.json: fields are added,
// never changed.
const jobSchema = 1

// maxJobFile bounds job.json (targets come from a command line).
const maxJobFile = 1 << 20

// maxLabel is the longest label kept, in bytes.
const maxLabel = 256

// Kinds of jobs.
const (
	KindRun  = "run"
	KindOpen = "open"
)

// JobFile is job.json: what the job may do, never a secret.
type JobFile struct {
	Schema     int           `json:"schema"`
	ID         string        `json:"job"`
	Kind       string        `json:"kind"` // KindRun or KindOpen
	Targets    []string      `json:"targets,omitempty"`
	Only       bool          `json:"only,omitempty"`
	Accounts   []string      `json:"accounts,omitempty"`
	LoginHosts []string      `json:"login_hosts,omitempty"` // hosts with job-local logins
	Label      string        `json:"label,omitempty"`       // a person's name for it: never part of a path
	PID        int           `json:"pid,omitempty"`
	PIDStart   string        `json:"pid_start,omitempty"` // opaque start time of PID
	TTL        time.Duration `json:"ttl_ns,omitempty"`
	DockerDir  string        `json:"docker_dir,omitempty"` // where --dir put the docker part
	Opened     time.Time     `json:"opened"`
	Closed     *time.Time    `json:"closed,omitempty"` // set: a tombstone
	Reason     string        `json:"reason,omitempty"` // why it was closed
}

// Pointer is regmint-job.json beside docker's config.json: it survives a copy
// of the directory and leads back to the job.
type Pointer struct {
	Schema int    `json:"schema"`
	ID     string `json:"job"`
	Socket string `json:"socket"` // absolute; <socket>/../job.json says why a job is closed
}

// ReadJobFile reads <root>/job.json.
func ReadJobFile(root string) (JobFile, error) {
	path := filepath.Join(root, JobFileName)
	data, _, err := readRegular(path, maxJobFile, openNoFollow)
	if err != nil {
		return JobFile{}, plain(path, err)
	}
	var f JobFile
	if err := json.Unmarshal(data, &f); err != nil {
		return JobFile{}, fmt.Errorf("%s is %w: %w", clean(path), ErrMalformed, err)
	}
	if f.Schema != jobSchema {
		return JobFile{}, fmt.Errorf("%s has schema %d; this regmint knows %d: use the version that made it", clean(path), f.Schema, jobSchema)
	}
	if f.ID != filepath.Base(root) {
		return JobFile{}, fmt.Errorf("%s names job %q: %w", clean(path), clean(f.ID), ErrMalformed)
	}
	return f, nil
}

// WriteJobFile writes <root>/job.json atomically, 0600. Schema is filled in;
// the label and the reason are kept to one short line.
func WriteJobFile(root string, f JobFile) error {
	path := filepath.Join(root, JobFileName)
	if f.ID != filepath.Base(root) {
		return fmt.Errorf("%s: job %q is another one: %w", clean(path), clean(f.ID), ErrForeign)
	}
	dir, err := os.OpenRoot(root)
	if err != nil {
		return plain(root, err)
	}
	defer dir.Close()
	return plain(path, writeJobFile(dir, f))
}

func writeJobFile(dir *os.Root, f JobFile) error {
	f.Schema = jobSchema
	if f.DockerDir != "" {
		abs, err := filepath.Abs(f.DockerDir) // --dir is relative to the wrapper
		if err != nil {
			return err
		}
		f.DockerDir = abs
	}
	f.Label, f.Reason = shorten(f.Label), shorten(f.Reason)
	data, err := json.MarshalIndent(f, "", "\t")
	if err != nil {
		return err
	}
	return writer{}.replace(dir, JobFileName, append(data, '\n'), 0o600)
}

// shorten makes foreign text one line of at most maxLabel bytes.
func shorten(s string) string {
	s = clean(s)
	if len(s) <= maxLabel {
		return s
	}
	cut := maxLabel - len("…")
	for cut > 0 && s[cut]&0xC0 == 0x80 {
		cut--
	}
	return s[:cut] + "…"
}
