// SPDX-License-Identifier: Apache-2.0

package store

import (
	"os"
	"strings"
	"testing"

	"github.com/regmint/regmint/providers"
)

func (m *machine) decided() string {
	kind, err := readRecord(m.state)
	must(m.t, err)
	return kind
}

// Rule 10: auto is decided once, at the first login, and recorded.
func TestAutoTakesTheKeyringThatAnswers(t *testing.T) {
	m := newMachine(t)
	s := m.open(KindAuto)
	wantText(t, s.Describe(), "not decided yet")
	if m.decided() != "" {
		t.Error("decided without a login")
	}
	note, err := SetNoted(t.Context(), s, "reg.example", secret("x"))
	if err != nil || note != "" || m.decided() != KindKeyring {
		t.Errorf("%q %v %q", note, err, m.decided())
	}
	if exists(m.path(dataFile)) || exists(m.path(keyFile)) {
		t.Error("a file was made")
	}
	wantText(t, s.Describe(), ringName)
}

func TestAutoTakesTheFileWhereNoKeyringAnswersAndSaysSo(t *testing.T) {
	for name, change := range map[string]func(*machine, *Options){
		"no helper": func(_ *machine, o *Options) { o.Child = nil },
		"broken":    func(m *machine, o *Options) { m.mode = "broken"; *o = m.options(KindAuto) },
		"crash":     func(m *machine, o *Options) { m.mode = "crash"; *o = m.options(KindAuto) },
		"no bus": func(_ *machine, o *Options) {
			o.Env = []string{"DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent/bus"}
			if !usesBus {
				o.Child = nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			o := m.options(KindAuto)
			change(m, &o)
			s := openStore(t, o)
			note, err := SetNoted(t.Context(), s, "reg.example", secret("x"))
			if err != nil || m.decided() != KindFile {
				t.Fatalf("%v %q", err, m.decided())
			}
			wantText(t, note, "logins are kept in the encrypted file", keyFile)
			note, err = SetNoted(t.Context(), s, "reg.example", secret("y"))
			if err != nil || note != "" || get(t, s, "reg.example") != "y" {
				t.Errorf("the second login: %q %v", note, err)
			}
			// A keyring that appears later changes nothing.
			m.mode = "ok"
			if s := m.open(KindAuto); get(t, s, "reg.example") != "y" {
				t.Error("the file was left")
			}
		})
	}
}

func TestAutoPrefersTheFileWhereAKeyIsConfigured(t *testing.T) {
	m := newMachine(t)
	key, err := NewKey()
	must(t, err)
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/"+credentialName, []byte(key.Reveal()), 0o400))
	o := m.options(KindAuto)
	o.Env = append(o.Env, "CREDENTIALS_DIRECTORY="+dir)
	note, err := SetNoted(t.Context(), openStore(t, o), "a", secret("x"))
	must(t, err)
	wantText(t, note, "a key for the encrypted file is configured")
	if m.decided() != KindFile {
		t.Errorf("decided %q", m.decided())
	}
}

func TestLockedKeyringDecidesNothing(t *testing.T) {
	m := newMachine(t)
	m.mode = "locked"
	s := m.open(KindAuto)
	wantError(t, s.Set(t.Context(), "reg.example", secret("x")), ErrLocked, providers.LoginRequired, "keyring locked")
	if m.decided() != "" || exists(m.path(dataFile)) {
		t.Error("a locked keyring was passed over")
	}
	m.mode = "ok"
	set(t, m.open(KindAuto), "reg.example", "x")
	if m.decided() != KindKeyring {
		t.Errorf("decided %q", m.decided())
	}
}

func TestCallerThatLeavesDecidesNothing(t *testing.T) {
	m := newMachine(t)
	m.mode = "hang"
	wantError(t, m.open(KindAuto).Set(quick(t), "reg.example", secret("x")), ErrUnavailable, providers.Unavailable)
	if m.decided() != "" {
		t.Errorf("decided %q", m.decided())
	}
}

// Rule 10: a keyring that stops answering is an error, never a silent switch.
func TestKeyringThatStopsAnsweringIsNeverReplaced(t *testing.T) {
	m := newMachine(t)
	set(t, m.open(KindAuto), "reg.example", "x")
	for _, mode := range []string{"broken", "crash", "locked", "garbage"} {
		m.mode = mode
		s := m.open(KindAuto)
		if _, err := s.Get(t.Context(), "reg.example"); err == nil {
			t.Errorf("%s: answered", mode)
		}
		if err := s.Set(t.Context(), "reg.example", secret("y")); err == nil {
			t.Errorf("%s: kept elsewhere", mode)
		}
	}
	o := m.options(KindAuto)
	o.Child = nil
	_, err := Open(o)
	wantError(t, err, ErrUnavailable, providers.Misconfigured, "logins are kept in the keyring")
	if exists(m.path(dataFile)) || m.decided() != KindKeyring {
		t.Error("switched")
	}
	m.mode = "ok"
	if get(t, m.open(KindAuto), "reg.example") != "x" {
		t.Error("the secret is gone")
	}
}

func TestDecisionOfAnotherProcessIsSeen(t *testing.T) {
	m := newMachine(t)
	s := m.open(KindAuto)
	m.mode = "broken"
	set(t, m.open(KindAuto), "reg.example", "x") // decides for the file
	if get(t, s, "reg.example") != "x" {
		t.Error("the other's decision is not seen")
	}
}

func TestDamagedRecordIsAnErrorAndNoSecondDecision(t *testing.T) {
	m := newMachine(t)
	set(t, m.open(KindAuto), "reg.example", "x")
	for _, text := range []string{"", "keychain\n", strings.Repeat("x", 100)} {
		must(t, os.WriteFile(m.path(recordFile), []byte(text), 0o600))
		if s, err := Open(m.options(KindAuto)); err == nil {
			t.Errorf("%q: opened %T", text, s)
		} else {
			wantText(t, err.Error(), m.path(recordFile))
		}
	}
}

func TestPassphraseDecidesForTheFile(t *testing.T) {
	m := newMachine(t)
	s := m.open(KindAuto).(*auto)
	s.file.workFactor = 10
	if s.Locked() {
		t.Error("locked from the start")
	}
	must(t, s.SetPassphrase(t.Context(), secret("pw")))
	set(t, s, "reg.example", "x")
	if m.decided() != KindFile {
		t.Errorf("decided %q", m.decided())
	}
	s.Lock()
	_, err := s.Get(t.Context(), "reg.example")
	wantError(t, err, ErrLocked, providers.LoginRequired)
	must(t, s.Unlock(t.Context(), secret("pw")))
	if get(t, s, "reg.example") != "x" {
		t.Error("after unlocking")
	}
}
