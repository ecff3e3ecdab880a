// SPDX-License-Identifier: Apache-2.0

// Package terminal runs programs of tests on a pseudo terminal and types what
// they ask for. Linux has what it needs; elsewhere it skips the test.
package terminal

// Line is what a person types once the terminal shows something. An empty
// Typed is the return key; CtrlC is Ctrl-C.
type Line struct{ Shown, Typed string }

// CtrlC is typed without a return.
const CtrlC = "\x03"
