package cli

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"riposte/internal/api"
)

func TestBar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		b := &bar{w: &out, moves: true, next: time.Now()}
		b.set(api.Progress{})
		b.set(api.Progress{Done: 1, Total: 4})
		b.set(api.Progress{Done: 2, Total: 4}) // too soon
		b.set(api.Progress{Done: 4, Total: 4})
		b.end()
		want := "\r\x1b[K[##########..............................] 1 of 4" +
			"\r\x1b[K[########################################] 4 of 4\r\x1b[K"
		if out.String() != want {
			t.Errorf("on a terminal: %q", out.String())
		}

		out.Reset()
		b = &bar{w: &out, next: time.Now().Add(lineEvery)}
		for i := range 5 {
			b.set(api.Progress{Done: i, Total: 5})
			time.Sleep(lineEvery/2 + time.Millisecond)
		}
		b.end()
		if want := "2 of 5 taken back\n4 of 5 taken back\n"; out.String() != want {
			t.Errorf("elsewhere: %q", out.String())
		}
	})
}

func TestSure(t *testing.T) {
	for answer, want := range map[string]bool{"y\n": true, "Yes": true, "\n": false, "": false, "no\n": false, "yesterday\n": false} {
		var out bytes.Buffer
		e := &env{in: strings.NewReader(answer), err: &out}
		if e.sure("Sure?") != want || out.String() != "Sure? [y/N] " {
			t.Errorf("%q: not %v, asked %q", answer, want, out.String())
		}
	}
}
