// SPDX-License-Identifier: Apache-2.0

//go:build unix

package api

import (
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func ownUID() int { return os.Geteuid() }

// ownerOf is the uid a file belongs to.
func ownerOf(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}

// ownedDir reports a directory of uid that no other user writes to.
func ownedDir(dir string, uid int) bool {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return false
	}
	return st.Mode&syscall.S_IFMT == syscall.S_IFDIR && int(st.Uid) == uid && st.Mode&0o022 == 0
}

func mayWrite(dir string) bool { return unix.Access(dir, unix.W_OK|unix.X_OK) == nil }

// nonBlock keeps the opening of a FIFO from waiting for a writer.
const nonBlock = syscall.O_NONBLOCK

func socketThere(socket string) bool {
	var st syscall.Stat_t
	return syscall.Lstat(socket, &st) == nil
}
