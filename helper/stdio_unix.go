// SPDX-License-Identifier: Apache-2.0

//go:build unix

package helper

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// read is one Read that ends at end, without a thread to wait in.
func read(r io.Reader, b []byte, end time.Time) (int, error) {
	f, ok := r.(*os.File)
	if !ok {
		return readAside(r, b, end)
	}
	var n int
	err := withFD(f, func(fd int) (err error) {
		for {
			if err = wait(fd, unix.POLLIN, end); err != nil {
				return err
			}
			n, err = unix.Read(fd, b)
			switch {
			case err == nil && n == 0:
				return io.EOF
			case !again(err):
				return err
			case time.Now().After(end): // ready, and yet not
				return os.ErrDeadlineExceeded
			}
		}
	})
	return max(n, 0), err
}

// write writes s whole before end. A pipe whose reader is gone is an error
// here, not a signal: os.File would die of it on stdout.
func write(w io.Writer, s string, end time.Time) error {
	f, ok := w.(*os.File)
	if !ok {
		_, err := io.WriteString(w, s)
		return err
	}
	return withFD(f, func(fd int) error {
		b := []byte(s)
		for len(b) > 0 {
			if err := wait(fd, unix.POLLOUT, end); err != nil {
				return err
			}
			// A pipe that is ready takes this much without blocking: PIPE_BUF.
			n, err := unix.Write(fd, b[:min(len(b), 4096)])
			if err != nil && !again(err) {
				return err
			}
			if err != nil && time.Now().After(end) {
				return os.ErrDeadlineExceeded
			}
			b = b[max(n, 0):]
		}
		return nil
	})
}

func again(err error) bool {
	return errors.Is(err, syscall.EINTR) || errors.Is(err, syscall.EAGAIN)
}

func withFD(f *os.File, use func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = use(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// wait returns when fd is ready, or broken: then the next call on it says how.
// What is ready is ready after end too: on a machine under load the process may
// have slept through it, and must not end without a word.
func wait(fd int, events int16, end time.Time) error {
	for {
		left, limit := time.Until(end), 0
		if left > 0 {
			limit = int(left/time.Millisecond) + 1
		}
		fds := [1]unix.PollFd{{Fd: int32(fd), Events: events}} //nolint:gosec // a descriptor is an int of C
		n, err := unix.Poll(fds[:], limit)
		switch {
		case n > 0:
			return nil
		case err != nil && !again(err):
			return err
		case err == nil && left <= 0:
			return os.ErrDeadlineExceeded
		}
	}
}
