package pattern

import "strings"

// finder looks for a literal by its rarest byte, which the library's search for
// one byte finds at some ten bytes a nanosecond.
type finder struct {
	lit  string // lower case if fold
	at   int32  // of the rarest byte in lit
	low  byte   // that byte
	up   byte   // its upper case, or the same
	fold bool   // ignore ASCII case
}

func newFinder(lit string, fold bool) finder {
	f := finder{lit: lit, fold: fold}
	best := -twoCases
	for i := range len(lit) {
		r := rarity(lower[lit[i]])
		if fold && isLetter(lower[lit[i]]) {
			r -= twoCases
		}
		if r > best {
			best, f.at = r, int32(i)
		}
	}
	if lit != "" {
		f.low = lit[f.at]
		f.up = f.low
		if fold && isLetter(f.low) {
			f.up = f.low - 'a' + 'A'
		}
	}
	return f
}

// twoCases is what makes up, in rarity, for a byte that must be looked for in two
// cases.
const twoCases = 2

// index returns the offset of the literal in s at or after from, or -1.
func (f *finder) index(s string, from int) int {
	at := int(f.at)
	end := len(s) - len(f.lit) + at // the last place for the rare byte
	if f.lit == "" {
		return min(from, end)
	}
	i := from + at
	if f.low == f.up {
		for i <= end {
			k := strings.IndexByte(s[i:end+1], f.low)
			if k < 0 {
				return -1
			}
			i += k
			if f.is(s, i-at) {
				return i - at
			}
			i++
		}
		return -1
	}
	for i <= end {
		near := s[i:min(i+findAhead, end+1)]
		low := strings.IndexByte(near, f.low)
		if low >= 0 {
			near = near[:low]
		}
		if up := strings.IndexByte(near, f.up); up >= 0 {
			i += up
		} else if i += len(near); low < 0 {
			continue
		}
		if f.is(s, i-at) {
			return i - at
		}
		i++
	}
	return -1
}

// findAhead is how far one case of a letter is looked for before the other.
const findAhead = 512

// is reports whether the literal stands at i.
func (f *finder) is(s string, i int) bool {
	s = s[i : i+len(f.lit)]
	if f.fold {
		return equalFold(s, f.lit)
	}
	return s == f.lit
}

// rarity is about twice the negative binary logarithm of a byte's share in log
// lines.
func rarity(c byte) int { return int(rarities[c]) }

var rarities = func() (t [256]uint8) {
	for i := range t {
		t[i] = 20
	}
	for r, chars := range map[uint8]string{
		8: "et \"", 9: "ainor", 10: "01cds:", 11: "2gul", 12: "34569578hpmb.,-/", 14: "fwy_=", 15: "xvk{}", 17: "j[]\\()",
	} {
		for _, c := range []byte(chars) {
			t[c] = r
		}
	}
	return t
}()
