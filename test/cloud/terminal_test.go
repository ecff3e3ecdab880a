// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cloud

import (
	"errors"
	"os/exec"

	"github.com/regmint/regmint/test/home"
	"github.com/regmint/regmint/test/terminal"
)

// line is what a person types once the terminal shows something. An empty
// typed line is the return key; "\x03" is Ctrl-C.
type line struct{ shown, typed string }

// terminal runs a command on a terminal of its own and types the lines as they
// are asked for. out is all that the terminal showed.
func (w *world) terminal(lines []line, args ...string) result {
	w.t.Helper()
	cmd := exec.Command(w.find(args[0]), args[1:]...)
	cmd.Args[0], cmd.Dir, cmd.Env = args[0], w.home, w.environ()
	var typed []terminal.Line
	for _, l := range lines {
		typed = append(typed, terminal.Line{Shown: l.shown, Typed: l.typed})
	}
	out, err := terminal.Run(w.t, cmd, patience, typed...)
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		w.t.Errorf("%q: %v", args, err)
	}
	return result{out: out, code: home.ExitCode(cmd.ProcessState)}
}
