// SPDX-License-Identifier: Apache-2.0

package store

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/regmint/regmint/providers"
)

func rootOnly(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED LOUDLY: this needs root: sudo go test ./agent/store")
	}
}

func TestWhatRootSavesInAHomeBelongsToItsOwner(t *testing.T) {
	rootOnly(t)
	m := newMachine(t)
	home := filepath.Dir(m.state)
	must(t, os.Chown(home, 1001, 1002))
	m.state = filepath.Join(home, "deep", "state")
	set(t, m.open(KindAuto), "small", "x")
	set(t, m.open(KindAuto), "large", size(100_000))
	must(t, filepath.WalkDir(m.state, func(path string, d os.DirEntry, err error) error {
		must(t, err)
		info, err := d.Info()
		must(t, err)
		if st := info.Sys().(*syscall.Stat_t); st.Uid != 1001 || st.Gid != 1002 {
			t.Errorf("%s belongs to %d:%d", path, st.Uid, st.Gid)
		}
		return nil
	}))
}

// T4: a full disk is told; what was saved stays, and nothing half-written.
func TestFullDiskIsToldAndTheOldSecretStays(t *testing.T) {
	rootOnly(t)
	m := newMachine(t)
	must(t, os.MkdirAll(m.state, 0o700))
	if err := syscall.Mount("tmpfs", m.state, "tmpfs", 0, "size=64k,mode=0700"); err != nil {
		t.Skip("SKIPPED LOUDLY: no mount allowed here:", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(m.state, syscall.MNT_DETACH)) })
	for _, kind := range []string{KindFile, KindKeyring} {
		s := m.open(kind)
		set(t, s, "a", "old")
		for range 3 {
			wantError(t, s.Set(t.Context(), "a", secret(size(100_000))), syscall.ENOSPC, providers.Unavailable, "no space left", m.state)
		}
		if get(t, s, "a") != "old" {
			t.Errorf("%s: the old secret is gone", kind)
		}
		left, err := filepath.Glob(m.path(tempPrefix + "*"))
		if err != nil || len(left) > 0 {
			t.Errorf("%s: left behind: %v %v", kind, left, err)
		}
		set(t, s, "a", "new")
	}
}
