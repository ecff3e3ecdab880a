// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"io/fs"
	"os"
)

// Windows has no FIFOs in the file system, and named pipes instead of socket
// paths; access is decided by the ACLs of the profile directory.
const (
	openNonBlock = 0
	openNoFollow = 0
	exeSuffix    = ".exe"
)

func maxSocketPath() int { return 1 << 15 }

func ownerOf(fs.FileInfo) (uid, gid int, ok bool) { return 0, 0, false }

func checkPrivate(string, fs.FileInfo) error { return nil }

func keepOwner(*os.File, fs.FileInfo) error { return nil }

// syncDir: NTFS journals renames, and a directory cannot be flushed.
func syncDir(*os.Root) error { return nil }

func isExecutable(info fs.FileInfo) bool { return info.Mode().IsRegular() }

func isNotDir(error) bool { return false }
