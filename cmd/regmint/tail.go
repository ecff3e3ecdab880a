// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"os"
	"strings"
)

// maxTail bounds what is read of a log.
const maxTail = 4 << 20

// tail returns the last lines of a file, made printable line by line.
func tail(path string, lines int) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	cut := info.Size() > maxTail
	if cut {
		if _, err := f.Seek(-maxTail, io.SeekEnd); err != nil {
			return "", err
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxTail))
	if err != nil {
		return "", err
	}
	all := strings.Split(string(bytes.TrimSuffix(data, []byte("\n"))), "\n")
	if cut {
		all = all[1:] // begins in the middle of a line
	}
	if lines >= 0 && len(all) > lines {
		all = all[len(all)-lines:]
	}
	var b strings.Builder
	for _, l := range all {
		if len(data) > 0 {
			b.WriteString(printable(l) + "\n")
		}
	}
	return b.String(), nil
}
