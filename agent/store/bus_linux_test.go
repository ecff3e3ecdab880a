// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
)

// T5, M5: no bus, a dead socket, addresses that would start something, and a
// bus that accepts and never answers. The real library stands behind all.
func TestBusInTroubleEndsInAnErrorAndLeavesNoProcess(t *testing.T) {
	dead := filepath.Join(t.TempDir(), "dead")
	must(t, os.WriteFile(dead, nil, 0o600))
	trap, caught := dbusLaunchTrap(t)
	for name, address := range map[string]string{
		"unset":      "",
		"gone":       "unix:path=/nonexistent/bus",
		"dead":       "unix:path=" + dead,
		"autolaunch": "autolaunch:",
		"exec":       "unixexec:path=/bin/false",
		"tcp":        "tcp:host=127.0.0.1,port=1",
		"garbage":    "unix:path=%zz;;=",
		"black hole": "unix:path=" + listenBus(t, true),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat("/run/user/" + strconv.Itoa(os.Getuid()) + "/bus"); name == "unset" && err == nil {
				t.Skip("SKIPPED LOUDLY: this user has a session bus at its usual place; run the tests as a user without one too")
			}
			m := newMachine(t)
			m.mode = "real"
			m.env = []string{"PATH=" + trap, "HOME=" + t.TempDir()}
			if address != "" {
				m.env = append(m.env, "DBUS_SESSION_BUS_ADDRESS="+address)
			}
			ctx := t.Context()
			if name == "black hole" {
				ctx = quick(t)
			}
			_, err := m.open(KindKeyring).Get(ctx, "reg.example")
			wantError(t, err, ErrUnavailable, providers.Unavailable, "keyring unavailable")
			o := m.options(KindKeyring)
			o.Interactive = true
			s := openStore(t, o).(*keyringStore)
			s.chain.quick = 300 * time.Millisecond
			_, err = s.Get(t.Context(), "reg.example")
			wantError(t, err, ErrUnavailable, providers.Unavailable, "keyring unavailable")
			m.noChildren()
			if _, err := os.Stat(caught); err == nil {
				t.Error("dbus-launch was started")
			}
		})
	}
}

// dbusLaunchTrap is a PATH whose dbus-launch leaves a trace.
func dbusLaunchTrap(t *testing.T) (path, trace string) {
	t.Helper()
	path = t.TempDir()
	trace = filepath.Join(path, "was-here")
	must(t, os.WriteFile(filepath.Join(path, "dbus-launch"), []byte("#!/bin/sh\n: > "+trace+"\nexit 1\n"), 0o700))
	if err := exec.Command(filepath.Join(path, "dbus-launch")).Run(); err == nil {
		t.Fatal("the trap does not work")
	}
	must(t, os.Remove(trace))
	return path, trace
}

func TestBusAddressesAreReadAsWritten(t *testing.T) {
	env := []string{"XDG_RUNTIME_DIR=/run/user/7"}
	for addr, want := range map[string]string{
		"unix:path=/a/b":            "/a/b",
		"unix:path=/a%20b,guid=00":  "/a b",
		"unix:guid=00,path=/a":      "/a",
		"unix:abstract=/tmp/dbus-x": "@/tmp/dbus-x",
		"unix:runtime=yes":          "/run/user/7/bus",
		"unix:runtime=no":           "",
		"unix:dir=/tmp":             "",
		"unix:path=%":               "",
		"launchd:env=X":             "",
		"":                          "",
	} {
		if got := busSocket(addr, env); got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
	live := "unix:path=" + listenBus(t, true)
	got, err := sessionBus(t.Context(), []string{"DBUS_SESSION_BUS_ADDRESS=tcp:host=x;unix:path=/nonexistent;" + live})
	if err != nil || got != live {
		t.Errorf("%q %v", got, err)
	}
}

// The child of a killed agent goes by itself: its stdin ends.
func TestChildOfAKilledParentGoes(t *testing.T) {
	m := newMachine(t)
	m.mode = "hang"
	exe, err := os.Executable()
	must(t, err)
	o := m.options(KindKeyring)
	cmd := exec.Command(exe, append([]string{"parent"}, append([]string{m.state, m.bus}, o.Child...)...)...)
	cmd.Stderr = os.Stderr
	must(t, cmd.Start())
	eventually(t, "a child", func() bool { return m.children() > 1 }) // the parent has the marker too
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	m.noChildren()
}

// children counts processes with the marker.
func (m *machine) children() int {
	list, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(m.t, err)
	n := 0
	for _, p := range list {
		if data, err := os.ReadFile(p); err == nil && strings.Contains(string(data), m.marker) {
			n++
		}
	}
	return n
}

// The real gnome-keyring, in a session of its own (M5, T5).
func TestRealKeyring(t *testing.T) {
	if os.Getenv("REGMINT_TEST_REAL_KEYRING") != "" {
		realKeyring(t)
		return
	}
	for _, program := range []string{"dbus-run-session", "gnome-keyring-daemon", "dbus-daemon"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("SKIPPED LOUDLY: no %s; install it: apt-get install -y dbus gnome-keyring", program)
		}
	}
	if out, err := exec.Command("dbus-run-session", "--", "true").CombinedOutput(); err != nil {
		t.Skipf("SKIPPED LOUDLY: no D-Bus session starts here (%v: %s); run the tests as a user with a passwd entry", err, out)
	}
	exe, err := os.Executable()
	must(t, err)
	for _, state := range []string{"unlocked", "locked"} {
		t.Run(state, func(t *testing.T) {
			home, err := os.MkdirTemp("", "rk")
			must(t, err)
			t.Cleanup(func() { _ = os.RemoveAll(home) })
			must(t, os.Mkdir(filepath.Join(home, "run"), 0o700))
			start := "printf pw | gnome-keyring-daemon --unlock --components=secrets --foreground >/dev/null 2>&1 & "
			if state == "locked" {
				// Make the login collection, then serve it to a daemon without the
				// password.
				start = "printf pw | gnome-keyring-daemon --unlock --components=secrets --foreground >/dev/null 2>&1 & K=$!; " +
					exe + ` -test.run='^TestRealKeyring$' >/dev/null; kill $K; wait $K; ` +
					"export REGMINT_TEST_REAL_KEYRING=locked; gnome-keyring-daemon --start --components=secrets --foreground >/dev/null 2>&1 & "
			}
			script := start + "K=$!; " + exe + ` -test.v -test.run='^TestRealKeyring$'; CODE=$?; kill $K; wait $K; exit $CODE`
			cmd := exec.Command("dbus-run-session", "--", "sh", "-c", script)
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_RUNTIME_DIR=" + filepath.Join(home, "run"), "REGMINT_TEST_REAL_KEYRING=unlocked"}
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "real keyring: done") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// realKeyring runs inside the session.
func realKeyring(t *testing.T) {
	m := newMachine(t)
	m.mode = "real"
	m.env = []string{"HOME=" + os.Getenv("HOME"), "DBUS_SESSION_BUS_ADDRESS=" + os.Getenv("DBUS_SESSION_BUS_ADDRESS")}
	if os.Getenv("REGMINT_TEST_REAL_KEYRING") == "locked" {
		// Known by name from the run before.
		var err error
		eventually(t, "the locked keyring answers", func() bool {
			_, err = m.open(KindKeyring).Get(t.Context(), "kept")
			return errors.Is(err, ErrLocked)
		})
		t.Log(err)
		t.Log("real keyring: done")
		return
	}
	// The daemon takes its name on the bus a moment after its start.
	var s Store
	var last error
	eventually(t, "the keyring answers", func() bool {
		s = m.open(KindKeyring)
		last = s.Set(t.Context(), "kept", secret("x"))
		return last == nil
	})
	if last != nil {
		t.Fatal(last)
	}
	for name, text := range map[string]string{"1 B": "x", "2,560 B": size(2560), "3 kB": size(3000), "4 kB": size(4096), "at the limit": size(ringLimit), "70 kB": size(70000), "unicode": "é世", "quotes": `'"\$`} {
		note, err := SetNoted(t.Context(), s, name, secret(text))
		if err != nil || get(t, s, name) != text || (note != "") != (len(text) > ringLimit) {
			t.Errorf("%s: %q %v", name, note, err)
		}
	}
	must(t, s.Delete(t.Context(), "1 B"))
	_, err := s.Get(t.Context(), "1 B")
	wantError(t, err, ErrNotFound, providers.LoginRequired)
	_, err = s.Get(t.Context(), "never")
	wantError(t, err, ErrNotFound, providers.LoginRequired)
	set(t, s, "4 kB", "replaced")
	if get(t, m.open(KindKeyring), "4 kB") != "replaced" {
		t.Error("not replaced")
	}
	o := m.options(KindKeyring)
	o.Interactive = true
	if got := get(t, openStore(t, o), "4 kB"); got != "replaced" {
		t.Errorf("with a person: %q", got)
	}
	a := newMachine(t)
	a.mode, a.env = m.mode, m.env
	set(t, a.open(KindAuto), "auto", "x")
	if a.decided() != KindKeyring {
		t.Errorf("auto decided for %q", a.decided())
	}
	m.noChildren()
	t.Log("real keyring: done")
}
