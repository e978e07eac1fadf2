//go:build linux

package rig

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process has taken.
type Usage struct {
	CPU      time.Duration // user and system, since its start
	Resident int64         // bytes
}

// UsageOf reads the usage of a process from /proc/PID/stat (proc(5)).
func UsageOf(pid int) (u Usage, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	_, rest, _ := strings.Cut(string(b), ") ") // the name may hold blanks
	f := strings.Fields(rest)
	if len(f) < 22 {
		return u, fmt.Errorf("/proc/%d/stat holds %d fields", pid, len(f))
	}
	var n [3]int64 // utime, stime, rss
	for i, text := range []string{f[11], f[12], f[21]} {
		if n[i], err = strconv.ParseInt(text, 10, 64); err != nil {
			return u, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
	}
	u.CPU = time.Duration(n[0]+n[1]) * time.Second / 100 // USER_HZ, which is 100 everywhere
	u.Resident = n[2] * int64(os.Getpagesize())
	return u, nil
}
