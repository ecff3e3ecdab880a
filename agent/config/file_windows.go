// SPDX-License-Identifier: Apache-2.0

package config

import (
	"io/fs"
	"os"
	"time"
)

const openNonBlock = 0

// othersMayWrite: the ACL of the profile directory protects files on Windows.
func othersMayWrite(string, fs.FileInfo) (what, hint string) { return "", "" }

func othersMayReplace(string, fs.FileInfo) (what, hint string) { return "", "" }

// syncDir: a directory cannot be synced on Windows.
func syncDir(string) error { return nil }

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

// owned: owners come with the directory's ACL on Windows.
func owned(string, fs.FileInfo) bool { return true }
