// SPDX-License-Identifier: Apache-2.0

//go:build unix

package api

import (
	"context"
	"errors"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

const noFollow = syscall.O_NOFOLLOW

// launch starts the agent detached and waits for its ready byte. One that does
// not come up is killed: it must not pile up behind each get.
func launch(ctx context.Context, exe string, o ConnectOptions, log *os.File) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	if log == nil {
		log = null
	}
	ready, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	restore := hideInherited()
	p, err := os.StartProcess(exe, append([]string{exe}, AgentArgs...), &os.ProcAttr{
		Dir:   "/",
		Env:   o.environ(processEnviron()),
		Files: []*os.File{null, log, log, theirs},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	restore()
	_ = theirs.Close()
	if err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() { // ends with the agent: a caller that stays leaves no zombie
		_, _ = p.Wait()
		close(exited)
	}()
	end, _ := ctx.Deadline()
	_ = ready.SetReadDeadline(end)
	if n, _ := ready.Read(make([]byte, 1)); n == 1 {
		return nil
	}
	select {
	case <-exited:
		return errors.New("it ended at once")
	case <-ctx.Done():
		_ = p.Kill()
		<-exited
		return errStartSlow
	}
}

// hideInherited keeps descriptors that this process inherited from reaching
// the agent: a daemon that holds a pipe of its starter's caller keeps that
// caller waiting for ever. Those that Go opens are hidden anyway.
func hideInherited() (restore func()) {
	var hidden []int
	for _, fd := range openFiles() {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); fd > 2 && err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.CloseOnExec(fd)
			hidden = append(hidden, fd)
		}
	}
	return func() {
		for _, fd := range hidden {
			_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
		}
	}
}

// openFiles lists descriptors; without /proc or /dev/fd it names the first
// thousand.
func openFiles() []int {
	var fds []int
	for _, dir := range []string{"/proc/self/fd", "/dev/fd"} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if fd, err := strconv.Atoi(e.Name()); err == nil {
				fds = append(fds, fd)
			}
		}
		if len(fds) > 0 {
			return fds
		}
	}
	for fd := 3; fd < 1024; fd++ {
		fds = append(fds, fd)
	}
	return fds
}
