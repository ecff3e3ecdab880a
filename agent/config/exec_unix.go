// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package config

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
)

// ownGroup makes the program the head of a process group.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup ends the program and what it started.
func killGroup(cmd *exec.Cmd) error {
	err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// foldNames: names of variables differ by their case alone.
const foldNames = false

// executableNames lists the files that a program of this name may be.
func executableNames(name string, _ func(string) string) []string { return []string{name} }

func executable(info fs.FileInfo) bool { return info.Mode().Perm()&0o111 != 0 }
