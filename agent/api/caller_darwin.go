// SPDX-License-Identifier: Apache-2.0

package api

import (
	"os"

	"golang.org/x/sys/unix"
)

// CallerInfo is the program that started this process, as far as the system
// tells: what `status --recent` shows. It proves nothing.
func CallerInfo() (pid int, program string) {
	pid = os.Getppid()
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return pid, ""
	}
	return pid, CleanLine(unix.ByteSliceToString(k.Proc.P_comm[:]), 32)
}
