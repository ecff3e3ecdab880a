// SPDX-License-Identifier: Apache-2.0

package minter

import (
	"time"

	"golang.org/x/sys/windows"
)

// SystemClock reads the wall clock, without Go's monotonic part, and the time
// since boot in steps of 10 to 16 ms. DurationSinceBoot is GetTickCount64,
// which counts sleep and hibernation (Windows documentation, "Windows Time").
func SystemClock() (wall time.Time, boot time.Duration) {
	return time.Now().Round(0), windows.DurationSinceBoot()
}
