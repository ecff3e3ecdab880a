// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// serveSignals maps signals to what a daemon does; stop ends it.
func serveSignals(end, reload, drop func()) (stop func()) {
	signals := make(chan os.Signal, 8)
	done := make(chan struct{})
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1)
	go func() { // ends with stop
		for {
			select {
			case <-done:
				return
			case s := <-signals:
				switch s {
				case syscall.SIGHUP:
					reload()
				case syscall.SIGUSR1:
					drop()
				default:
					end()
				}
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}
