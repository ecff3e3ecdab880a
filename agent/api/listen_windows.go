// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/Microsoft/go-winio"
	"golang.org/x/sys/windows"
)

// pipeName is the named pipe that stands for a socket path: names of pipes
// are short and cannot hold the path itself.
func pipeName(socket string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(filepath.Clean(socket))))
	return `\\.\pipe\regmint-` + hex.EncodeToString(sum[:16])
}

// Listen makes the pipe that stands for socket. Its owner is the user of this
// process; only they and the system may open it. Where one exists the error
// wraps ErrInUse.
func Listen(socket string) (net.Listener, error) {
	if err := CheckSocketPath(socket); err != nil {
		return nil, err
	}
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return nil, err
	}
	sid := user.User.Sid.String()
	l, err := winio.ListenPipe(pipeName(socket), &winio.PipeConfig{
		SecurityDescriptor: "O:" + sid + "D:P(A;;GA;;;" + sid + ")(A;;GA;;;SY)",
		InputBufferSize:    64 << 10,
		OutputBufferSize:   64 << 10,
	})
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) || errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%s: %w", socket, ErrInUse)
	}
	return l, err
}

func dialSocket(ctx context.Context, socket string) (transport, error) {
	conn, err := winio.DialPipeContext(ctx, pipeName(socket))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w at %s", ErrNoAgent, socket)
	}
	if err != nil {
		return nil, err
	}
	if err := checkServer(conn, socket); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

func pipeHandle(c net.Conn) (windows.Handle, error) {
	f, ok := c.(interface{ Fd() uintptr })
	if !ok {
		return 0, fmt.Errorf("%w: not a pipe", ErrPeer)
	}
	return windows.Handle(f.Fd()), nil
}

// checkServer refuses a pipe that another user made: anybody may create one
// of a name that is free.
func checkServer(c net.Conn, socket string) error {
	h, err := pipeHandle(c)
	if err != nil {
		return err
	}
	sd, err := windows.GetSecurityInfo(h, windows.SE_KERNEL_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return err
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return err
	}
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return err
	}
	if owner.Equals(user.User.Sid) || owner.IsWellKnown(windows.WinLocalSystemSid) || owner.IsWellKnown(windows.WinBuiltinAdministratorsSid) {
		return nil
	}
	return fmt.Errorf("the pipe for %s belongs to %s: %w", socket, owner, ErrUnsafe)
}

// PeerOf is the process at the other end of a pipe that Listen accepted.
func PeerOf(c net.Conn) (Peer, error) {
	h, err := pipeHandle(c)
	if err != nil {
		return Peer{}, err
	}
	var pid uint32
	if err := windows.GetNamedPipeClientProcessId(h, &pid); err != nil {
		return Peer{}, err
	}
	return Peer{UID: -1, PID: int(pid)}, nil
}

// OverflowUID does not exist on Windows.
func OverflowUID() int { return -2 }

func isReset(err error) bool {
	return errors.Is(err, windows.ERROR_BROKEN_PIPE) || errors.Is(err, windows.ERROR_NO_DATA) || errors.Is(err, io.ErrClosedPipe)
}

// lockFile takes an advisory lock that dies with its holder; see the other
// systems.
func lockFile(path string, wait bool) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	flags := uint32(windows.LOCKFILE_EXCLUSIVE_LOCK)
	if !wait {
		flags |= windows.LOCKFILE_FAIL_IMMEDIATELY
	}
	if err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &windows.Overlapped{}); err != nil {
		_ = f.Close()
		if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
			return nil, errLocked
		}
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}
