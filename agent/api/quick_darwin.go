// SPDX-License-Identifier: Apache-2.0

package api

// connectQuick is connect: macOS has no flag that keeps a new socket from
// children that are started at the same moment.
func connectQuick(socket string) (localConn, error) { return connect(socket) }
