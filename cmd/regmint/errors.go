// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/providers"
)

// The exit codes of regmint.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitLogin       = 4
	exitAgent       = 5
	exitNoAccount   = 6
	exitDenied      = 7
	exitInterrupted = 130
)

// exitStatus is an error that names its exit code; where err is nil nothing is
// printed.
type exitStatus struct {
	code int
	err  error
	hint string
}

// Error implements error.
func (e *exitStatus) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

// Unwrap returns the cause.
func (e *exitStatus) Unwrap() error { return e.err }

// usage is a mistake in the command line.
func usage(hint, format string, args ...any) error {
	return &exitStatus{code: exitUsage, err: fmt.Errorf(format, args...), hint: hint}
}

// kindCodes are the exit codes of failures by kind.
var kindCodes = map[providers.Kind]int{
	providers.NoAccount:     exitNoAccount,
	providers.LoginRequired: exitLogin,
	providers.Denied:        exitDenied,
	providers.Misconfigured: exitUsage,
	providers.Unavailable:   exitFailed,
}

// exitCode is the exit code an error calls for.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*exitStatus](err); ok {
		return e.code
	}
	if _, ok := errors.AsType[config.Problems](err); ok {
		return exitUsage
	}
	if e, ok := errors.AsType[*providers.Error](err); ok {
		if code, ok := kindCodes[e.Kind]; ok {
			return code
		}
	}
	return exitFailed
}

// report prints an error for people and returns its exit code.
func (a *app) report(err error) int {
	code := exitCode(err)
	text, hint := errorText(err)
	if text == "" {
		return code
	}
	for line := range strings.Lines(text) {
		a.say("%s", strings.TrimRight(line, "\n"))
	}
	a.hint(hint)
	return code
}

// errorText takes an error apart; text is empty where nothing is to be said.
func errorText(err error) (text, hint string) {
	if err == nil {
		return "", ""
	}
	if e, ok := errors.AsType[*exitStatus](err); ok {
		if e.err == nil {
			return "", ""
		}
		text, hint = errorText(e.err)
		if e.hint != "" {
			hint = e.hint
		}
		return text, hint
	}
	if e, ok := errors.AsType[*providers.Error](err); ok && err.Error() == e.Error() { // nothing is wrapped around it
		bare := *e
		bare.Hint = ""
		return bare.Error(), e.Hint
	}
	return err.Error(), ""
}
