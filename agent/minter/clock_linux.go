// SPDX-License-Identifier: Apache-2.0

package minter

import (
	"time"

	"golang.org/x/sys/unix"
)

// SystemClock reads the wall clock, without Go's monotonic part, and the time
// since boot. CLOCK_BOOTTIME goes on through suspend, which Go's own monotonic
// clock (CLOCK_MONOTONIC) does not: clock_gettime(2).
func SystemClock() (wall time.Time, boot time.Duration) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		// A sandbox that hides the clock leaves the one that stops in suspend;
		// the wall clock still ends a credential then.
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	}
	return time.Now().Round(0), time.Duration(ts.Nano())
}
