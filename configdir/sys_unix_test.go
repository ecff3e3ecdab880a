// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package configdir

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func umask(m int) int { return unix.Umask(m) }

func mkfifo(path string) error { return unix.Mkfifo(path, 0o600) }

// asNobody are the attributes of a process without root's rights.
func asNobody() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, NoSetGroups: false}}
}
