// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
)

// signals are what a wrapper gets from the start of its job to the end: at any
// moment a signal leaves nothing behind.
type signals struct {
	in   chan os.Signal
	pipe chan os.Signal
}

// catchSignals takes the signals that a child gets, but for those that our
// caller had us ignore (nohup, a shell's background): the child ignores them
// too. A broken pipe is an error to us, not the end of the job.
func catchSignals() *signals {
	s := &signals{in: make(chan os.Signal, 16), pipe: make(chan os.Signal, 1)}
	for _, sig := range forwarded() {
		if !signal.Ignored(sig) {
			signal.Notify(s.in, sig)
		}
	}
	catchPipe(s.pipe)
	return s
}

func (s *signals) stop() {
	signal.Stop(s.in)
	signal.Stop(s.pipe)
}

// signalled is the signal that came before there was a child to get it.
type signalled struct{ signal os.Signal }

// Error implements error.
func (e signalled) Error() string { return fmt.Sprint("ended by ", e.signal) }

// guard ends the returned context with the first signal that asks for an end,
// until release.
func (s *signals) guard(ctx context.Context) (guarded context.Context, release func()) {
	guarded, cancel := context.WithCancelCause(ctx)
	over, done := make(chan struct{}), make(chan struct{})
	go func() { // ends with release
		defer close(done)
		for {
			select {
			case sig := <-s.in:
				if ends(sig) {
					cancel(signalled{sig})
					return
				}
			case <-over:
				return
			}
		}
	}()
	return guarded, func() {
		close(over)
		<-done
	}
}
