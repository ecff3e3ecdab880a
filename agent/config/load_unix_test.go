// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package config

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func mkfifo(t *testing.T, path string) { must(t, syscall.Mkfifo(path, 0o600)) }

func unreadable(t *testing.T, path string) {
	if os.Geteuid() == 0 {
		t.Skip("SKIPPED LOUDLY: root reads everything; run the tests as another user too")
	}
	write(t, path, "x = 1\n")
	must(t, os.Chmod(path, 0))
}

const withAccount = "[[account]]\nhosts = [\"a.example\"]\n"

// H58: what decides where credentials go must be out of others' reach.
func TestFileThatOthersCanChangeIsRefusedWhereItNamesAccounts(t *testing.T) {
	for name, c := range map[string]struct {
		expose func(t *testing.T, path string)
		want   string
	}{
		"world-writable":           {func(t *testing.T, p string) { must(t, os.Chmod(p, 0o606)) }, "writable by everybody (mode 0606)"},
		"group-writable":           {func(t *testing.T, p string) { must(t, os.Chmod(p, 0o660)) }, "writable by its group"},
		"world-writable directory": {func(t *testing.T, p string) { must(t, os.Chmod(filepath.Dir(p), 0o777)) }, "its directory is writable by everybody"},
		"another's":                {func(t *testing.T, p string) { chown(t, p) }, "belongs to uid 12345"},
		"another's directory":      {func(t *testing.T, p string) { chown(t, filepath.Dir(p)) }, "belongs to uid 12345"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, text := range []string{withAccount, "[docker]\nbehind = { \"*\" = \"x\" }\n", "[network]\nno_proxy = \"x\"\n", "[agent]\nstore_key = \"file:/x\"\n"} {
				l := newLayers(t).user(text)
				c.expose(t, l.paths().User)
				wantText(t, l.fails().Error(), "refused", c.want)
			}
			l := newLayers(t).user("[agent]\nstore = \"file\"\n")
			c.expose(t, l.paths().User)
			if got := l.ok(); got.Agent.Store != "file" || len(got.Warnings) != 1 {
				t.Errorf("harmless settings: %+v", got)
			} else {
				wantText(t, got.Warnings[0], c.want)
			}
		})
	}
}

func chown(t *testing.T, path string) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED LOUDLY: giving a file away needs root: sudo go test ./agent/config")
	}
	must(t, os.Chown(path, 12345, 12345))
}

func TestTargetOfALinkIsJudged(t *testing.T) {
	l := newLayers(t)
	real := write(t, filepath.Join(l.dir, "shared", "c.toml"), withAccount)
	must(t, os.MkdirAll(filepath.Dir(l.paths().User), 0o700))
	must(t, os.Symlink(real, l.paths().User))
	l.ok()
	must(t, os.Chmod(filepath.Dir(real), 0o777))
	wantText(t, l.fails().Error(), "its directory is writable by everybody")
}

func TestStickyDirectoryIsTaken(t *testing.T) {
	l := newLayers(t).user(withAccount)
	must(t, os.Chmod(filepath.Dir(l.paths().User), 0o777|os.ModeSticky))
	l.ok()
}

func TestExposureIsToldWithTheCommandThatMendsIt(t *testing.T) {
	l := newLayers(t).user(withAccount)
	must(t, os.Chmod(l.paths().User, 0o666))
	if got := l.fails()[0].Hint; !strings.Contains(got, "chmod go-w "+l.paths().User) {
		t.Errorf("hint %q", got)
	}
}
