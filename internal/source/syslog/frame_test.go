package syslog

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// frames cuts a stream and writes the messages as text.
func frames(r io.Reader, max int) string {
	f := newFramer(r, max)
	var out []string
	for {
		text, cut, err := f.next()
		if err != nil {
			if err != io.EOF {
				out = append(out, err.Error())
			}
			return strings.Join(out, "|")
		}
		mark := ""
		if cut {
			mark = "!"
		}
		out = append(out, string(text)+mark)
	}
}

func TestFrames(t *testing.T) {
	f := func(stream, want string) {
		t.Helper()
		for _, r := range []io.Reader{strings.NewReader(stream), iotest.OneByteReader(strings.NewReader(stream))} {
			if got := frames(r, 8); got != want {
				t.Errorf("%q: got %q, want %q", stream, got, want)
			}
		}
	}
	f("", "")
	f("<1>a\n<2>b\n", "<1>a|<2>b")
	f("<1>a\r\n\n\n<2>b", "<1>a|<2>b")
	f("4 <1>a4 <2>b", "<1>a|<2>b")
	f("6 <1>a\nb4 <2>b", "<1>a\nb|<2>b")
	f("4 <1>a\n<2>b\n4 <3>c", "<1>a|<2>b|<3>c") // mixed, with a stray newline
	f("2015 a\n", "2015 a")                     // a line that begins with a number
	f("04 <1>a\n", "04 <1>a")
	f("8 <1>45678", "<1>45678")
	f("9 <1>4567894 <2>b", "<1>45678!|<2>b")
	f("<1>45678\n<1>456789\n<2>b\n", "<1>45678|<1>45678!|<2>b")
	f("<1>"+strings.Repeat("x", 100_000)+"\n<2>b\n", "<1>xxxxx!|<2>b")
	f("100 <1>a", "unexpected EOF")
	f("99999999", "99999999")
	f("999999999 <1>a\n", "99999999!")
	f("12", "12")
	f("12 ", "12 ")
}

func TestReady(t *testing.T) {
	f := func(stream string, want bool) {
		t.Helper()
		fr := newFramer(strings.NewReader(stream), 100)
		_, _ = fr.in.Peek(len(stream)) // it has come
		if got := fr.ready(); got != want {
			t.Errorf("%q: ready %v", stream, got)
		}
	}
	f("", false)
	f("\n\n", false)
	f("<1>a", false)
	f("<1>a\n", true)
	f("4 <1>", false)
	f("4 <1>a", true)
	f("4", false)
	f("4 ", false)
	f("4 x\n", true)
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte("4 <1>a\n<2>b\n99 <3>c"))
	f.Fuzz(func(t *testing.T, data []byte) {
		whole := frames(bytes.NewReader(data), 20)
		if apart := frames(iotest.OneByteReader(bytes.NewReader(data)), 20); apart != whole {
			t.Errorf("%q: %q at once, %q byte by byte", data, whole, apart)
		}
		fr := newFramer(bytes.NewReader(data), 20)
		for total := 0; ; {
			text, _, err := fr.next()
			if err != nil {
				return
			}
			if total += len(text); len(text) > 20 || total > len(data) {
				t.Fatal(fmt.Errorf("%d bytes, %d in all, of %d", len(text), total, len(data)))
			}
		}
	})
}
