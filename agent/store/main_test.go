// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/regmint/regmint/providers"
)

// The test binary plays the other processes: the keyring's child and the
// writers.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case "keyring-child":
			os.Exit(fakeChild(os.Args[2], os.Args[3]))
		case "parent":
			os.Exit(parentMain(os.Args[2:]))
		case "writer":
			os.Exit(writerMain(os.Args[2:]))
		}
	}
	os.Exit(m.Run())
}

// fakeRing is a keychain in a directory, shared by processes as a real one is.
type fakeRing struct{ mode, dir string }

func (r fakeRing) path(user string) string {
	return filepath.Join(r.dir, hex.EncodeToString([]byte(user))[:min(2*len(user), 200)])
}

func (r fakeRing) trouble() error {
	switch r.mode {
	case "locked":
		return errors.New("failed to unlock correct collection '/org/freedesktop/secrets/aliases/default'")
	case "broken":
		return errors.New("The name org.freedesktop.secrets was not provided\nby any .service files \x1b[31m")
	case "hang", "prompt":
		select {}
	}
	return nil
}

func (r fakeRing) Ping(string) error {
	if r.mode == "locked" || r.mode == "prompt" {
		return nil
	}
	return r.trouble()
}

func (r fakeRing) Set(_, user, password string) error {
	if err := r.trouble(); err != nil {
		return err
	}
	if r.mode == "small" && len(password) > 100 {
		return keyring.ErrSetDataTooBig
	}
	if r.mode == "dismissed" {
		return nil // as the library does after a dismissed prompt
	}
	return writeAtomic(r.path(user), []byte(password))
}

func (r fakeRing) Get(_, user string) (string, error) {
	if err := r.trouble(); err != nil {
		return "", err
	}
	data, err := os.ReadFile(r.path(user))
	if errors.Is(err, os.ErrNotExist) {
		return "", keyring.ErrNotFound
	}
	return string(data), err
}

func (r fakeRing) Delete(_, user string) error {
	if err := r.trouble(); err != nil {
		return err
	}
	err := os.Remove(r.path(user))
	if errors.Is(err, os.ErrNotExist) {
		return keyring.ErrNotFound
	}
	return err
}

func fakeChild(mode, dir string) int {
	switch mode {
	case "real":
		return KeyringChild(context.Background(), os.Stdin, os.Stdout)
	case "garbage":
		fmt.Println("Welcome!")
		return 0
	case "flood":
		for {
			if _, err := os.Stdout.WriteString(strings.Repeat("x", 1<<16)); err != nil {
				return 1
			}
		}
	case "crash":
		return 2
	case "deaf":
		select {}
	}
	return serveRing(context.Background(), fakeRing{mode, dir}, usesBus, os.Stdin, os.Stdout)
}

// quickRace takes away the second that the race detector waits at every exit.
const quickRace = "GORACE=atexit_sleep_ms=0"

// childCommand is the command line of a fake child.
func childCommand(args ...string) []string {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := append([]string{exe, "keyring-child"}, args...)
	if runtime.GOOS == "windows" {
		return cmd
	}
	return append([]string{"/usr/bin/env", quickRace}, cmd...)
}

// parentMain is an agent that waits for its keyring: parent STATE BUS CHILD…
func parentMain(args []string) int {
	s, err := Open(Options{Kind: KindKeyring, StateDir: args[0], Child: args[2:], Interactive: true, Env: []string{"DBUS_SESSION_BUS_ADDRESS=unix:path=" + args[1]}})
	if err != nil {
		return 1
	}
	_, err = s.Get(context.Background(), "x")
	fmt.Fprintln(os.Stderr, "the keyring answered:", err)
	return 1
}

// machine is a state directory and a keychain of the test's own.
type machine struct {
	t      *testing.T
	state  string
	ring   string
	mode   string
	bus    string
	marker string // in the child's command line
	env    []string
	log    *logBuffer
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, state: filepath.Join(t.TempDir(), "state"), ring: t.TempDir(), mode: "ok", log: &logBuffer{}}
	m.marker = fmt.Sprintf("marker-%d-%s", os.Getpid(), filepath.Base(filepath.Dir(m.ring)))
	if usesBus {
		m.bus = listenBus(t, false)
		m.env = []string{"DBUS_SESSION_BUS_ADDRESS=unix:path=" + m.bus}
	}
	return m
}

// listenBus is a socket that accepts; deaf ones keep connections and never
// answer, as a stuck bus does.
func listenBus(t *testing.T, deaf bool) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rb") // short: socket paths have 107 bytes
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "bus")
	l, err := net.Listen("unix", path)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if !deaf {
				_ = c.Close()
			}
		}
	}()
	return path
}

func (m *machine) options(kind string) Options {
	return Options{
		Kind: kind, StateDir: m.state, Child: childCommand(m.mode, m.ring, m.marker), Env: m.env,
		Log: slog.New(slog.NewTextHandler(m.log, nil)),
	}
}

func (m *machine) open(kind string) Store {
	m.t.Helper()
	return openStore(m.t, m.options(kind))
}

func openStore(t *testing.T, o Options) Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// logBuffer collects what was logged.
type logBuffer struct{ strings.Builder }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func secret(s string) providers.Secret { return providers.NewSecret(s) }

func set(t *testing.T, s Store, name, text string) {
	t.Helper()
	if err := s.Set(t.Context(), name, secret(text)); err != nil {
		t.Fatalf("set %s: %v", name, err)
	}
}

func get(t *testing.T, s Store, name string) string {
	t.Helper()
	v, err := s.Get(t.Context(), name)
	if err != nil {
		t.Fatalf("get %s: %v", name, err)
	}
	return v.Reveal()
}

// wantError checks cause, kind, and that the text is fit for people.
func wantError(t *testing.T, err, cause error, kind providers.Kind, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if cause != nil && !errors.Is(err, cause) {
		t.Errorf("%v is not %v", err, cause)
	}
	if _, ok := errors.AsType[*providers.Error](err); !ok || providers.KindOf(err) != kind {
		t.Errorf("kind %v, want %v: %v", providers.KindOf(err), kind, err)
	}
	wantText(t, err.Error(), parts...)
	if strings.ContainsAny(err.Error(), "\n\r\x00\x1b") {
		t.Errorf("unfit for people: %q", err)
	}
}

func wantText(t *testing.T, got string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(got, p) {
			t.Errorf("%q does not say %q", got, p)
		}
	}
}

func unixOnly(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("modes and signals of Unix")
	}
}

// eventually waits for something another process does.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("never: %s", what)
}
