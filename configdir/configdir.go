// SPDX-License-Identifier: Apache-2.0

// Package configdir writes files for other tools: the directory of a job
// (docker's config.json, containers' auth.json and registries.conf, a bundle of
// CAs, the helper's link) and the edits that `install` makes in a person's own
// configuration, with a journal to undo them. It never reads the environment
// of the process: a Caller says what the caller's is.
package configdir

import (
	"errors"
	"time"
)

// HelperName is the suffix of docker-credential-regmint.
const HelperName = "regmint"

// HubHost is Docker Hub in the normal form used in Settings and Options.
const HubHost = "docker.io"

// Names inside a job directory.
const (
	DockerDir     = "docker"
	ContainersDir = "containers"
	BinDir        = "bin"
	JobFileName   = "job.json"
	PointerName   = "regmint-job.json" // in docker/: names the job and its socket
	LockName      = "lock"
	SocketName    = "s"
)

// TombstoneLife is how long a closed job answers late clients.
const TombstoneLife = 24 * time.Hour

var (
	// ErrForeign marks a file or directory that is not ours to touch.
	ErrForeign = errors.New("not regmint's")
	// ErrMalformed marks a file that its own tool could not read either.
	ErrMalformed = errors.New("malformed")
	// ErrChanged marks a file that changed between Install and Apply.
	ErrChanged = errors.New("changed meanwhile")
	// ErrLocked marks a job whose lock somebody else holds.
	ErrLocked = errors.New("locked")
)

// Caller is the person's side of things: whose environment and files count.
type Caller struct {
	Lookup func(name string) (string, bool) // environment; nil = empty
	Home   string                           // "" = none
	UID    int                              // owner that is trusted beside root; < 0 = not checked
	Root   string                           // where /etc is found; "" = "/"
}

// Secret is a password or token. It shows itself as [redacted] in fmt, slog
// and JSON; string(s) reveals it.
type Secret string

// Login is one entry of a file's auths.
type Login struct {
	Key      string // as the file has it
	Host     string // normal form
	Username string // "<token>" marks an identity token
	Secret   Secret
}

// StaticLogin is a credential that --static writes into the files.
type StaticLogin struct {
	Username string
	Secret   Secret
}
