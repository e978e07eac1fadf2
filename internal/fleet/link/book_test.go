package link

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"riposte/internal/fleet"
)

// TestBookAfter: page by page an agent gets what is addressed to it, in order and
// each once, and nothing else.
func TestBookAfter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b book
		seq := rapid.Uint64Range(0, 5).Draw(t, "begin")
		b.load(seq + 1)
		begin := seq
		var want []string
		var last uint64 // for 001
		after := rapid.Uint64Range(begin, begin+30).Draw(t, "after")
		for range rapid.IntRange(0, 20).Draw(t, "orders") {
			seq++
			to := rapid.SampledFrom([]string{fleet.All, "001", "002"}).Draw(t, "to")
			size := rapid.SampledFrom([]int{10, 1000, 10, 1000, fleet.MaxEnvelope}).Draw(t, "size")
			body := fmt.Sprintf("%06d%s", seq, strings.Repeat("x", size))
			b.add(entry{seq: seq, id: fmt.Sprint(seq), to: to, s: fleet.Signed{Body: []byte(body)}})
			if to != "002" {
				last = seq
			}
			if to != "002" && seq > after {
				want = append(want, body[:6])
			}
		}
		if got := b.lastFor("001"); got != last {
			t.Fatalf("the last for 001 is %d, want %d", got, last)
		}
		limit := rapid.IntRange(1, 10).Draw(t, "limit")
		var got []string
		for pages := 0; ; pages++ {
			out, upTo, more, ok := b.after(after, "001", limit)
			if !ok || len(out) > limit || more && (len(out) == 0 || upTo <= after) || pages > len(want)+1 {
				t.Fatalf("page %d: %d orders up to %d, more %v, at hand %v", pages, len(out), upTo, more, ok)
			}
			size := 0
			for _, s := range out {
				size += 2 * len(s.Body)
				got = append(got, string(s.Body[:6]))
			}
			if len(out) > 1 && size > fleet.MaxMessage {
				t.Fatalf("a page of %d bytes", size)
			}
			if !more {
				if upTo != max(seq, begin) {
					t.Fatalf("all there is goes up to %d, want %d", upTo, seq)
				}
				break
			}
			after = upTo
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Fatalf("got %v, want %v", got, want)
		}
		if begin > 0 {
			if _, _, _, ok := b.after(begin-1, "001", limit); ok {
				t.Fatal("what is not at hand is answered from it")
			}
		}
	})
}

// Who waits for the log before it is loaded is woken by what comes.
func TestBookReach(t *testing.T) {
	var b book
	done := make(chan error, 1)
	go func() { done <- b.reach(t.Context(), 3) }()
	until(t, "somebody waits", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.moved != nil })
	b.load(3)
	b.add(entry{seq: 3})
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("it still waits")
	}
}

// TestBookResume: where an agent goes on, in the log that it knows and in one that
// has begun anew.
func TestBookResume(t *testing.T) {
	at := func(n int64) time.Time { return time.Unix(n, 0) }
	var b book
	b.load(11)
	for seq := uint64(11); seq <= 20; seq++ { // issued at 111 to 120
		b.add(entry{seq: seq, to: fleet.All, issued: at(int64(100 + seq))})
	}
	for _, c := range []struct {
		after  uint64
		issued time.Time
		want   uint64
	}{
		{15, at(115), 15},
		{20, at(120), 20},
		{15, at(119), 15},     // has heard of a later one, and lacks one before
		{15, time.Time{}, 15}, // an agent that does not say
		{25, time.Time{}, 25},
		{7, at(107), 7},    // not at hand
		{25, at(95), 10},   // begun anew since
		{25, at(115), 15},  // begun anew behind 15
		{15, at(50), 10},   // begun anew, and grown past it
		{11, at(100), 10},  // the first at hand, of another log
		{20, at(130), 20},  // of a clock that was ahead
		{500, at(130), 20}, // begun anew, and nothing new yet
	} {
		if got := b.resume(c.after, c.issued); got != c.want {
			t.Errorf("after %d of %d: goes on after %d, want %d", c.after, c.issued.Unix(), got, c.want)
		}
	}
	b.load(0)
	if got := b.resume(500, at(130)); got != 0 {
		t.Errorf("in an empty log it goes on after %d", got)
	}
}
