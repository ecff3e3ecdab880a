// SPDX-License-Identifier: Apache-2.0

package config

import "io/fs"

const openNonBlock = 0

// othersMayWrite: the ACL of the profile directory protects files on Windows.
func othersMayWrite(string, fs.FileInfo) (what, hint string) { return "", "" }

func othersMayReplace(string, fs.FileInfo) (what, hint string) { return "", "" }

// syncDir: a directory cannot be synced on Windows.
func syncDir(string) error { return nil }
