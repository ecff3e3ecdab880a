// SPDX-License-Identifier: Apache-2.0

package minter

import (
	"time"

	"golang.org/x/sys/unix"
)

// SystemClock reads the wall clock, without Go's monotonic part, and the time
// since boot. On darwin CLOCK_MONOTONIC goes on while the machine sleeps and
// CLOCK_UPTIME_RAW, the clock behind Go's timers, does not: clock_gettime(3).
func SystemClock() (wall time.Time, boot time.Duration) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		_ = unix.ClockGettime(unix.CLOCK_UPTIME_RAW, &ts)
	}
	return time.Now().Round(0), time.Duration(ts.Nano())
}
