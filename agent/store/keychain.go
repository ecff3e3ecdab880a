// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/regmint/regmint/providers"
)

// The limits of one talk with the keychain.
const (
	quickLimit       = 2 * time.Second
	interactiveLimit = 2 * time.Minute
)

// keychain talks to the keychain of the operating system through a child
// process that can be ended: the libraries have no deadlines of their own.
type keychain struct {
	o     Options
	quick time.Duration
}

// ask runs one request. A keychain that hangs must not take the time that is
// meant for a person: before a long wait it has to answer a short one.
func (k keychain) ask(ctx context.Context, req childRequest) (childAnswer, error) {
	bus, err := sessionBus(ctx, k.o.Env)
	if err != nil {
		return childAnswer{}, k.silent("%v", err)
	}
	req.Bus = bus
	if !k.o.Interactive {
		return k.run(ctx, req, k.quick)
	}
	if a, err := k.run(ctx, childRequest{Op: "ping", Name: req.Name, Bus: bus}, k.quick); err != nil || a.Outcome != outcomeOK {
		return a, err
	}
	return k.run(ctx, req, interactiveLimit)
}

// run runs one child. A done context ends it and its group.
func (k keychain) run(ctx context.Context, req childRequest, limit time.Duration) (childAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	line, err := json.Marshal(req)
	if err != nil {
		return childAnswer{}, k.silent("%v", err)
	}
	stdout := &limitedBuffer{limit: maxChild}
	cmd := exec.CommandContext(ctx, k.o.Child[0], k.o.Child[1:]...) //nolint:gosec // our own binary, by its absolute path
	cmd.Env = childEnv(k.o.Env)
	cmd.Dir = filepath.VolumeName(k.o.Child[0]) + string(filepath.Separator)
	cmd.Stdout = stdout
	ownGroup(cmd)
	cmd.Cancel = func() error { return killGroup(cmd) }
	cmd.WaitDelay = time.Second
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return childAnswer{}, k.silent("%v", plain(err))
	}
	if err := cmd.Start(); err != nil {
		return childAnswer{}, k.silent("cannot start its helper: %v", plain(err))
	}
	// A child that never reads is ended by the limit, and the write with it.
	// Wait closes stdin, and only after the child has ended: a child whose
	// parent is killed sees the end of its input and goes.
	_, writeErr := stdin.Write(append(line, '\n'))
	waitErr := cmd.Wait()
	var a childAnswer
	if err := json.Unmarshal(stdout.buf.Bytes(), &a); err == nil && a.Outcome != "" {
		return a, nil
	}
	if ctx.Err() != nil {
		return childAnswer{}, k.silent("it did not answer in time")
	}
	return childAnswer{}, k.silent("its helper gave no answer (%v)", errors.Join(writeErr, waitErr))
}

// silent is the error of a keychain that cannot be used now.
func (k keychain) silent(format string, args ...any) error {
	return &providers.Error{
		Kind: providers.Unavailable, Hint: `see regmint doctor, or set store = "file" under [agent]`,
		Err: &wrapped{"keyring unavailable: " + fmt.Sprintf(format, args...), ErrUnavailable},
	}
}

// call is ask with the outcome as an error.
func (k keychain) call(ctx context.Context, req childRequest) ([]byte, error) {
	a, err := k.ask(ctx, req)
	if err != nil {
		return nil, err
	}
	switch a.Outcome {
	case outcomeOK:
		return a.Secret, nil
	case outcomeNotFound:
		return nil, notFound(req.Name, "")
	case outcomeLocked:
		return nil, fault(providers.LoginRequired, ErrLocked, "unlock it on the desktop, or run regmint login on a terminal", "keyring locked")
	case outcomeTooLarge:
		return nil, tooLarge("this keyring", len(req.Secret), ringLimit)
	}
	return nil, k.silent("%s", firstWords(a.Message))
}

// limitedBuffer keeps the first bytes; more than that is no answer of ours.
type limitedBuffer struct {
	buf   bytes.Buffer
	limit int
}

func (l *limitedBuffer) Write(p []byte) (int, error) {
	if l.buf.Len()+len(p) > l.limit {
		return 0, errors.New("too much output")
	}
	return l.buf.Write(p)
}
