package link

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// plain is a history without bounds but for what a history promises: the last
// messages of each epoch, and the last epochs.
type plain map[uint64]map[uint64]bool

func (p plain) take(epoch, n uint64) bool {
	if p[epoch] == nil {
		p[epoch] = map[uint64]bool{}
		if len(p) > maxEpochs {
			oldest := slices.Min(slices.Collect(maps.Keys(p)))
			delete(p, oldest)
			if oldest == epoch {
				return false
			}
		}
	}
	seen := p[epoch]
	if n == 0 || n+windowSize <= last(seen) || seen[n] {
		return false
	}
	seen[n] = true
	return true
}

func last(seen map[uint64]bool) (n uint64) {
	for k := range seen {
		n = max(n, k)
	}
	return n
}

// TestHistory: a message is taken once, in whatever order messages come, also
// when the history is written down and read in between.
func TestHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h history
		model := plain{}
		for range rapid.IntRange(1, 200).Draw(t, "messages") {
			epoch := rapid.Uint64Range(1, maxEpochs+4).Draw(t, "epoch")
			// Mostly near the newest, now and then far ahead or behind.
			at := int64(last(model[epoch])) + rapid.OneOf(rapid.Int64Range(-8, 8), rapid.Int64Range(-2*windowSize, 2*windowSize)).Draw(t, "step")
			n := uint64(max(at, 0))
			if want, got := model.take(epoch, n), h.take(epoch, n); got != want {
				t.Fatalf("message %d of epoch %d: taken is %v, want %v", n, epoch, got, want)
			}
			if rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				again, err := parseHistory(h.String())
				if err != nil || again.String() != h.String() {
					t.Fatalf("%q is read as %q, %v", h, again, err)
				}
				h = again
			}
		}
	})
}

// TestHistoryJoin: two memories of one agent know together what either knew.
func TestHistoryJoin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var hs [2]history
		type message struct{ epoch, n uint64 }
		taken := map[message]bool{}
		newest := map[uint64]uint64{}
		for range rapid.IntRange(0, 200).Draw(t, "messages") {
			m := message{rapid.Uint64Range(1, 3).Draw(t, "epoch"), rapid.Uint64Range(1, 3*windowSize).Draw(t, "n")}
			if hs[rapid.IntRange(0, 1).Draw(t, "of")].take(m.epoch, m.n) {
				taken[m] = true
				newest[m.epoch] = max(newest[m.epoch], m.n)
			}
		}
		hs[0].join(hs[1])
		for epoch, top := range newest {
			for n := uint64(1); n <= top; n++ {
				want := n+windowSize > top && !taken[message{epoch, n}]
				one := slices.Clone(hs[0])
				if got := one.take(epoch, n); got != want {
					t.Fatalf("message %d of epoch %d, of %d: taken is %v, want %v", n, epoch, top, got, want)
				}
			}
		}
	})
}

func TestParsePosition(t *testing.T) {
	h := history{}
	h.take(3, 7)
	h.take(4, 1)
	h.take(4, 600)
	seq, ns, got, err := parsePosition("12 -34 " + h.String())
	if err != nil || seq != 12 || ns != -34 || got.String() != h.String() {
		t.Errorf("%d %d %q, %v", seq, ns, got, err)
	}
	blank := strings.Repeat(":", windowSize/64)
	for _, bad := range []string{"", "1", "1 2", "x 2 1:1" + blank, "1 x 1:1" + blank, "-1 2 1:1" + blank, "1 2 3 4", "1 2 1:1", "1 2 x:1" + blank,
		"1 2 1:1" + blank + ":", "1 2 2:1" + blank + "/1:1" + blank, "1 2 1:1" + blank + "/1:1" + blank, "1 2 1:1" + strings.Repeat("/1:1"+blank, maxEpochs),
		"1 2 11111111111111111:1" + blank} {
		if _, _, _, err := parsePosition(bad); err == nil {
			t.Errorf("%q is taken for a position", bad)
		}
	}
}

func FuzzParsePosition(f *testing.F) {
	f.Add("1 2 1:1" + strings.Repeat(":", windowSize/64))
	f.Fuzz(func(t *testing.T, text string) {
		_, _, h, err := parsePosition(text)
		if err != nil {
			return
		}
		again, err := parseHistory(h.String())
		if err != nil || again.String() != h.String() {
			t.Errorf("%q is read as %q, %v", h, again, err)
		}
		h.take(1, 1)
	})
}
