package account

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// endProcesses kills every process of the user, again until none is left: a
// process may start another while the list is read.
func endProcesses(ctx context.Context, uid uint64) (ended int, err error) {
	seen := map[int]bool{}
	for range 50 {
		left := 0
		entries, err := filepath.Glob("/proc/[0-9]*")
		if err != nil {
			return 0, err
		}
		for _, dir := range entries {
			if runsAs(dir, uid) && killIf(dir, uid) {
				pid, _ := strconv.Atoi(filepath.Base(dir))
				seen[pid] = true
				left++
			}
		}
		if left == 0 {
			return len(seen), nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return len(seen), ctx.Err()
		}
	}
	return len(seen), fmt.Errorf("processes of user id %d keep coming", uid)
}

// killIf kills the process if it is still the user's once it is held fast: its
// number may have passed to another meanwhile.
func killIf(dir string, uid uint64) bool {
	pid, err := strconv.Atoi(filepath.Base(dir))
	if err != nil {
		return false
	}
	p, err := os.FindProcess(pid) // by a pidfd, where the kernel has them
	if err != nil {
		return false
	}
	defer p.Release()
	return runsAs(dir, uid) && p.Kill() == nil
}

// runsAs reports whether the process's real user is the given one, and it is
// not a dead one that waits for its parent.
func runsAs(dir string, uid uint64) bool {
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return false
	}
	var real string
	for line := range strings.Lines(string(status)) {
		switch f := strings.Fields(line); {
		case len(f) > 1 && f[0] == "State:" && (f[1] == "Z" || f[1] == "X"):
			return false
		case len(f) > 1 && f[0] == "Uid:":
			real = f[1]
		}
	}
	return real == strconv.FormatUint(uid, 10)
}
