// SPDX-License-Identifier: Apache-2.0

package api

import (
	"os"

	"golang.org/x/sys/unix"
)

// maxSocketPath is sun_path without its terminating NUL: unix(7).
const maxSocketPath = 107

// peerOfFD reads SO_PEERCRED, unix(7).
func peerOfFD(fd int) (Peer, error) {
	u, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Peer{}, os.NewSyscallError("getsockopt", err)
	}
	return Peer{UID: int(u.Uid), PID: int(u.Pid)}, nil
}
