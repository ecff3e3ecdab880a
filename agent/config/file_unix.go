// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package config

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// openNonBlock keeps an open of a FIFO that took the file's place from hanging.
const openNonBlock = syscall.O_NONBLOCK

// othersMayWrite judges owner and mode of a file.
func othersMayWrite(path string, info fs.FileInfo) (what, hint string) {
	if what, hint = foreign(path, info); what != "" {
		return what, hint
	}
	switch m := info.Mode().Perm(); {
	case m&0o002 != 0:
		return fmt.Sprintf("is writable by everybody (mode %04o)", m), "run: chmod go-w " + path
	case m&0o020 != 0:
		return fmt.Sprintf("is writable by its group (mode %04o)", m), "run: chmod go-w " + path
	}
	return "", ""
}

// othersMayReplace judges a directory. A sticky one protects its files; one
// that the owner's own group may write to is usual and taken as it is.
func othersMayReplace(dir string, info fs.FileInfo) (what, hint string) {
	if what, hint = foreign(dir, info); what != "" {
		return what, hint
	}
	if m := info.Mode(); m.Perm()&0o002 != 0 && m&fs.ModeSticky == 0 {
		return fmt.Sprintf("is writable by everybody (mode %04o)", m.Perm()), "run: chmod o-w " + dir
	}
	return "", ""
}

// foreign: neither the person's nor root's.
func foreign(path string, info fs.FileInfo) (what, hint string) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 || int(st.Uid) == os.Geteuid() {
		return "", ""
	}
	what = fmt.Sprintf("belongs to uid %d, not to uid %d or root", st.Uid, os.Geteuid())
	if os.Geteuid() == 0 {
		return what, fmt.Sprintf("run regmint as that user, or, where you trust it: chown 0 %s", path)
	}
	return what, fmt.Sprintf("look at it, then, where you trust it: chown %d %s", os.Geteuid(), path)
}

// owned: ours, root's, or of whom the directory belongs to that it is in.
func owned(path string, info fs.FileInfo) bool {
	if what, _ := foreign(path, info); what == "" {
		return true
	}
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return false
	}
	mine, ok := info.Sys().(*syscall.Stat_t)
	its, dirOK := dir.Sys().(*syscall.Stat_t)
	return ok && dirOK && mine.Uid == its.Uid
}

// syncDir makes a rename in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// rename replaces the target in one step.
func rename(from, to string) error { return os.Rename(from, to) }

// makeDir makes a directory and its missing parents, 0700. What root makes in
// a person's home under sudo becomes that person's.
func makeDir(dir string) error {
	var made []string
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); err == nil || filepath.Dir(d) == d {
			break
		}
		made = append(made, d)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for i := len(made) - 1; i >= 0; i-- {
		handOver(made[i])
		_ = syncDir(filepath.Dir(made[i])) // what is in a directory that is lost is lost
	}
	return nil
}

// handOver gives what root made to the owner of the directory it is in.
func handOver(path string) {
	if os.Geteuid() != 0 {
		return
	}
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
		_ = os.Lchown(path, int(st.Uid), int(st.Gid))
	}
}
