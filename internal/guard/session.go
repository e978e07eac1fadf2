package guard

import (
	"net/netip"
	"sync"
	"time"
)

// An administrator who logged in a moment ago counts, so sessions are asked for
// when an order comes. The answer is good for a second, and an order waits for
// it no longer than a twentieth of one: then the last answer stands.
const (
	sessionsGood = time.Second
	sessionsWait = 50 * time.Millisecond
)

type sessions struct {
	ask func() ([]netip.Addr, error)

	mu    sync.Mutex
	last  []netip.Addr
	asked time.Time
	busy  chan struct{} // closed when the question under way is answered
}

// now returns the addresses administrators are logged in from. The goroutine
// that asks ends with the provider's answer; there is never more than one.
func (s *sessions) now() []netip.Addr {
	if s.ask == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy == nil {
		if !s.asked.IsZero() && time.Since(s.asked) < sessionsGood {
			return s.last
		}
		s.busy, s.asked = make(chan struct{}), time.Now()
		go s.fetch(s.busy)
	}
	answered, left := s.busy, sessionsWait-time.Since(s.asked)
	if left <= 0 {
		return s.last // it hangs: one wait for all orders is enough
	}
	s.mu.Unlock()
	t := time.NewTimer(left)
	select {
	case <-answered:
	case <-t.C:
	}
	t.Stop()
	s.mu.Lock()
	return s.last
}

func (s *sessions) fetch(answered chan struct{}) {
	list, err := s.ask()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.last = list
	}
	s.busy = nil
	close(answered)
}
