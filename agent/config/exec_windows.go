// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os/exec"
	"syscall"
)

// ownGroup keeps a console's Ctrl-C away from the program and shows no window.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP, HideWindow: true}
}

func killGroup(cmd *exec.Cmd) error { return cmd.Process.Kill() }
