// SPDX-License-Identifier: Apache-2.0

package store

import (
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"time"
)

const openNonBlock = 0

// tighten: the ACL of the profile directory protects the files.
func tighten(*os.File, fs.FileInfo) bool { return false }

// syncDir: a directory cannot be synced on Windows.
func syncDir(string) error { return nil }

// ownGroup keeps a console's Ctrl-C away from the child and shows no window.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP, HideWindow: true}
}

func killGroup(cmd *exec.Cmd) error { return cmd.Process.Kill() }

// rename replaces the target. It fails while somebody has that open, so it
// tries for half a second: readers hold it for a moment only.
func rename(from, to string) (err error) {
	for range 50 {
		if err = os.Rename(from, to); err == nil {
			return nil
		}
		<-time.After(10 * time.Millisecond)
	}
	return err
}

func makeDir(dir string) error { return os.MkdirAll(dir, 0o700) }

// handOver: owners come with the directory's ACL on Windows.
func handOver(string) {}
