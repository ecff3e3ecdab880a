// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
)

// quick is a context for a keychain that hangs: the test waits no 2 s.
func quick(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// T5: each trouble has its own words, and none hangs or leaves a process.
func TestKeyringInTroubleIsNamed(t *testing.T) {
	for mode, c := range map[string]struct {
		cause error
		kind  providers.Kind
		want  string
	}{
		"locked":  {ErrLocked, providers.LoginRequired, "keyring locked"},
		"broken":  {ErrUnavailable, providers.Unavailable, "keyring unavailable: The name org.freedesktop.secrets was not provided"},
		"hang":    {ErrUnavailable, providers.Unavailable, "keyring unavailable: it did not answer in time"},
		"deaf":    {ErrUnavailable, providers.Unavailable, "keyring unavailable: it did not answer in time"},
		"garbage": {ErrUnavailable, providers.Unavailable, "keyring unavailable: its helper gave no answer"},
		"flood":   {ErrUnavailable, providers.Unavailable, "keyring unavailable"},
		"crash":   {ErrUnavailable, providers.Unavailable, "keyring unavailable: its helper gave no answer"},
	} {
		t.Run(mode, func(t *testing.T) {
			m := newMachine(t)
			set(t, m.open(KindKeyring), "reg.example", "old")
			m.mode = mode
			s := m.open(KindKeyring)
			ctx := t.Context()
			if mode == "hang" || mode == "deaf" {
				ctx = quick(t)
			}
			_, err := s.Get(ctx, "reg.example")
			wantError(t, err, c.cause, c.kind, c.want)
			if mode == "hang" || mode == "deaf" {
				ctx = quick(t)
			}
			wantError(t, s.Set(ctx, "reg.example", secret("hunter2")), c.cause, c.kind)
			m.noChildren()
			m.mode = "ok"
			if got := get(t, m.open(KindKeyring), "reg.example"); got != "old" {
				t.Errorf("the old secret is %q", got)
			}
		})
	}
}

// A person gets two minutes; a keyring that hangs does not.
func TestHangingKeyringIsNotTakenForAPerson(t *testing.T) {
	for mode, want := range map[string]error{"hang": ErrUnavailable, "deaf": ErrUnavailable, "locked": ErrLocked, "ok": nil} {
		m := newMachine(t)
		m.mode = mode
		o := m.options(KindKeyring)
		o.Interactive = true
		s := openStore(t, o).(*keyringStore)
		s.chain.quick = 300 * time.Millisecond
		if mode == "ok" || mode == "locked" {
			s.chain.quick = quickLimit
		}
		if err := s.Set(t.Context(), "reg.example", secret("x")); !errors.Is(err, want) {
			t.Errorf("%s: %v", mode, err)
		}
		m.noChildren()
	}
	m := newMachine(t)
	m.mode = "prompt"
	o := m.options(KindKeyring)
	o.Interactive = true
	s := openStore(t, o).(*keyringStore)
	ctx, cancel := context.WithTimeout(t.Context(), 3*quickLimit/2)
	defer cancel()
	if _, err := s.Get(ctx, "reg.example"); !errors.Is(err, ErrUnavailable) || ctx.Err() == nil {
		t.Errorf("a prompt was given up before its person was: %v", err)
	}
	m.noChildren()
}

// noChildren looks for processes of this test's keyring.
func (m *machine) noChildren() {
	m.t.Helper()
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		return
	}
	eventually(m.t, "no child of the keyring left", func() bool {
		list, err := filepath.Glob("/proc/[0-9]*/cmdline")
		must(m.t, err)
		for _, p := range list {
			if data, err := os.ReadFile(p); err == nil && bytes.Contains(data, []byte(m.marker)) {
				return false
			}
		}
		return true
	})
}

func TestDismissedPromptIsNoLogin(t *testing.T) {
	m := newMachine(t)
	m.mode = "dismissed"
	s := m.open(KindKeyring)
	wantError(t, s.Set(t.Context(), "reg.example", secret("x")), ErrLocked, providers.LoginRequired, "keyring locked")
	if names, err := s.Names(t.Context()); err != nil || len(names) != 0 {
		t.Errorf("names %v %v", names, err)
	}
}

// A keyring that stopped may have kept the secret: the name stays known, so
// that logout and uninstall --purge reach it.
func TestNameOfAnUncertainSecretIsKept(t *testing.T) {
	m := newMachine(t)
	m.mode = "hang"
	s := m.open(KindKeyring)
	wantError(t, s.Set(quick(t), "reg.example", secret("x")), ErrUnavailable, providers.Unavailable)
	if names, err := s.Names(t.Context()); err != nil || len(names) != 1 {
		t.Errorf("names %v %v", names, err)
	}
}

// H18 and rule 10: what is too large goes to the encrypted file, said so.
func TestLargeSecretsGoToTheFileAndComeBack(t *testing.T) {
	m := newMachine(t)
	s := m.open(KindKeyring)
	ctx := t.Context()
	step := func(text string) string {
		t.Helper()
		note, err := SetNoted(ctx, s, "reg.example", secret(text))
		must(t, err)
		if get(t, s, "reg.example") != text {
			t.Fatalf("%d bytes are not there", len(text))
		}
		if names, err := s.Names(ctx); err != nil || len(names) != 1 {
			t.Fatalf("names %v %v", names, err)
		}
		return note
	}
	inFile := func() int {
		names, err := m.file().Names(ctx)
		must(t, err)
		return len(names)
	}
	inRing := func() int {
		entries, err := os.ReadDir(m.ring)
		must(t, err)
		return len(entries)
	}
	if note := step("small"); note != "" || inFile() != 0 || inRing() != 1 {
		t.Errorf("small: %q", note)
	}
	note := step(size(100_000))
	wantText(t, note, "secret too large for this keyring: 100000 >", "bytes", dataFile)
	if inFile() != 1 || inRing() != 0 {
		t.Errorf("large: %d in the file, %d in the keyring", inFile(), inRing())
	}
	wantText(t, s.Describe(), ringName, "large secrets in the encrypted file")
	if note := step("small again"); note != "" || inFile() != 0 || inRing() != 1 {
		t.Errorf("small again: %q, %d in the file, %d in the keyring", note, inFile(), inRing())
	}
	step(size(100_000))
	must(t, s.Delete(ctx, "reg.example"))
	if inFile() != 0 || inRing() != 0 {
		t.Error("deleted")
	}
}

func TestLimitOfTheKeyringItselfIsHeeded(t *testing.T) {
	m := newMachine(t)
	m.mode = "small"
	s := m.open(KindKeyring)
	note, err := SetNoted(t.Context(), s, "reg.example", secret(size(101)))
	must(t, err)
	wantText(t, note, "too large", "101")
	if get(t, s, "reg.example") != size(101) {
		t.Error("not there")
	}
}

func TestLockedFileOfLargeSecretsIsSaid(t *testing.T) {
	m := newMachine(t)
	s := m.open(KindKeyring).(*keyringStore)
	s.large.workFactor = 10
	set(t, s, "large", size(100_000))
	set(t, s, "small", "x")
	must(t, s.SetPassphrase(t.Context(), secret("pw")))
	s.Lock()
	if !s.Locked() || get(t, s, "small") != "x" {
		t.Error("small secrets need no passphrase")
	}
	_, err := s.Get(t.Context(), "large")
	wantError(t, err, ErrLocked, providers.LoginRequired)
	must(t, s.Unlock(t.Context(), secret("pw")))
	if get(t, s, "large") != size(100_000) {
		t.Error("after unlocking")
	}
}

// H67 for the index: the secrets are found by name without it.
func TestDamagedIndexLosesNoSecret(t *testing.T) {
	for name, text := range map[string]string{"cut": `{"schema":1,"na`, "empty": "", "null": "null", "other": `{"schema":1}`} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			s := m.open(KindKeyring)
			set(t, s, "small", "x")
			set(t, s, "large", size(100_000))
			must(t, os.WriteFile(m.path(indexFile), []byte(text), 0o600))
			if get(t, s, "small") != "x" || get(t, s, "large") != size(100_000) {
				t.Error("a secret is lost")
			}
			_, err := s.Names(t.Context())
			wantError(t, err, nil, providers.Misconfigured, "the names of the saved logins are unknown")
			note, err := SetNoted(t.Context(), s, "small", secret("y"))
			must(t, err)
			wantText(t, note, "was damaged", ".bad-2")
			if get(t, s, "small") != "y" || get(t, s, "large") != size(100_000) || len(m.bad()) != 1 {
				t.Error("after the next login")
			}
		})
	}
	m := newMachine(t)
	s := m.open(KindKeyring)
	set(t, s, "small", "x")
	newer := []byte(`{"schema":2,"names":{}}`)
	must(t, os.WriteFile(m.path(indexFile), newer, 0o600))
	wantError(t, s.Set(t.Context(), "small", secret("y")), nil, providers.Misconfigured, "newer regmint")
	if !bytes.Equal(m.read(indexFile), newer) {
		t.Error("a newer version's index was changed")
	}
}

func TestIndexHoldsNoSecret(t *testing.T) {
	m := newMachine(t)
	set(t, m.open(KindKeyring), "reg.example", "hunter2")
	entries, err := os.ReadDir(m.state)
	must(t, err)
	for _, e := range entries {
		if strings.Contains(string(m.read(e.Name())), "hunter2") {
			t.Errorf("%s holds the secret", e.Name())
		}
	}
	if strings.Contains(m.log.String(), "hunter2") {
		t.Error("the log holds the secret")
	}
}

// childTalk runs the child's body on a request.
func childTalk(t *testing.T, bus bool, request string) (childAnswer, int) {
	t.Helper()
	in, feed := io.Pipe()
	go func() { _, _ = io.WriteString(feed, request) }()
	t.Cleanup(func() { _ = feed.Close() })
	var out bytes.Buffer
	code := serveRing(t.Context(), fakeRing{"ok", t.TempDir()}, bus, in, &out)
	var a childAnswer
	if code == 0 {
		must(t, json.Unmarshal(out.Bytes(), &a))
	} else if out.Len() > 0 {
		t.Errorf("exit %d with %q", code, out.String())
	}
	return a, code
}

// M5: without an address the D-Bus library would start a bus that nobody ends.
func TestChildTouchesNoKeyringWithoutABus(t *testing.T) {
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
	for _, req := range []string{`{"op":"get","name":"x"}`, `{"op":"get","name":"x","bus":"autolaunch:"}`} {
		if a, code := childTalk(t, true, req+"\n"); code != 0 || a.Outcome != outcomeFailed {
			t.Errorf("%s: %+v %d", req, a, code)
		}
	}
	if a, code := childTalk(t, true, `{"op":"get","name":"x","bus":"unix:path=/b"}`+"\n"); code != 0 || a.Outcome != outcomeNotFound {
		t.Errorf("%+v %d", a, code)
	}
	if got := os.Getenv("DBUS_SESSION_BUS_ADDRESS"); got != "unix:path=/b" {
		t.Errorf("the library would use %q", got)
	}
}

func TestChildAnswersOneRequest(t *testing.T) {
	if a, code := childTalk(t, false, `{"op":"fly","name":"x"}`+"\n"); code != 0 || a.Outcome != outcomeFailed {
		t.Errorf("%+v %d", a, code)
	}
	if _, code := childTalk(t, false, "hello\n"); code != 1 {
		t.Errorf("exit %d", code)
	}
	if _, code := childTalk(t, false, strings.Repeat("x", maxChild)+"\n"); code != 1 {
		t.Errorf("exit %d", code)
	}
	var out bytes.Buffer
	if code := serveRing(t.Context(), fakeRing{"ok", ""}, false, strings.NewReader(`{"op":"get"`), &out); code != 1 || out.Len() != 0 {
		t.Errorf("exit %d, %q", code, out.String())
	}
}

// A parent that is killed closes stdin: the child goes, whatever hangs.
func TestChildEndsWithItsParent(t *testing.T) {
	in, feed := io.Pipe()
	go func() {
		_, _ = io.WriteString(feed, `{"op":"get","name":"x"}`+"\n")
		_ = feed.Close()
	}()
	if code := serveRing(t.Context(), fakeRing{"hang", ""}, false, in, io.Discard); code != 1 {
		t.Errorf("exit %d", code)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	in, feed = io.Pipe()
	defer feed.Close()
	go func() { _, _ = io.WriteString(feed, `{"op":"get","name":"x"}`+"\n") }()
	if code := serveRing(ctx, fakeRing{"hang", ""}, false, in, io.Discard); code != 1 {
		t.Errorf("exit %d", code)
	}
}

func TestErrorsOfTheLibraryAreSorted(t *testing.T) {
	for text, want := range map[string]string{
		"failed to unlock correct collection '/x'":                          outcomeLocked,
		"org.freedesktop.Secret.Error.IsLocked":                             outcomeLocked,
		"Cannot create an item in a locked collection":                      outcomeFailed,
		"dial unix /run/user/1/bus: connect: connection refused":            outcomeFailed,
		"The name org.freedesktop.secrets was not provided by any .service": outcomeFailed,
	} {
		if got := failedAnswer(errors.New(text)).Outcome; got != want {
			t.Errorf("%s: %s", text, got)
		}
	}
}
