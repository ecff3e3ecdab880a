// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// maxConfig bounds foreign configuration files.
const maxConfig = 4 << 20

// readRegular reads a regular file of at most limit bytes; it never hangs on a
// FIFO and never reads a device. flags are added to O_RDONLY.
func readRegular(path string, limit int64, flags int) ([]byte, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|openNonBlock|flags, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	return readOpen(f, limit)
}

func readOpen(f *os.File, limit int64) ([]byte, fs.FileInfo, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("not a regular file (%s)", info.Mode().Type())
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, nil, err
	}
	if int64(len(data)) > limit {
		return nil, nil, fmt.Errorf("larger than %d MiB", limit>>20)
	}
	return data, info, nil
}

// readTrusted reads a person's configuration file. Symbolic links are followed
// where the file at their end is the person's or root's; a dangling one reads
// as absent. An absent file is (nil, nil, nil).
func readTrusted(path string, uid int) ([]byte, fs.FileInfo, error) {
	link, err := os.Lstat(path)
	if absent(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, plain(path, err)
	}
	data, info, err := readRegular(path, maxConfig, 0)
	if absent(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, plain(path, err)
	}
	if owner, _, ok := ownerOf(info); ok && uid >= 0 && link.Mode()&fs.ModeSymlink != 0 && owner != 0 && owner != uid {
		return nil, nil, fmt.Errorf("%s is a link to a file of uid %d: %w", clean(path), owner, ErrForeign)
	}
	return data, info, nil
}

// absent: no such file, or a part of its path is no directory.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || isNotDir(err)
}
