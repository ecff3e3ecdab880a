// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"time"

	"github.com/gofrs/flock"
)

// Job is one job directory: <runtime>/j/<id>.
type Job struct {
	Root string // absolute
	ID   string
	lock *flock.Flock
}

// NewID makes a job's name: 26 lower-case base32 characters, 128 random bits.
func NewID() string { return "" }

// ValidID reports whether id has the form that NewID makes.
func ValidID(id string) bool { return false }

// Create makes the directory of a new job below jobsDir and holds its lock
// until Close. It never reuses a directory: an existing one is fs.ErrExist.
func Create(jobsDir, id string) (*Job, error) { return nil, nil }

// CreateNew is Create with a fresh id; three names are tried.
func CreateNew(jobsDir string) (*Job, error) { return nil, nil }

// Open names an existing job directory without taking its lock.
func Open(root string) (*Job, error) { return nil, nil }

// Lock takes the lock of an opened job; ErrLocked where another process has it.
func (j *Job) Lock() error { return nil }

// Close releases the lock; the directory stays.
func (j *Job) Close() error { return nil }

// SocketPath is the job's socket; an error where the system's limit for socket
// paths is exceeded.
func SocketPath(root string) (string, error) { return "", nil }

// LockHeld reports whether a process holds the job's lock.
func LockHeld(root string) (bool, error) { return false, nil }

// JobFile is job.json: what the job may do, never a secret.
type JobFile struct {
	Schema     int           `json:"schema"`
	ID         string        `json:"job"`
	Kind       string        `json:"kind"` // run or open
	Targets    []string      `json:"targets,omitempty"`
	Only       bool          `json:"only,omitempty"`
	Accounts   []string      `json:"accounts,omitempty"`
	LoginHosts []string      `json:"login_hosts,omitempty"` // hosts with job-local logins
	Label      string        `json:"label,omitempty"`
	PID        int           `json:"pid,omitempty"`
	PIDStart   string        `json:"pid_start,omitempty"` // opaque start time of PID
	TTL        time.Duration `json:"ttl_ns,omitempty"`
	DockerDir  string        `json:"docker_dir,omitempty"` // where --dir put the docker part
	Opened     time.Time     `json:"opened"`
	Closed     *time.Time    `json:"closed,omitempty"` // set: a tombstone
	Reason     string        `json:"reason,omitempty"`
}

// ReadJobFile reads <root>/job.json.
func ReadJobFile(root string) (JobFile, error) { return JobFile{}, nil }

// WriteJobFile writes <root>/job.json atomically, 0600.
func WriteJobFile(root string, f JobFile) error { return nil }

// Pointer is docker/regmint-job.json.
type Pointer struct {
	Schema int    `json:"schema"`
	ID     string `json:"job"`
	Socket string `json:"socket"` // absolute
}
