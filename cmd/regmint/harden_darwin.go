// SPDX-License-Identifier: Apache-2.0

package main

import "golang.org/x/sys/unix"

// harden keeps what the agent holds in memory from core dumps, and its files
// from others.
func harden() error {
	unix.Umask(0o077)
	return noCore()
}
