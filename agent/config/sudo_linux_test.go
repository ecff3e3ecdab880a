// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestWhatRootWritesInAHomeBelongsToItsOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED LOUDLY: giving files away needs root: sudo go test ./agent/config")
	}
	home := filepath.Join(t.TempDir(), "home")
	must(t, os.Mkdir(home, 0o700))
	must(t, os.Chown(home, 1001, 1002))
	f := SavedFile{Path: filepath.Join(home, "config", "config.d", "regmint.toml"), StateDir: filepath.Join(home, "a", "state"), Providers: products()}
	// The second write meets what the first one left to its owner: root's view
	// of somebody else's file, which only its content can decide.
	write := func(data string) error { return f.write([]byte(data)) }
	must(t, makeDir(f.StateDir))
	unlock, err := lockFile(t.Context(), filepath.Join(f.StateDir, "config.lock"))
	must(t, err)
	must(t, write("# x\n"))
	unlock()
	must(t, filepath.WalkDir(home, func(path string, d os.DirEntry, err error) error {
		must(t, err)
		info, err := d.Info()
		must(t, err)
		if st := info.Sys().(*syscall.Stat_t); st.Uid != 1001 || st.Gid != 1002 {
			t.Errorf("%s belongs to %d:%d", path, st.Uid, st.Gid)
		}
		return nil
	}))
	if _, err := os.Stat(f.Path); err != nil {
		t.Error(err)
	}
}
