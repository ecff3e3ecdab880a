// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package store

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
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

// makeDir makes a directory and its missing parents, 0700. What root makes in
// a person's home under sudo becomes that person's.
func makeDir(dir string) error {
	var made []string
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); err == nil || filepath.Dir(d) == d {
			break
		}
		made = append(made, d)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for i := len(made) - 1; i >= 0; i-- {
		handOver(made[i])
	}
	return nil
}

// handOver gives what root made to the owner of the directory it is in.
func handOver(path string) {
	if os.Geteuid() != 0 {
		return
	}
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
		_ = os.Lchown(path, int(st.Uid), int(st.Gid))
	}
}
