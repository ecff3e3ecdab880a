// SPDX-License-Identifier: Apache-2.0

package api

import (
	"os"

	"golang.org/x/sys/unix"
)

// maxSocketPath is sun_path without its terminating NUL: sys/un.h.
const maxSocketPath = 103

// peerOfFD reads LOCAL_PEERCRED and LOCAL_PEERPID, sys/un.h.
func peerOfFD(fd int) (Peer, error) {
	cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return Peer{}, os.NewSyscallError("getsockopt", err)
	}
	p := Peer{UID: int(cred.Uid)}
	if pid, err := unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID); err == nil {
		p.PID = pid
	}
	return p, nil
}
