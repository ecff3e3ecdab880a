// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// maxFile bounds a configuration file, maxSecretFile a file: secret.
const (
	maxFile       = 1 << 20
	maxSecretFile = 64 << 10
)

// errAbsent: there is no such file.
var errAbsent = errors.New("no such file")

// readRegular reads a regular file (a symbolic link to one is fine) of at most
// limit bytes. It never blocks on a FIFO and never reads a device.
func readRegular(path string, limit int64) ([]byte, fs.FileInfo, error) {
	before, err := os.Stat(path)
	if err != nil {
		return nil, nil, plainFileError(err)
	}
	if err := regular(before); err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|openNonBlock, 0)
	if err != nil {
		return nil, nil, plainFileError(err)
	}
	defer f.Close()
	// The file may have been exchanged since: judge what was opened.
	info, err := f.Stat()
	if err != nil {
		return nil, nil, plainFileError(err)
	}
	if err := regular(info); err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, nil, plainFileError(err)
	}
	if int64(len(data)) > limit {
		return nil, nil, fmt.Errorf("larger than %s", size(limit))
	}
	return data, info, nil
}

func regular(info fs.FileInfo) error {
	switch m := info.Mode(); {
	case m.IsRegular():
		return nil
	case m.IsDir():
		return errors.New("is a directory, not a file")
	case m&fs.ModeNamedPipe != 0:
		return errors.New("is a named pipe, not a regular file")
	default:
		return errors.New("is not a regular file")
	}
}

// plainFileError drops the path (the caller names it) and the system call.
func plainFileError(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return errAbsent
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

func size(n int64) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// exposure says how somebody other than the person and root could change the
// file, and what to do about it; "" where nobody could.
func exposure(path string, info fs.FileInfo) (what, hint string) {
	if what, hint = othersMayWrite(path, info); what != "" {
		return "the file " + what, hint
	}
	dirs := []string{filepath.Dir(path)}
	if real, err := filepath.EvalSymlinks(path); err == nil && filepath.Dir(real) != dirs[0] {
		dirs = append(dirs, filepath.Dir(real))
	}
	for _, dir := range dirs {
		di, err := os.Stat(dir)
		if err != nil {
			continue
		}
		if what, hint = othersMayReplace(dir, di); what != "" {
			return "its directory " + what, hint
		}
	}
	return "", ""
}
