// SPDX-License-Identifier: Apache-2.0

//go:build unix

package api

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func session() (sid, pgid int) {
	sid, _ = unix.Getsid(0)
	return sid, syscall.Getpgrp()
}
