// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// echoWatcher is a stderr that notes, for all that is written, whether the
// terminal would show what somebody types right then.
type echoWatcher struct {
	bytes.Buffer
	tty   *os.File
	shown []string // written while the echo was on
}

func (w *echoWatcher) Write(b []byte) (int, error) {
	if echoes(w.tty) {
		w.shown = append(w.shown, string(b))
	}
	return w.Buffer.Write(b)
}

func echoes(tty *os.File) bool {
	t, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	return err != nil || t.Lflag&unix.ECHO != 0
}

func TestEchoIsOffBeforeASecretIsAskedForAndOnAgainAfterwards(t *testing.T) {
	person, tty := newTerminal(t)
	w := &echoWatcher{tty: tty}
	a := &app{in: tty, err: w, noEcho: terminalWithoutEcho}
	if _, err := person.WriteString("typed-secret\nnext\n"); err != nil {
		t.Fatal(err)
	}
	got, err := a.askSecret(t.Context(), "Token: ")
	if err != nil || got != "typed-secret" {
		t.Fatalf("%q, %v", got, err)
	}
	if !strings.Contains(w.String(), "Token: ") || strings.Contains(strings.Join(w.shown, ""), "Token") {
		t.Errorf("asked while what is typed shows: %q of %q", w.shown, w.String())
	}
	if !echoes(tty) {
		t.Error("the echo stays off")
	}
	if line, err := a.ask(t.Context(), "And? "); err != nil || line != "next" {
		t.Errorf("the next line: %q, %v", line, err)
	}
}

func TestEchoIsOnAgainAfterAnInterrupt(t *testing.T) {
	_, tty := newTerminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	w := &interrupting{cancel: cancel, echoWatcher: echoWatcher{tty: tty}}
	a := &app{in: tty, err: w, noEcho: terminalWithoutEcho}
	if _, err := a.askSecret(ctx, "Token: "); err == nil {
		t.Fatal("an interrupted question was answered")
	}
	if !echoes(tty) {
		t.Error("the echo stays off")
	}
}

// interrupting is somebody who presses Ctrl-C at the question.
type interrupting struct {
	echoWatcher
	cancel func()
}

func (w *interrupting) Write(b []byte) (int, error) {
	defer w.cancel()
	return w.echoWatcher.Write(b)
}

func TestSecretsAreNotAskedForWithoutATerminal(t *testing.T) {
	r, _, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var shown bytes.Buffer
	a := &app{in: r, err: &shown, noEcho: terminalWithoutEcho}
	if _, err := a.askSecret(t.Context(), "Token: "); err == nil || shown.Len() > 0 {
		t.Errorf("%v, shown %q", err, shown.String())
	}
}

// newTerminal returns the two ends of a new terminal.
func newTerminal(t *testing.T) (person, tty *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo terminals here: %v; mount them with: mount -t devpts devpts /dev/pts", err)
	}
	t.Cleanup(func() { _ = person.Close() })
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	return person, tty
}
