package alertlog

import (
	"strconv"
	"sync"
	"time"
)

// IDs makes alert ids, "seconds.n". They are unique in one process and rise
// with time even when the clock is set back; n starts at the microsecond of its
// second, so that a restart within a second does not repeat ids.
type IDs struct {
	now  func() time.Time
	mu   sync.Mutex
	last int64
	n    int64
}

// NewIDs makes ids of the time that now tells.
func NewIDs(now func() time.Time) *IDs { return &IDs{now: now} }

// Next returns a new id. It may be used by several goroutines.
func (m *IDs) Next() string {
	t := m.now()
	sec, n := t.Unix(), int64(t.Nanosecond()/1000)
	m.mu.Lock()
	if sec > m.last {
		m.last, m.n = sec, n
	} else {
		m.n = max(m.n+1, n)
		if sec < m.last {
			sec = m.last
		}
	}
	n = m.n
	m.mu.Unlock()
	var buf [40]byte
	b := strconv.AppendInt(buf[:0], sec, 10)
	b = append(b, '.')
	return string(strconv.AppendInt(b, n, 10))
}
