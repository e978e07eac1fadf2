package link

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// A store that is nearly full is made half empty, of what is judged alone.
func TestRoomFrom(t *testing.T) {
	for _, c := range []struct {
		name          string
		first, msgs   uint64
		bytes         uint64
		most          int64
		judged, wants uint64
	}{
		{"empty", 1, 0, 0, 1000, 0, 0},
		{"without a bound", 1, 100, 5000, -1, 100, 0},
		{"with room", 1, 100, 740, 1000, 100, 0},
		{"full and judged", 101, 100, 1000, 1000, 200, 152},
		{"full, little judged", 101, 100, 1000, 1000, 110, 111},
		{"full, nothing judged", 101, 100, 1000, 1000, 100, 0},
		{"full, judged long ago", 101, 100, 1000, 1000, 7, 0},
	} {
		st := jetstream.StreamState{FirstSeq: c.first, Msgs: c.msgs, Bytes: c.bytes}
		if got := roomFrom(st, c.most, c.judged); got != c.wants {
			t.Errorf("%s: up to %d, expected %d", c.name, got, c.wants)
		}
	}
}
