package link

import (
	"testing"
	"time"
)

// The first wait is short, later ones are longer up to a bound, and no two
// agents wait alike.
func TestReconnectDelay(t *testing.T) {
	for attempts, want := range map[int][2]time.Duration{
		0:       {125 * time.Millisecond, 375 * time.Millisecond},
		1:       {125 * time.Millisecond, 375 * time.Millisecond},
		3:       {500 * time.Millisecond, 1500 * time.Millisecond},
		6:       {4 * time.Second, 12 * time.Second},
		1 << 30: {4 * time.Second, 12 * time.Second},
	} {
		seen := map[time.Duration]bool{}
		for range 100 {
			d := reconnectDelay(attempts)
			if d < want[0] || d > want[1] {
				t.Fatalf("after %d attempts %v, expected %v to %v", attempts, d, want[0], want[1])
			}
			seen[d] = true
		}
		if len(seen) < 50 {
			t.Errorf("after %d attempts %d different waits of 100", attempts, len(seen))
		}
	}
}
