// SPDX-License-Identifier: Apache-2.0

// Package configdir writes files for other tools: the directory of a job
// (docker's config.json, containers' auth.json and registries.conf, a bundle of
// CAs, the helper's link) and the edits that `install` makes in a person's own
// configuration, with a journal to undo them. It never reads the environment
// of the process: a Caller says what the caller's is.
package configdir

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"
)

// HelperName is the suffix of docker-credential-regmint.
const HelperName = "regmint"

// helperPrefix comes before a helper's suffix in the name of its program.
const helperPrefix = "docker-credential-"

// HubHost is Docker Hub in the normal form used in Settings and InstallOptions.
const HubHost = "docker.io"

// hubKey is the key under which docker, ggcr, oras and helm look Docker Hub up.
const hubKey = "https://index.docker.io/v1/"

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

const (
	configName     = "config.json"
	authName       = "auth.json"
	registriesName = "registries.conf"
	bundleName     = "ca.pem"
)

// TombstoneLife is how long a closed job answers late clients.
const TombstoneLife = 24 * time.Hour

var (
	// ErrForeign marks a file or directory that is not ours to touch.
	ErrForeign = errors.New("not regmint's to touch")
	// ErrMalformed marks a file that its own tool could not read either.
	ErrMalformed = errors.New("malformed")
	// ErrChanged marks a file that changed between Install and Apply.
	ErrChanged = errors.New("changed meanwhile")
	// ErrLocked marks something another process holds the lock of.
	ErrLocked = errors.New("locked")
)

// Caller is the person's side of things: whose environment and files count.
type Caller struct {
	Lookup func(name string) (string, bool) // environment; nil = empty
	Home   string                           // "" = none
	UID    int                              // owner that is trusted beside root; < 0 = not checked
	Root   string                           // where /etc, /usr and /run are found; "" = "/"
}

func (c Caller) env(name string) string {
	if c.Lookup == nil {
		return ""
	}
	v, _ := c.Lookup(name)
	return v
}

// system is an absolute path below Root.
func (c Caller) system(path string) string {
	if c.Root == "" {
		return path
	}
	return filepath.Join(c.Root, path)
}

// DockerConfigDir is docker's rule: $DOCKER_CONFIG, else ~/.docker; "" where
// neither is known. A relative one is made absolute.
func (c Caller) DockerConfigDir() string {
	dir := c.env("DOCKER_CONFIG")
	if dir == "" {
		if c.Home == "" {
			return ""
		}
		dir = filepath.Join(c.Home, ".docker")
	}
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir
}

// Secret is a password or token. It shows itself as [redacted] in fmt, slog
// and JSON; string(s) reveals it.
type Secret string

const redacted = "[redacted]"

// Format implements fmt.Formatter for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText keeps the secret out of JSON and slog.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Login is one entry of a file's auths.
type Login struct {
	Key      string // as the file has it
	Host     string // normal form
	Username string // "<token>" marks an identity token
	Secret   Secret
}

// StaticLogin is a credential that --static writes into the files.
type StaticLogin struct {
	Username string // "<token>" marks an identity token
	Secret   Secret
}

// tokenUser is the user name that marks an identity token in the protocol of
// credential helpers.
const tokenUser = "<token>"
