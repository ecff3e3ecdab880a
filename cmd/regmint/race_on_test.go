// SPDX-License-Identifier: Apache-2.0

//go:build race

package main

// raceDetector: opening a key with a passphrase takes ten times as long.
const raceDetector = true
