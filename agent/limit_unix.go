// SPDX-License-Identifier: Apache-2.0

//go:build unix

package agent

import "syscall"

// reserve is how many descriptors are kept for what the agent itself opens:
// registries, files, watches.
const reserve = 256

// maxConns is how many connections there may be at once; 0 = any number.
func maxConns() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil || l.Cur > 1<<20 {
		return 1 << 20
	}
	n := int(l.Cur)
	return max(n-min(reserve, n/2), 1)
}
