// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
)

// Paths are the two directories of a user's agent.
type Paths struct {
	Runtime string // sockets and jobs: <runtime>/agent.sock, <runtime>/j/<id>/
	State   string // what outlives a login session: journals, locks, logs
}

// DefaultPaths finds the directories of this process's user; nothing is made.
// It needs neither HOME nor a passwd entry. An error means that a variable
// names a directory that cannot be one.
func DefaultPaths() (Paths, error) {
	uid := ownUID()
	return findPaths(processEnv, uid, uid)
}

// SudoPaths are the directories of the user who called sudo. ok is false
// unless this process is root's and SUDO_UID names another user.
func SudoPaths() (p Paths, uid int, ok bool) {
	uid, ok = environment(processEnv).sudoUID()
	if !ok || uid == 0 || ownUID() != 0 {
		return Paths{}, 0, false
	}
	p, err := findPaths(processEnv, uid, 0)
	return p, uid, err == nil
}

// finder applies the rules of DESIGN §7, Environment.
type finder struct {
	env      environment
	uid      int // whose directories
	self     int // who asks
	home     string
	homeDone bool
}

func findPaths(env environment, uid, self int) (Paths, error) {
	f := &finder{env: env, uid: uid, self: self}
	var p Paths
	var err error
	if p.Runtime, err = f.runtime(); err != nil {
		return Paths{}, err
	}
	if p.State, err = f.state(p.Runtime); err != nil {
		return Paths{}, err
	}
	return p, nil
}

// explicit is a directory named by a variable of ours. What root's sudo kept
// of them means the caller's only where it is the caller's.
func (f *finder) explicit(name string) (string, error) {
	dir := f.env.get(name)
	switch {
	case dir == "":
		return "", nil
	case !filepath.IsAbs(dir):
		return "", fmt.Errorf("%s must be an absolute path, not %q", name, dir)
	case f.uid != f.self && !ownedDir(dir, f.uid):
		return "", nil
	}
	return filepath.Clean(dir), nil
}

func (f *finder) runtime() (string, error) {
	if dir, err := f.explicit("REGMINT_RUNTIME_DIR"); dir != "" || err != nil {
		return dir, err
	}
	if runtime.GOOS == "windows" {
		if dir := f.env.get("LocalAppData"); filepath.IsAbs(dir) {
			return filepath.Join(dir, "regmint", "run"), nil
		}
		return "", errors.New("LocalAppData is not set; set REGMINT_RUNTIME_DIR")
	}
	if dir := f.env.get("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) && filepath.Clean(dir) != "/" && ownedDir(dir, f.uid) {
		return filepath.Join(dir, "regmint"), nil
	}
	id := strconv.Itoa(f.uid)
	if runtime.GOOS == "linux" && ownedDir("/run/user/"+id, f.uid) {
		return "/run/user/" + id + "/regmint", nil
	}
	if home := f.homeDir(); home != "" {
		if dir := filepath.Join(home, ".regmint", "run"); f.uid != f.self || writable(dir) {
			return dir, nil
		}
	}
	return "/tmp/regmint-" + id, nil
}

func (f *finder) state(run string) (string, error) {
	if dir, err := f.explicit("REGMINT_STATE_DIR"); dir != "" || err != nil {
		return dir, err
	}
	xdg := "XDG_STATE_HOME"
	if runtime.GOOS == "windows" {
		xdg = "LocalAppData"
	}
	if dir := f.env.get(xdg); filepath.IsAbs(dir) && !f.foreign(dir) {
		return filepath.Join(dir, "regmint"), nil
	}
	dir := filepath.Join(f.homeDir(), ".local", "state", "regmint")
	switch runtime.GOOS {
	case "darwin":
		dir = filepath.Join(f.homeDir(), "Library", "Application Support", "regmint")
	case "windows":
		dir = filepath.Join(f.homeDir(), "AppData", "Local", "regmint")
	}
	if f.homeDir() == "" || f.uid == f.self && !writable(dir) {
		return filepath.Join(run, "state"), nil // lost with the machine, but nothing else is left
	}
	return dir, nil
}

// foreign reports that a directory which a variable names is not the user's we
// look for: `sudo -E` keeps the caller's, and root must leave none of its
// files there.
func (f *finder) foreign(dir string) bool {
	if f.uid != f.self {
		return true
	}
	info, err := os.Stat(dir)
	return f.uid == 0 && err == nil && ownerOf(info) != 0
}

// homeDir is HOME; the passwd entry's where HOME is unset, relative or
// foreign. "" where there is none.
func (f *finder) homeDir() string {
	if f.homeDone {
		return f.home
	}
	f.homeDone = true
	name := "HOME"
	if runtime.GOOS == "windows" {
		name = "USERPROFILE"
	}
	h := f.env.get(name)
	if !filepath.IsAbs(h) || f.foreign(h) {
		h = ""
		if u, err := user.LookupId(strconv.Itoa(f.uid)); err == nil && f.uid >= 0 && filepath.IsAbs(u.HomeDir) {
			h = u.HomeDir
		}
	}
	if h != "" {
		f.home = filepath.Clean(h)
	}
	return f.home
}

// writable reports whether dir could be made: its nearest existing ancestor
// may be written to.
func writable(dir string) bool {
	for {
		_, err := os.Stat(dir)
		if err == nil {
			return mayWrite(dir)
		}
		parent := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || parent == dir {
			return false
		}
		dir = parent
	}
}

// Ensure makes both directories and the one of the jobs, mode 0700. One that
// is a symlink, belongs to someone else or is open to others is refused
// (ErrUnsafe).
func (p Paths) Ensure() error {
	for _, dir := range []string{p.Runtime, p.JobsDir(), p.State} {
		if err := ensureDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// ErrUnsafe marks a directory or socket that others could have a hand in.
var ErrUnsafe = errors.New("not safe to use")

func ensureDir(dir string) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("directory %q is not absolute", dir)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return checkDir(dir)
}

// checkDir refuses a directory that another user could change or pass off as
// ours.
func checkDir(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	unsafe := func(format string, args ...any) error {
		return fmt.Errorf("%s %s: %w", dir, fmt.Sprintf(format, args...), ErrUnsafe)
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return unsafe("is a symbolic link")
	case !info.IsDir():
		return unsafe("is not a directory")
	}
	if runtime.GOOS == "windows" {
		return nil // below %LocalAppData%, which its ACL protects
	}
	if owner := ownerOf(info); owner != ownUID() {
		return unsafe("belongs to uid %d, not %d", owner, ownUID())
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return unsafe("has mode %04o; make it 0700", mode)
	}
	parent, err := os.Stat(filepath.Dir(dir))
	if err != nil {
		return err
	}
	if parent.Mode().Perm()&0o002 != 0 && parent.Mode()&fs.ModeSticky == 0 {
		return unsafe("is in a directory that everybody may write to")
	}
	return nil
}

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

// CheckSocketPath refuses what is no absolute path, or longer than the system
// can bind; the error then names both lengths.
func CheckSocketPath(socket string) error {
	if !filepath.IsAbs(socket) {
		return fmt.Errorf("socket %q is not an absolute path", socket)
	}
	if n := len(socket); n > maxSocketPath {
		return fmt.Errorf("the socket path has %d bytes, this system allows %d; set REGMINT_RUNTIME_DIR to a shorter directory than that of %s", n, maxSocketPath, socket)
	}
	return nil
}
