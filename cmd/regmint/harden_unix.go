// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func noCore() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("setrlimit: %w", err)
	}
	return nil
}
