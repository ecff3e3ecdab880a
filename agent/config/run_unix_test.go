// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package config

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
)

var plainPath = []string{"PATH=/usr/bin:/bin", "HOME=/h"}

func runFails(t *testing.T, env []string, c providers.Command, kind providers.Kind) string {
	t.Helper()
	out, err := Run(t.Context(), env, c)
	if err == nil {
		t.Fatalf("it ran: %q", out)
	}
	if providers.KindOf(err) != kind {
		t.Errorf("kind %s: %v", providers.KindOf(err), err)
	}
	return err.Error()
}

func TestProvidersProgramGetsTheAgentsSurroundingsAndItsOwnVariables(t *testing.T) {
	c := providers.Command{Path: script(t, `printf '%s|' "$HOME" "$ONE" "$2"; printf 'a\nb\n'`), Args: []string{"x", `a b;$(id)`}, Env: []string{"ONE=1", "HOME=/own"}}
	got, err := Run(t.Context(), plainPath, c)
	must(t, err)
	if string(got) != "/own|1|a b;$(id)|a\nb\n" {
		t.Errorf("%q", got)
	}
}

func TestProgramIsLookedUpInTheAgentsPathAndNeverInTheWorkingDirectory(t *testing.T) {
	good, here := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(good, "az"), []byte("#!/bin/sh\necho good\n"), 0o700))
	must(t, os.WriteFile(filepath.Join(here, "az"), []byte("#!/bin/sh\necho evil\n"), 0o700))
	must(t, os.MkdirAll(filepath.Join(here, "sub"), 0o700))
	must(t, os.WriteFile(filepath.Join(here, "sub", "az"), []byte("#!/bin/sh\necho evil\n"), 0o700))
	plain := t.TempDir() // a file that is no program, and a directory, do not count
	must(t, os.WriteFile(filepath.Join(plain, "az"), []byte("x"), 0o600))
	must(t, os.MkdirAll(filepath.Join(plain, "gcloud"), 0o700))
	t.Chdir(here)
	t.Setenv("PATH", here)
	for _, path := range []string{"", ".", "sub", ":", "::"} {
		_, err := Run(t.Context(), []string{"PATH=" + path}, providers.Command{Path: "az"})
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("PATH=%q: %v", path, err)
		}
	}
	got, err := Run(t.Context(), []string{"PATH=/ignored", "PATH=.::" + plain + ":" + good + ":/bin"}, providers.Command{Path: "az"})
	must(t, err)
	if string(got) != "good\n" {
		t.Errorf("%q", got)
	}
	for _, name := range []string{"sub/az", "./az", "..", ".", "", `sub\az`} {
		wantText(t, runFails(t, plainPath, providers.Command{Path: name}, providers.Misconfigured), "bare name")
	}
	if _, err := Run(t.Context(), []string{"PATH=" + plain}, providers.Command{Path: "gcloud"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory was taken for a program: %v", err)
	}
}

func TestProgramThatIsNotThereSaysSoToErrorsIs(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "none")
	_, err := Run(t.Context(), plainPath, providers.Command{Path: gone})
	if !errors.Is(err, fs.ErrNotExist) || providers.KindOf(err) != providers.Misconfigured {
		t.Errorf("%v", err)
	}
	wantText(t, err.Error(), gone+": no such program")
	_, err = Resolver{}.Resolve(t.Context(), ref(t, "exec:"+gone))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("exec: %v", err)
	}
}

func TestProvidersProgramIsBoundedInTimeAndOutput(t *testing.T) {
	c := providers.Command{Path: script(t, "exec sleep 600"), Limit: 200 * time.Millisecond}
	wantText(t, runFails(t, plainPath, c, providers.Unavailable), "did not end within 200ms")
	c = providers.Command{Path: script(t, "exec yes")}
	wantText(t, runFails(t, plainPath, c, providers.Misconfigured), "more than 1 MiB")
	c = providers.Command{Path: script(t, "head -c 300000 /dev/zero")} // more than a secret may have
	if out, err := Run(t.Context(), plainPath, c); err != nil || len(out) != 300000 {
		t.Errorf("%d bytes, %v", len(out), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, plainPath, c); !errors.Is(err, context.Canceled) || providers.KindOf(err) != providers.Unavailable {
		t.Errorf("%v", err)
	}
}

func TestProvidersProgramThatFailsIsQuotedWithoutSecrets(t *testing.T) {
	token := "eyJ" + strings.Repeat("a1B2", 10)
	c := providers.Command{Path: script(t, "echo; echo 'ERROR: session expired for "+token+"' >&2; echo second >&2; exit 2")}
	got := runFails(t, plainPath, c, providers.Unavailable)
	wantText(t, got, "exit status 2: ERROR: session expired for [redacted]")
	if strings.Contains(got, "second") || strings.Contains(got, token) {
		t.Error(got)
	}
}
