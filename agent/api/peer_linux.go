// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net"

	"golang.org/x/sys/unix"
)

// PeerOf asks the kernel who is at the other end of c: SO_PEERCRED, unix(7).
// It is who connected, or who listened; the peer's own claims play no part.
func PeerOf(c net.Conn) (Peer, error) {
	var p Peer
	err := socketOf(c, func(fd int) error {
		u, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err == nil {
			p = Peer{UID: int(u.Uid), PID: int(u.Pid)}
		}
		return err
	})
	return p, err
}
