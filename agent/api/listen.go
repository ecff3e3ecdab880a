// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"fmt"
)

// Peer is the process at the other end of a local connection, as the kernel
// knows it.
type Peer struct {
	UID int // -1 on Windows, where the pipe's ACL lets in its owner alone
	PID int // 0: unknown
}

// ErrInUse means that another agent listens at the socket.
var ErrInUse = errors.New("another agent listens there")

// ErrPeer means that the process at the other end may not connect.
var ErrPeer = errors.New("peer refused")

// AllowPeer is nil where p may use a main socket: our own uid, and root where
// allowRoot; never the overflow uid, which stands for every user that our user
// namespace does not know.
func AllowPeer(p Peer, allowRoot bool) error { return allowPeer(p, allowRoot, ownUID(), OverflowUID()) }

func allowPeer(p Peer, allowRoot bool, own, overflow int) error {
	switch {
	case p.UID >= 0 && p.UID == overflow:
		return fmt.Errorf("%w: uid %d stands for users outside this user namespace", ErrPeer, p.UID)
	case p.UID == own, p.UID == 0 && allowRoot:
		return nil
	case p.UID == 0:
		return fmt.Errorf("%w: root may not connect (allow_root = false)", ErrPeer)
	}
	return fmt.Errorf("%w: uid %d is not %d", ErrPeer, p.UID, own)
}
