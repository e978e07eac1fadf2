package pattern

import (
	"flag"
	"math/rand/v2"
	"strings"
	"testing"
)

var (
	pairs = flag.Int("pattern.pairs", 50_000, "random pattern and subject pairs for each differential test")
	seed  = flag.Uint64("pattern.seed", 1, "seed of the tests with random patterns")
)

func TestScanner(t *testing.T) {
	f := func(text string, literals ...string) {
		t.Helper()
		s, hits := NewScanner(literals), NewBits(len(literals))
		s.Scan(text, hits)
		for id, l := range literals {
			want := l != "" && strings.Contains(lowerASCII(text), lowerASCII(l))
			if hits.Has(id) != want || s.Occurs(id, text) != want {
				t.Errorf("%q in %q: %v, %v, want %v", l, text, hits.Has(id), s.Occurs(id, text), want)
			}
		}
	}
	f("")
	f("", "a", "", "abcdef")
	f("Failed PASSWORD for root", "failed password", "root", "Root", "password for", "for", "passwords", "d", "ed", "x")
	f("abcde", "abcde", "abcd", "bcde", "abcdef", "abc")
	f("xabcde", "abcde", "bcde")
	f("abcdeabcde", "deabc", "eabcd", "cdeab")
	f("a\x00b\xffcdef", "a\x00b\xffc", "\xffcdef", "A\x00B\xffC")
	f("same same same", "same same", "same same", "SAME SAME")
	f("[\\]^_{|}~@`", "[\\]^_", "{|}~", "{|}~@", "[\\]^_{", "{|}^_")
}

// TestScannerRandom compares the scanner with a search for each literal.
func TestScannerRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 5))
	text := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "aAbBcC01 -"[r.IntN(10)]
		}
		return string(b)
	}
	found := 0
	for range 300 {
		var literals []string
		for range 1 + r.IntN(200) {
			literals = append(literals, text(1+r.IntN(9)))
		}
		s, hits := NewScanner(literals), NewBits(len(literals))
		for range 20 {
			line := text(r.IntN(60))
			hits.Clear()
			s.Scan(line, hits)
			for id, l := range literals {
				if want := strings.Contains(lowerASCII(line), lowerASCII(l)); hits.Has(id) != want || s.Occurs(id, line) != want {
					t.Fatalf("%q in %q: %v, want %v", l, line, hits.Has(id), want)
				} else if want {
					found++
				}
			}
		}
	}
	t.Logf("%d found", found)
}
