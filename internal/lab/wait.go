package lab

import (
	"bytes"
	"sync"
	"testing"
	"time"
)

// Log collects what is logged and can be read meanwhile. The zero value is
// empty.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

// String returns all that was written.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Until waits for a condition that must come about, and ends the test when it
// has not after a time that only what hangs takes.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	const patience = 30 * time.Second
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v, but not: %s", patience, what)
		}
	}
}
