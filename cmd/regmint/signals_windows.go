// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// serveSignals ends the daemon on Ctrl-C and at the end of the session; there
// are no signals for the rest.
func serveSignals(end, _, _ func()) (stop func()) {
	signals := make(chan os.Signal, 1)
	done := make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // ends with stop
		select {
		case <-done:
		case <-signals:
			end()
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}
