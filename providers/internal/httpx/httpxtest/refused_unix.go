// SPDX-License-Identifier: Apache-2.0

//go:build unix

package httpxtest

import (
	"net"
	"strconv"
	"syscall"
	"testing"
)

// refused is an address that refuses connections: its port is taken, so that no
// other server gets it, and nobody listens.
func refused(t testing.TB, _ *CA) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	own, ok := name.(*syscall.SockaddrInet4)
	if !ok {
		t.Fatalf("an address of %T", name)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(own.Port))
}
