// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/windows"
)

// ownSession takes a process out of reach of our console.
func ownSession(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.DETACHED_PROCESS | windows.CREATE_NEW_PROCESS_GROUP}
}
