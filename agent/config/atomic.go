// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"path/filepath"
	"strings"
)

// tempPrefix marks what an interrupted write left behind.
const tempPrefix = ".regmint-write-"

// writeAtomic puts data at path with mode 0600 (os.CreateTemp's): the old file or the new one is
// there at any moment, and the new one is durable on return.
func writeAtomic(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, tempPrefix+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	handOver(f.Name())
	if err = rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// sweepTemp removes the temporary files of writes that were killed. The caller
// holds the lock that every writer of the directory takes.
func sweepTemp(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) && e.Type().IsRegular() {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}
