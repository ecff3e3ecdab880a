// SPDX-License-Identifier: Apache-2.0

package httpx

import "golang.org/x/sys/windows"

// What the system calls a refused, a cut and an impossible connection.
const (
	errRefused     = windows.WSAECONNREFUSED
	errReset       = windows.WSAECONNRESET
	errPipe        = windows.WSAECONNABORTED
	errHostUnreach = windows.WSAEHOSTUNREACH
	errNetUnreach  = windows.WSAENETUNREACH
)
