// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPurgeRemovesOnlyWhatIsOurs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	for _, name := range []string{"store.age", "store.key", "install.json", "agent.log", "revoke/x", "diary.txt", "photos/cat"} {
		write(t, filepath.Join(dir, name), "x")
	}
	left, err := removeState(dir)
	if err != nil || !slices.Equal(left, []string{"diary.txt", "photos"}) {
		t.Errorf("left %q, %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "photos", "cat")); err != nil {
		t.Error(err)
	}
	for _, name := range left {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := removeState(dir); err != nil || len(left) > 0 {
		t.Errorf("left %q, %v", left, err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}
	if _, err := removeState(dir); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

func TestTailShowsTheEndOfALog(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	if _, err := tail(file, 3); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("err = %v", err)
	}
	write(t, file, "")
	if got, err := tail(file, 3); got != "" || err != nil {
		t.Errorf("an empty log is %q, %v", got, err)
	}
	write(t, file, "one\ntwo\nthree \x1b[31m\nfour\n")
	if got, err := tail(file, 2); got != "three \\x1b[31m\nfour\n" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if got, _ := tail(file, 99); strings.Count(got, "\n") != 4 {
		t.Errorf("got %q", got)
	}
	write(t, file, strings.Repeat("0123456789abcde\n", maxTail/16)+"last\n")
	got, err := tail(file, 1<<30)
	if err != nil || len(got) > maxTail || !strings.HasPrefix(got, "0123456789abcde\n") || !strings.HasSuffix(got, "last\n") {
		t.Errorf("a long log: %d bytes, %v", len(got), err)
	}
}

func TestServiceUnitIsWrittenAndRemovedOnlyWhereItIsOurs(t *testing.T) {
	a, _, _ := testApp(t)
	u := &serviceUnit{path: a.unitPath(), text: unitMark + "\n[Unit]\n"}
	for range 2 { // again is fine
		if err := u.write(a); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.removeUnit(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(u.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the unit is still there: %v", err)
	}
	write(t, u.path, "[Unit]\nDescription=theirs\n")
	if err := u.write(a); err == nil {
		t.Error("somebody else's unit was replaced")
	}
	if err := a.removeUnit(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(u.path); err != nil {
		t.Errorf("somebody else's unit was removed: %v", err)
	}
}

func TestAnUnwritableDirectoryIsToldBeforeAnythingChanges(t *testing.T) {
	a, _, _ := testApp(t)
	dir := t.TempDir()
	if err := a.checkWritable(filepath.Join(dir, "new", "docker")); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(filepath.Join(dir, "new", "docker"))
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	write(t, filepath.Join(dir, "file"), "x")
	if err := a.checkWritable(filepath.Join(dir, "file", "docker")); err == nil || !strings.Contains(err.Error(), "cannot be written") {
		t.Errorf("err = %v", err)
	}
}
