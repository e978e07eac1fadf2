package lines

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// cut splits the parts one after the other and writes the result as text.
func cut(max int, parts ...string) string {
	s := NewSplitter(max, false)
	var out []string
	for _, p := range parts {
		for _, l := range s.Split(nil, []byte(p)) {
			mark := ""
			if l.Cut {
				mark = "!"
			}
			out = append(out, fmt.Sprintf("%s%s@%d", l.Text, mark, l.End))
		}
	}
	return strings.Join(out, " ") + fmt.Sprintf(" +%d", s.Pending())
}

func TestSplit(t *testing.T) {
	f := func(want string, max int, parts ...string) {
		t.Helper()
		if got := cut(max, parts...); got != want {
			t.Errorf("%q: got %q, want %q", parts, got, want)
		}
	}
	f(" +0", 9)
	f(" +0", 9, "")
	f("one@4 two@8 +0", 9, "one\ntwo\n")
	f("one@4 +2", 9, "one\ntw")
	f("one@4 two@2 +0", 9, "one\ntw", "o\n")
	f("@1 @2 a@4 +0", 9, "\n\na\n")
	f("one@5 tw\ro@10 +0", 9, "one\r\ntw\ro\n")
	f("one@1 +0", 9, "one\r", "\n")
	f("a\x00b@4 \xff@6 +0", 9, "a\x00b\n\xff\n")
	// Limits: exactly max is whole, with CR LF too; one more is cut.
	f("12345@6 +0", 5, "12345\n")
	f("12345@7 +0", 5, "12345\r\n")
	f("12345@1 +0", 5, "12345\r", "\n")
	f("12345!@7 +0", 5, "123456\n")
	f("12345!@1 x@3 +0", 5, "123456", "\nx\n")
	f("12345!@7 +0", 5, "1234567")
	f("12345!@7 x@4 +0", 5, "1234567", "8\nx\n")
	f("12345!@4 x@4 +0", 5, "1234", "5678", "90", "9\nx\n")
	f("12345!@7 a@7 +1", 5, "1234567", "8901\na\nb")
}

func TestSplitFromInsideACutLine(t *testing.T) {
	s := NewSplitter(9, true)
	if got := s.Split(nil, []byte("rest of it")); len(got) != 0 || !s.Skipping() {
		t.Errorf("got %v", got)
	}
	if got := s.Split(nil, []byte(" all\nnew\n")); len(got) != 1 || got[0].Text != "new" || got[0].End != 9 || s.Skipping() {
		t.Errorf("got %v", got)
	}
}

func TestFlush(t *testing.T) {
	s := NewSplitter(9, false)
	s.Split(nil, []byte("half"))
	if got := s.Flush(nil); len(got) != 1 || got[0].Text != "half" || s.Pending() != 0 {
		t.Errorf("got %v", got)
	}
	if got := s.Flush(nil); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

// However a stream is chunked, its lines are those of the whole, and End says
// where they end.
func TestSplitIsIndependentOfChunks(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		stream := make([]byte, rng.IntN(80))
		for i := range stream {
			stream[i] = "ab\r\n\n\x00"[rng.IntN(6)]
		}
		checkChunks(t, stream, func(n int) int { return 1 + rng.IntN(n) })
	}
}

func checkChunks(t *testing.T, stream []byte, size func(int) int) {
	t.Helper()
	const max = 6
	var want []Line
	base := 0
	for part := range bytes.Lines(stream) {
		if !bytes.HasSuffix(part, []byte("\n")) {
			break
		}
		base += len(part)
		text := strings.TrimSuffix(string(part[:len(part)-1]), "\r")
		want = append(want, Line{Text: text[:min(max, len(text))], End: base, Cut: len(text) > max})
	}
	s := NewSplitter(max, false)
	var got []Line
	for at := 0; at < len(stream); {
		n := size(len(stream) - at)
		for _, l := range s.Split(nil, bytes.Clone(stream[at:at+n])) {
			l.End += at
			got = append(got, l)
		}
		at += n
	}
	if len(got) == len(want)+1 && got[len(want)].Cut { // the incomplete last line, cut already
		got = got[:len(want)]
	}
	for i := range want {
		if i >= len(got) || got[i].Text != want[i].Text || got[i].Cut != want[i].Cut || !got[i].Cut && got[i].End != want[i].End {
			t.Fatalf("%q: got %v, want %v", stream, got, want)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%q: got %v, want %v", stream, got, want)
	}
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte("one\r\ntwo\n\nlonger than six\nx"), uint64(3))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 0))
		checkChunks(t, stream, func(n int) int { return 1 + rng.IntN(n) })
	})
}

func TestEscape(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := Escape(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	f("", "")
	f("plain é \xff", "plain é \xff")
	f("a\nb\r\x00\t\x7f\x1b[0m", "a#012b#015#000#011#177#033[0m")
}

func TestLinesCostOneAllocation(t *testing.T) {
	chunk := bytes.Repeat([]byte("Nov 23 06:00:00 web1 sshd[42]: Connection closed by 192.0.2.1 port 22\n"), 1000)
	s := NewSplitter(Max, false)
	var dst []Line
	if n := testing.AllocsPerRun(20, func() { dst = s.Split(dst[:0], chunk) }); n > 1 {
		t.Errorf("%v allocations for a chunk", n)
	}
}
