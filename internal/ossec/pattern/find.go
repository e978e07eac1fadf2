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
	best := -1
	for i := range len(lit) {
		if r := rarity(lower[lit[i]]); r > best {
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
	nextLow, nextUp := i-1, i-1 // the next places of either case, once they are past i
	for i <= end {
		if nextLow < i {
			nextLow = next(s, i, end, f.low)
		}
		if nextUp < i {
			nextUp = next(s, i, end, f.up)
		}
		if i = min(nextLow, nextUp); i > end {
			break
		}
		if f.is(s, i-at) {
			return i - at
		}
		i++
	}
	return -1
}

// next returns the place of c in s from i to end, or one behind end.
func next(s string, i, end int, c byte) int {
	if k := strings.IndexByte(s[i:end+1], c); k >= 0 {
		return i + k
	}
	return end + 1
}

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
