package journald

import (
	"context"
	"os"
	"syscall"
	"time"
)

// nudgeInterval is how often journalctl is asked to look.
const nudgeInterval = 5 * time.Millisecond

// nudge makes journalctl look at the journal again and again until ctx ends.
// The journal's files are written through memory, which wakes nobody; journald
// tells of new entries 250 to 500 ms late. journalctl looks as soon as a signal
// interrupts its wait, and the one it handles, without a terminal, to no effect
// at all is SIGWINCH. One nudge costs it some 5 µs. A version that does not
// handle the signal is late, but not harmed: it ignores it.
func nudge(ctx context.Context, process *os.Process) {
	ticker := time.NewTicker(nudgeInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if process.Signal(syscall.SIGWINCH) != nil {
				return
			}
		}
	}
}
