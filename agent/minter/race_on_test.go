// SPDX-License-Identifier: Apache-2.0

//go:build race

package minter

// raceDetector makes the long random tests shorter: it costs a factor of ten.
const raceDetector = true
