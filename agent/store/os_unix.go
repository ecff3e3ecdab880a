// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package store

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
)

// openNonBlock keeps an open of a FIFO that took the file's place from hanging.
const openNonBlock = syscall.O_NONBLOCK

// tighten takes away what group and others may do and reports that it had to.
func tighten(f *os.File, info fs.FileInfo) bool {
	return info.Mode().Perm()&0o077 != 0 && f.Chmod(0o600) == nil
}

// syncDir makes a rename in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// ownGroup makes the child the head of a process group.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup ends the child and what it started.
func killGroup(cmd *exec.Cmd) error {
	err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// rename replaces the target in one step.
func rename(from, to string) error { return os.Rename(from, to) }
