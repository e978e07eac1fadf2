package host

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Boot names this run of the machine: another name means that it was started
// anew in between. "" when that is not known.
func Boot() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// SinceBoot returns a clock that nobody sets and that goes on while the machine
// sleeps, nil where there is none.
func SinceBoot() func() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return nil
	}
	return func() time.Duration {
		var ts unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // worked a moment ago
		return time.Duration(ts.Nano())
	}
}
