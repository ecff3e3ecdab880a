// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package configdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// openNonBlock keeps the open of a FIFO that took a file's place from hanging.
const openNonBlock = unix.O_NONBLOCK

// openNoFollow refuses a symbolic link as the last element of a path.
const openNoFollow = unix.O_NOFOLLOW

const exeSuffix = ""

// maxSocketPath is the room for a path in sockaddr_un, without the final NUL.
func maxSocketPath() int {
	if runtime.GOOS == "linux" {
		return 107
	}
	return 103
}

// ownerOf is the uid and gid of a file.
func ownerOf(info fs.FileInfo) (uid, gid int, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return int(st.Uid), int(st.Gid), true
}

// checkPrivate refuses a directory that another user owns or may enter.
func checkPrivate(path string, info fs.FileInfo) error {
	if uid, _, ok := ownerOf(info); ok && uid != os.Geteuid() {
		return fmt.Errorf("%s belongs to uid %d, not to uid %d: %w", clean(path), uid, os.Geteuid(), ErrForeign)
	}
	if m := info.Mode().Perm(); m&0o077 != 0 {
		return fmt.Errorf("%s is open to other users (mode %04o); run: chmod 700 %s", clean(path), m, clean(path))
	}
	return nil
}

// keepOwner gives f the owner of the file it replaces (an install under sudo).
func keepOwner(f *os.File, old fs.FileInfo) error {
	uid, gid, ok := ownerOf(old)
	if !ok {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if u, g, ok := ownerOf(info); ok && u == uid && g == gid {
		return nil
	}
	err = f.Chown(uid, gid)
	if errors.Is(err, fs.ErrPermission) {
		// A group we are not a member of: the owner is what matters.
		if u, _, ok := ownerOf(info); ok && u == uid {
			return nil
		}
	}
	return err
}

// syncDir makes a rename durable; file systems without it say EINVAL.
func syncDir(dir *os.Root) error {
	d, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		return err
	}
	return nil
}

func isExecutable(info fs.FileInfo) bool {
	return info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

func isNotDir(err error) bool { return errors.Is(err, unix.ENOTDIR) }
