package alertlog

import (
	"strings"
	"testing"
)

// TestPlain: what is passed over at once holds nothing that needs an escape,
// and nothing that is plain stops it.
func TestPlain(t *testing.T) {
	for c := range rune(256) {
		for at := range 9 {
			b := []byte("abcdefghijkl")
			b[at] = byte(c)
			for _, json := range []bool{true, false} {
				special := c < 0x20 || c >= 0x7f || json && (c == '"' || c == '\\')
				want := 8
				if special && at < 8 {
					want = 0
				}
				if got := plain(string(b), 0, json); got != want {
					t.Errorf("%q at %d, json %v: %d, want %d", c, at, json, got, want)
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
