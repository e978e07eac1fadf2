//go:build unix

package broker

import (
	"math"
	"syscall"
)

// openFiles is how many file descriptors the process may have.
func openFiles() (int, bool) {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 0, false
	}
	n := uint64(r.Cur) // signed on some systems
	if n > math.MaxInt32 {
		return 0, false
	}
	return int(n), true
}
