package alertlog

import (
	"math/rand/v2"
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
			want := len(b)
			if c < 0x20 || c >= 0x7f {
				want = at
			}
			for from := range at + 1 {
				if got := special(string(b), from); got != want {
					t.Errorf("%q at %d, from %d: %d, want %d", c, at, from, got, want)
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

// TestEscapeWords: eight bytes at a time give what one byte at a time gives, and
// what is called plain is plain.
func TestEscapeWords(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	alphabet := []string{"a", "bc", "defghijk", " ", `"`, `\`, "\n", "\t", "\x01", "\x7f", "é", "\u202e", "\xff", "\x80"}
	for range 20000 {
		few := 4 + random.IntN(len(alphabet)-3)
		var s, want strings.Builder
		is := plain
		for range random.IntN(30) {
			part := alphabet[random.IntN(few)]
			s.WriteString(part)
			switch part {
			case `"`, `\`:
				want.WriteString(`\`)
				is = min(is, quotes)
			case "a", "bc", "defghijk", " ":
			default:
				is = hiding
			}
			switch part {
			case "\n":
				part = `\n`
			case "\t":
				part = `\t`
			case "\x01":
				part = `\u0001`
			case "\x7f":
				part = `\u007f`
			case "\u202e":
				part = `\u202e`
			case "\xff":
				part = `\\xff`
			case "\x80":
				part = `\\x80`
			}
			want.WriteString(part)
		}
		got, known := escape([]byte("x"), s.String())
		if string(got) != "x"+want.String() || known != is {
			t.Fatalf("%q: %s, plain %d, want %s, %d", s.String(), got, known, want.String(), is)
		}
	}
}

// TestStaticIndex: the names are those of staticFields, in their order.
func TestStaticIndex(t *testing.T) {
	for i, name := range staticFields {
		if k := staticIndex(name); k != i {
			t.Errorf("%s: %d, want %d", name, k, i)
		}
	}
	if staticIndex("filename") >= 0 || staticIndex("") >= 0 {
		t.Error("other names are static")
	}
}

// TestIsPlain: every byte at every place of texts of all lengths up to some.
func TestIsPlain(t *testing.T) {
	for n := range 30 {
		b := make([]byte, n)
		for i := range b {
			b[i] = 'x'
		}
		for i := range b {
			for c := range 256 {
				b[i] = byte(c)
				s := string(b)
				want := c >= 0x20 && c < 0x7f && c != '"' && c != '\\'
				if isPlain(s) != want {
					t.Fatalf("%q: %v", s, !want)
				}
				printed := len(s)
				if c < 0x20 || c >= 0x7f {
					printed = i
				}
				if at := special(s, 0); at != printed {
					t.Fatalf("%q: special at %d, want %d", s, at, printed)
				}
			}
			b[i] = 'x'
		}
	}
}
