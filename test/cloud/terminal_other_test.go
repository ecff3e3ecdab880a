// SPDX-License-Identifier: Apache-2.0

//go:build unix && !linux

package cloud

// line is what a person types once the terminal shows something.
type line struct{ shown, typed string }

// terminal needs the pseudo terminals of Linux.
func (w *world) terminal(_ []line, args ...string) result {
	w.t.Helper()
	w.t.Skipf("%q needs a terminal, which these tests make on Linux alone; run them there", args)
	return result{}
}
