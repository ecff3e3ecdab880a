// SPDX-License-Identifier: Apache-2.0

package api

import (
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
)

// CallerInfo is the program that started this process, as far as the system
// tells: what `status --recent` shows. It proves nothing.
func CallerInfo() (pid int, program string) {
	pid = os.Getppid()
	snap, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPPROCESS, 0)
	if err != nil {
		return pid, ""
	}
	defer func() { _ = windows.CloseHandle(snap) }()
	e := windows.ProcessEntry32{Size: uint32(unsafe.Sizeof(windows.ProcessEntry32{}))}
	for err = windows.Process32First(snap, &e); err == nil; err = windows.Process32Next(snap, &e) {
		if int(e.ProcessID) == pid {
			return pid, CleanLine(strings.TrimSuffix(windows.UTF16ToString(e.ExeFile[:]), ".exe"), 32)
		}
	}
	return pid, ""
}
