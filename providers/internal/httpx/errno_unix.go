// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package httpx

import "syscall"

// What the system calls a refused, a cut and an impossible connection.
const (
	errRefused     = syscall.ECONNREFUSED
	errReset       = syscall.ECONNRESET
	errPipe        = syscall.EPIPE
	errHostUnreach = syscall.EHOSTUNREACH
	errNetUnreach  = syscall.ENETUNREACH
)
