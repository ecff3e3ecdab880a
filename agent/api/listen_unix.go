// SPDX-License-Identifier: Apache-2.0

//go:build unix

package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Listen makes the socket, mode 0600, in a directory that is ours and 0700. A
// socket that a dead agent left is replaced; where one answers the error wraps
// ErrInUse. Nothing else at the path is touched. The listener removes its
// socket when it is closed.
func Listen(socket string) (net.Listener, error) {
	if err := CheckSocketPath(socket); err != nil {
		return nil, err
	}
	if err := checkDir(filepath.Dir(socket)); err != nil {
		return nil, err
	}
	unlock, err := lockFile(socket+".lock", true)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeDead(socket); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, err
	}
	// Until here the directory alone keeps others out: the umask of a process
	// is not ours to change.
	if err := os.Chmod(socket, 0o600); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// removeDead removes a socket that nobody listens at. The caller holds the
// lock, so nobody makes one in the meantime.
func removeDead(socket string) error {
	info, err := os.Lstat(socket)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is not a socket: %w", socket, ErrUnsafe)
	}
	conn, err := connect(socket)
	switch {
	case err == nil:
		_ = conn.Close()
		return fmt.Errorf("%s: %w", socket, ErrInUse)
	case errors.Is(err, syscall.EAGAIN): // its backlog is full: it lives
		return fmt.Errorf("%s: %w", socket, ErrInUse)
	case !errors.Is(err, syscall.ECONNREFUSED):
		return err
	}
	return os.Remove(socket)
}

// lockFile takes an advisory lock that dies with its holder. wait: for as long
// as it takes, which is short for every lock of ours; else errLocked.
func lockFile(path string, wait bool) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	how := unix.LOCK_EX
	if !wait {
		how |= unix.LOCK_NB
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { _ = f.Close() }, nil
}

// localConn is a connection that knows its other end.
type localConn interface {
	transport
	peer() (Peer, error)
}

// netConn is a localConn that any goroutine may close.
type netConn struct{ *net.UnixConn }

func (c netConn) peer() (Peer, error) { return PeerOf(c.UnixConn) }

func connect(socket string) (localConn, error) {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, err
	}
	return netConn{c}, nil
}

// busyLimit is how long a full backlog is waited for where ctx sets no limit.
const busyLimit = 10 * time.Second

// dialSocket connects, waits for a full backlog, and checks who serves.
func dialSocket(ctx context.Context, socket string) (transport, error) {
	conn, err := connectFor(ctx, socket)
	if errors.Is(err, syscall.EAGAIN) {
		conn, err = connectBusy(ctx, socket)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w at %s", ErrNoAgent, socket)
	case err != nil:
		return nil, err
	}
	if err := checkServer(conn, socket); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

func connectFor(ctx context.Context, socket string) (localConn, error) {
	if _, ok := ctx.(*until); ok {
		c, err := connectQuick(socket)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
	return connect(socket)
}

func connectBusy(ctx context.Context, socket string) (localConn, error) {
	wait, cancel := context.WithTimeout(ctx, busyLimit)
	defer cancel()
	for d := time.Millisecond; pause(wait, d) == nil; d = min(2*d, 50*time.Millisecond) {
		if conn, err := connectFor(ctx, socket); !errors.Is(err, syscall.EAGAIN) {
			return conn, err
		}
	}
	return nil, fmt.Errorf("the agent at %s is too busy to answer: %w", socket, wait.Err())
}

// checkServer refuses a server of another user: DESIGN rule 9.
func checkServer(conn localConn, socket string) error {
	p, err := conn.peer()
	if err != nil {
		return err
	}
	if p.UID == ownUID() || p.UID == 0 {
		return nil
	}
	if info, err := os.Stat(filepath.Dir(socket)); err == nil && ownerOf(info) == p.UID {
		return nil
	}
	return fmt.Errorf("socket %s is served by uid %d, who is neither you nor root nor the owner of its directory: %w", socket, p.UID, ErrUnsafe)
}

// isReset reports a connection whose other end is gone.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// PeerOf asks the kernel who is at the other end of c: who connected, or who
// listened. The peer's own claims play no part.
func PeerOf(c net.Conn) (Peer, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return Peer{}, fmt.Errorf("%w: not a local connection", ErrPeer)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var p Peer
	var inner error
	if err := raw.Control(func(fd uintptr) { p, inner = peerOfFD(int(fd)) }); err != nil {
		return Peer{}, err
	}
	return p, inner
}

// OverflowUID is the uid that stands for users outside the user namespace.
func OverflowUID() int {
	const usual = 65534 // linux, fs/overflowuid
	b, err := os.ReadFile("/proc/sys/kernel/overflowuid")
	if err != nil {
		return usual
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return usual
	}
	return n
}
