package enforcetest

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"riposte/internal/enforce"
)

// Watched checks that a mechanism hears of what somebody else does, and does not
// make much of what it does itself. mine has the mechanism put a target in force
// that disturb takes away behind its back.
func Watched(t testing.TB, w enforce.Watcher, mine, disturb func()) {
	t.Helper()
	const patience = 20 * time.Second
	var heard atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Watch(ctx, func() { heard.Add(1) }) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the watch ended with %v", err)
		}
	}()
	wait := func(more int64, limit time.Duration) bool {
		for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if heard.Load() >= more {
				return true
			}
		}
		return false
	}
	// Until it listens it hears nothing.
	for end := time.Now().Add(patience); ; {
		mine()
		disturb()
		if wait(1, 100*time.Millisecond) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it did not hear of what somebody else did")
		}
	}
	const own, some = 50, 20
	before := heard.Load()
	for range own {
		mine()
	}
	disturb()
	if !wait(before+1, patience) {
		t.Error("it heard of nothing more")
	}
	if n := heard.Load() - before; n > some {
		t.Errorf("it was told %d times of one change by somebody else and %d of its own", n, own)
	}
}
