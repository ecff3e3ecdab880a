// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// harden keeps what the agent holds in memory from core dumps, debuggers of
// the same user (prctl(2), PR_SET_DUMPABLE) and files that others could read.
func harden() error {
	unix.Umask(0o077)
	err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		err = fmt.Errorf("prctl: %w", err)
	}
	return errors.Join(err, noCore())
}
