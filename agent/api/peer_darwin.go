// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net"

	"golang.org/x/sys/unix"
)

// PeerOf asks the kernel who is at the other end of c: LOCAL_PEERCRED and
// LOCAL_PEERPID, sys/un.h.
func PeerOf(c net.Conn) (Peer, error) {
	var p Peer
	err := socketOf(c, func(fd int) error {
		cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
		if err != nil {
			return err
		}
		p.UID = int(cred.Uid)
		if pid, err := unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID); err == nil {
			p.PID = pid
		}
		return nil
	})
	return p, err
}
