package alertlog

import (
	"strings"
	"testing"
)

// TestSpecial: what is passed over at once holds nothing that needs an escape,
// and nothing that is plain stops it.
func TestSpecial(t *testing.T) {
	for c := range rune(256) {
		for at := range 12 {
			b := []byte("abcdefghijkl")
			b[at] = byte(c)
			for _, json := range []bool{true, false} {
				want := len(b)
				if c < 0x20 || c >= 0x7f || json && (c == '"' || c == '\\') {
					want = at
				}
				for from := range at + 1 {
					if got := special(string(b), from, json); got != want {
						t.Errorf("%q at %d, from %d, json %v: %d, want %d", c, at, from, json, got, want)
					}
				}
			}
		}
	}
	long := strings.Repeat("x", 100) + "\n" + strings.Repeat("y", 100) + "\t\x00\"é\xff"
	if got, want := string(appendString(nil, long)), `"`+strings.Repeat("x", 100)+`\n`+strings.Repeat("y", 100)+`\t\u0000\"é\\xff"`; got != want {
		t.Errorf("%s", got)
	}
	if got, want := string(appendVisible(nil, long)), strings.Repeat("x", 100)+`\n`+strings.Repeat("y", 100)+"\t"+`\x00"é\xff`; got != want {
		t.Errorf("%s", got)
	}
	for _, l := range blockLines {
		if strings.IndexByte("*RSDUAPIOGN", l[0]) < 0 {
			t.Errorf("%q is not looked for", l)
		}
	}
}
