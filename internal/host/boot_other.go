//go:build !linux

package host

import "time"

// Boot is not known on this system.
func Boot() string { return "" }

// SinceBoot is not known on this system.
func SinceBoot() func() time.Duration { return nil }
