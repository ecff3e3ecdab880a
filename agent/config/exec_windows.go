// SPDX-License-Identifier: Apache-2.0

package config

import (
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// ownGroup keeps a console's Ctrl-C away from the program and shows no window.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP, HideWindow: true}
}

func killGroup(cmd *exec.Cmd) error { return cmd.Process.Kill() }

// foldNames: names of variables are the same in any case.
const foldNames = true

// executableNames lists the files that a program of this name may be.
func executableNames(name string, env func(string) string) []string {
	exts := env("PATHEXT")
	if exts == "" {
		exts = ".COM;.EXE;.BAT;.CMD"
	}
	var out []string
	for ext := range strings.SplitSeq(exts, ";") {
		if strings.EqualFold(filepath.Ext(name), ext) {
			return []string{name}
		}
		if strings.HasPrefix(ext, ".") {
			out = append(out, name+ext)
		}
	}
	return out
}

func executable(fs.FileInfo) bool { return true }
