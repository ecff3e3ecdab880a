// SPDX-License-Identifier: Apache-2.0

package api

import (
	"os"
	"strconv"
	"strings"
)

// CallerInfo is the program that started this process, as far as the system
// tells: what `status --recent` shows. It proves nothing.
func CallerInfo() (pid int, program string) {
	pid = os.Getppid()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm") // proc(5): at most 15 bytes and a line end
	if err != nil {
		return pid, ""
	}
	return pid, CleanLine(strings.TrimSuffix(string(b), "\n"), 32)
}
