// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// line is what a person types once the terminal shows something. An empty
// typed line is the return key; "\x03" is Ctrl-C.
type line struct{ shown, typed string }

// terminal runs a command on a terminal of its own and types the lines as they
// are asked for. out is all that the terminal showed.
func (w *world) terminal(lines []line, args ...string) result {
	w.t.Helper()
	person, tty := w.openTerminal()
	defer person.Close()
	cmd := exec.Command(w.find(args[0]), args[1:]...)
	cmd.Args[0], cmd.Dir, cmd.Env = args[0], w.home, w.environ()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err := cmd.Start()
	_ = tty.Close()
	if err != nil {
		w.t.Fatal(err)
	}
	kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	var all strings.Builder
	unread := ""
	for b := make([]byte, 4096); ; {
		for len(lines) > 0 && strings.Contains(unread, lines[0].shown) {
			_, unread, _ = strings.Cut(unread, lines[0].shown)
			typed := lines[0].typed
			if typed != "\x03" {
				typed += "\n"
			}
			if _, err := person.WriteString(typed); err != nil {
				w.t.Errorf("%q: %v", args, err)
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
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited || !kill.Stop() {
		w.t.Errorf("%q did not end: %v\n%s", args, err, all.String())
	}
	if len(lines) > 0 {
		w.t.Errorf("%q never showed %q:\n%s", args, lines[0].shown, all.String())
	}
	return result{out: strings.ReplaceAll(all.String(), "\r\n", "\n"), code: exitCode(cmd.ProcessState)}
}

// openTerminal returns the two ends of a new terminal.
func (w *world) openTerminal() (person, tty *os.File) {
	w.t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		w.t.Skipf("no pseudo terminals here: %v; mount them with: mount -t devpts devpts /dev/pts", err)
	}
	person = os.NewFile(uintptr(fd), "ptmx")
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return person, tty
}
