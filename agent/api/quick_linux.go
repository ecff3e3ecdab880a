// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// quickConn is a unix socket read and written with poll(2). One goroutine
// uses it.
type quickConn struct {
	fd  int
	end time.Time
}

// connectQuick is connect without the runtime's poller.
func connectQuick(socket string) (*quickConn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		_ = unix.Close(fd)
		return nil, &os.PathError{Op: "connect", Path: socket, Err: err}
	}
	return &quickConn{fd: fd}, nil
}

func (c *quickConn) peer() (Peer, error) { return peerOfFD(c.fd) }

// Read implements io.Reader.
func (c *quickConn) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(c.fd, b)
		switch {
		case n > 0:
			return n, nil
		case err == nil:
			return 0, io.EOF
		case !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR):
			return 0, os.NewSyscallError("read", err)
		}
		if err := c.wait(unix.POLLIN); err != nil {
			return 0, err
		}
	}
}

// Write implements io.Writer.
func (c *quickConn) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		n, err := unix.Write(c.fd, b[done:])
		switch {
		case n > 0:
			done += n
			continue
		case !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR):
			return done, os.NewSyscallError("write", err)
		}
		if err := c.wait(unix.POLLOUT); err != nil {
			return done, err
		}
	}
	return done, nil
}

// wait returns when the socket is ready or broken.
func (c *quickConn) wait(events int16) error {
	for {
		ms := -1 // for ever
		if !c.end.IsZero() {
			left := time.Until(c.end)
			if left <= 0 {
				return os.ErrDeadlineExceeded
			}
			ms = int(left/time.Millisecond) + 1
		}
		fds := [1]unix.PollFd{{Fd: int32(c.fd), Events: events}} //nolint:gosec // a descriptor is an int of C
		n, err := unix.Poll(fds[:], ms)
		if n > 0 {
			return nil
		}
		if err != nil && !errors.Is(err, syscall.EINTR) && !errors.Is(err, syscall.EAGAIN) {
			return os.NewSyscallError("poll", err)
		}
	}
}

// Close implements io.Closer.
func (c *quickConn) Close() error { return unix.Close(c.fd) }

// SetDeadline is that of net.Conn; it must be called before Read and Write.
func (c *quickConn) SetDeadline(t time.Time) error {
	c.end = t
	return nil
}
