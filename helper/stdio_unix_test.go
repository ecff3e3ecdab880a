// SPDX-License-Identifier: Apache-2.0

//go:build unix

package helper

import (
	"errors"
	"os"
	"testing"
	"time"
)

// On a machine under load a process may sleep through its own deadline.
func TestWhatIsReadyIsReadAndWrittenAfterTheDeadlineToo(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	past := time.Now().Add(-time.Second)
	b := make([]byte, 1<<16)
	if n, err := read(r, b, past); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nothing to read: %d %v", n, err)
	}
	if err := write(w, "a line\n", past); err != nil {
		t.Errorf("room to write: %v", err)
	}
	if n, err := read(r, b, past); string(b[:n]) != "a line\n" || err != nil {
		t.Errorf("something to read: %q %v", b[:n], err)
	}
	// A reader that does not read is still given up on.
	if err := write(w, string(make([]byte, 1<<20)), past); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("no room: %v", err)
	}
}
