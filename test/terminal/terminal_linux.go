// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Run runs a command as the leader of a session on a terminal of its own and
// types the lines as they are asked for. It returns all that the terminal
// showed, with plain line ends, and the error of Wait. A command that is not
// over in time is killed and fails the test.
func Run(t testing.TB, cmd *exec.Cmd, limit time.Duration, lines ...Line) (string, error) {
	t.Helper()
	person, device := Open(t)
	defer person.Close()
	tty, err := os.OpenFile(device, os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = cmd.Start()
	_ = tty.Close()
	if err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(limit, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	var all strings.Builder
	unread := ""
	for b := make([]byte, 4096); ; {
		for len(lines) > 0 && strings.Contains(unread, lines[0].Shown) {
			_, unread, _ = strings.Cut(unread, lines[0].Shown)
			typed := lines[0].Typed
			if typed != CtrlC {
				typed += "\n"
			}
			if _, err := person.WriteString(typed); err != nil {
				t.Errorf("%q: %v", cmd.Args, err)
			}
			lines = lines[1:]
		}
		n, err := person.Read(b)
		unread += string(b[:n])
		all.Write(b[:n])
		if err != nil { // EIO: nobody holds the other end
			break
		}
	}
	err = cmd.Wait()
	shown := strings.ReplaceAll(all.String(), "\r\n", "\n")
	if !kill.Stop() {
		t.Errorf("%q did not end within %s\n%s", cmd.Args, limit, shown)
	}
	if len(lines) > 0 {
		t.Errorf("%q never showed %q:\n%s", cmd.Args, lines[0].Shown, shown)
	}
	return shown, err
}

// Open makes a terminal. The caller closes the person's end; the other one is
// opened by its device's name.
func Open(t testing.TB) (person *os.File, device string) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no pseudo terminals here: %v; mount them with: mount -t devpts devpts /dev/pts", err)
	}
	person = os.NewFile(uintptr(fd), "ptmx")
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		_ = person.Close()
		t.Fatal(err)
	}
	return person, fmt.Sprintf("/dev/pts/%d", n)
}
