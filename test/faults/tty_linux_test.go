// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/regmint/regmint/test/terminal"
)

// onATerminal makes a terminal that ends with the test.
func onATerminal(t *testing.T) (person *os.File, device string) {
	t.Helper()
	person, device = terminal.Open(t)
	t.Cleanup(func() { _ = person.Close() })
	return person, device
}

// onTerminal makes the command the leader of a session on a terminal. Streams
// named in without go elsewhere.
func onTerminal(t *testing.T, device, without string) func(p *exec.Cmd) {
	return func(p *exec.Cmd) {
		tty, err := os.OpenFile(device, os.O_RDWR|syscall.O_NOCTTY, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tty.Close() })
		p.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3}
		p.ExtraFiles = []*os.File{tty}
		p.Stdin = nil // the null device
		if !strings.Contains(without, "stdin") {
			p.Stdin = tty
		}
		if !strings.Contains(without, "stdout") {
			p.Stdout = tty
		}
		if !strings.Contains(without, "stderr") {
			p.Stderr = tty
		}
	}
}

func TestCtrlCReachesTheCommandOnce(t *testing.T) {
	w := newWorld(t)
	w.agent()
	for _, without := range []string{"", "stdin", "stdin stdout stderr"} {
		t.Run("without "+without, func(t *testing.T) {
			for _, name := range []string{"got", "ready"} {
				_ = os.Remove(w.path(name))
			}
			person, device := onATerminal(t)
			go func() { // what is printed is read; ends with the terminal
				b := make([]byte, 4096)
				for {
					if _, err := person.Read(b); err != nil {
						return
					}
				}
			}()
			s := w.start(script(`trap 'echo got >>got' INT; : >ready; until [ -e got ]; do sleep 0.01; done; sleep 0.2; exit 7`), onTerminal(t, device, without))
			w.eventually("it runs", func() bool { return w.exists("ready") })
			if _, err := person.Write([]byte{3}); err != nil {
				t.Fatal(err)
			}
			s.ends(7)
			if got := w.read("got"); got != "got\n" {
				t.Errorf("the command got %q", got)
			}
			w.clean()
		})
	}
}

func TestTheTerminalIsTheCommands(t *testing.T) {
	w := newWorld(t)
	w.agent()
	person, device := onATerminal(t)
	s := w.start(script(`tty >which; stty -echo; : >ready; read line; echo "read $line"; exit 4`), onTerminal(t, device, ""))
	w.eventually("it runs", func() bool { return w.exists("ready") })
	if _, err := person.WriteString("from the person\n"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	text := ""
	for !strings.Contains(text, "read from the person") {
		n, err := person.Read(b)
		if err != nil {
			t.Fatalf("%v after %q", err, text)
		}
		text += string(b[:n])
	}
	s.ends(4)
	if got := w.read("which"); got != device+"\n" {
		t.Errorf("the command is on %q", got)
	}
	w.clean()
}

// A job in the background of a terminal is not what Ctrl-C is for; who sends it
// a signal means it.
func TestASignalToABackgroundJobOfATerminalIsPassedOn(t *testing.T) {
	w := newWorld(t)
	w.agent()
	person, device := onATerminal(t)
	go func() {
		b := make([]byte, 4096)
		for {
			if _, err := person.Read(b); err != nil {
				return
			}
		}
	}()
	s := w.start(cmd("sh", "-c", `set -m; regmint run -q -- sh -c 'trap "echo got >>got; exit 7" INT; : >ready; while :; do sleep 0.01; done' & echo $! >pid; wait $!`),
		onTerminal(t, device, ""))
	w.eventually("it runs", func() bool { return w.exists("ready") && strings.HasSuffix(w.read("pid"), "\n") })
	pid := 0
	if _, err := fmt.Sscan(w.read("pid"), &pid); err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(pid, syscall.SIGINT)
	s.ends(7)
	if got := w.read("got"); got != "got\n" {
		t.Errorf("the command got %q", got)
	}
	w.clean()
}
