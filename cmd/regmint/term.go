// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxLine bounds what is read as one answer or one secret.
const maxLine = 64 << 10

// interactive reports whether a person can be asked.
func (a *app) interactive() bool { return a.isTerminal(a.in) }

// ask prints a question on stderr and reads a line. An interrupt ends it.
func (a *app) ask(ctx context.Context, question string) (string, error) {
	_, _ = fmt.Fprint(a.err, printable(question))
	return await(ctx, func() (string, error) { return readLine(a.in) })
}

// confirm asks a question whose answer is yes or no; an empty line is def.
func (a *app) confirm(ctx context.Context, question string, def bool) (bool, error) {
	choices := " [y/N] "
	if def {
		choices = " [Y/n] "
	}
	for {
		line, err := a.ask(ctx, question+choices)
		if err != nil {
			return false, err
		}
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "":
			return def, nil
		case "y", "yes":
			return true, nil
		case "n", "no":
			return false, nil
		}
	}
}

// askSecret reads a line without echo. The echo is off before the question is
// seen, so that nothing of a fast answer shows, and on again whatever happens.
func (a *app) askSecret(ctx context.Context, question string) (string, error) {
	restore, err := a.noEcho(a.in)
	if err != nil {
		return "", err
	}
	defer func() {
		restore()
		_, _ = fmt.Fprintln(a.err)
	}()
	_, _ = fmt.Fprint(a.err, printable(question))
	return await(ctx, func() (string, error) { return readLine(a.in) })
}

// terminalWithoutEcho turns the echo of the terminal behind in off.
func terminalWithoutEcho(in io.Reader) (restore func(), err error) {
	f, ok := in.(*os.File)
	if !ok {
		return nil, errors.New("stdin is no terminal")
	}
	return echoOff(f)
}

// await runs a read that cannot be interrupted and gives it up with ctx. The
// read is left behind: the program ends soon after.
func await[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	done := make(chan answer, 1)
	go func() {
		v, err := read()
		done <- answer{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}

// readLine reads up to a line end, byte by byte, so that what follows is left
// for the next reader.
func readLine(r io.Reader) (string, error) {
	var line []byte
	one := make([]byte, 1)
	for {
		n, err := r.Read(one)
		if n == 1 && one[0] == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		if n == 1 {
			if line = append(line, one[0]); len(line) > maxLine {
				return "", errors.New("the line is too long")
			}
		}
		switch {
		case errors.Is(err, io.EOF) && len(line) > 0:
			return string(line), nil
		case err != nil:
			return "", err
		}
	}
}
