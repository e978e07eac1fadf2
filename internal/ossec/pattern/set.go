package pattern

import "math/bits"

// byteSet is a set of byte values.
type byteSet [4]uint64

func (s *byteSet) has(c byte) bool { return s[c>>6]>>(c&63)&1 != 0 }

func (s *byteSet) add(c byte) { s[c>>6] |= 1 << (c & 63) }

func (s *byteSet) remove(c byte) { s[c>>6] &^= 1 << (c & 63) }

func (s *byteSet) addRange(lo, hi byte) {
	for c := int(lo); c <= int(hi); c++ {
		s.add(byte(c))
	}
}

func (s *byteSet) addAll(t *byteSet) {
	for i := range s {
		s[i] |= t[i]
	}
}

func (s *byteSet) removeAll(t *byteSet) {
	for i := range s {
		s[i] &^= t[i]
	}
}

func (s *byteSet) inverted() byteSet {
	return byteSet{^s[0], ^s[1], ^s[2], ^s[3]}
}

func (s *byteSet) meets(t *byteSet) bool {
	return s[0]&t[0]|s[1]&t[1]|s[2]&t[2]|s[3]&t[3] != 0
}

func (s *byteSet) size() int {
	return bits.OnesCount64(s[0]) + bits.OnesCount64(s[1]) + bits.OnesCount64(s[2]) + bits.OnesCount64(s[3])
}

// each calls f for every member, in ascending order.
func (s *byteSet) each(f func(c byte)) {
	for i, w := range s {
		for ; w != 0; w &= w - 1 {
			f(byte(i<<6 + bits.TrailingZeros64(w)))
		}
	}
}

// addOtherCase adds the other ASCII case of every letter in the set.
func (s *byteSet) addOtherCase() {
	const letters = 1<<('z'-'@'+1) - 1<<('a'-'@') // a-z in the word of 64-127
	low := s[1] & letters
	up := s[1] & (letters >> 32)
	s[1] |= low>>32 | up<<32
}

var allBytes = byteSet{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}

// single returns the only member of a set of one.
func (s *byteSet) single() (byte, bool) {
	if s.size() != 1 {
		return 0, false
	}
	for i, w := range s {
		if w != 0 {
			return byte(i<<6 + bits.TrailingZeros64(w)), true
		}
	}
	return 0, false
}

// runeRange is a closed range of code points.
type runeRange struct{ lo, hi rune }

// charSet is a set of characters. Outside UTF mode a character is a byte and
// wide is empty; in UTF mode bytes holds the characters below 128 and wide
// those above, in ascending ranges.
type charSet struct {
	bytes byteSet
	wide  []runeRange
}

func (s *charSet) hasWide(r rune) bool {
	for _, w := range s.wide {
		if w.lo <= r && r <= w.hi {
			return true
		}
	}
	return false
}

// allWide: the set holds every character above 127.
func (s *charSet) allWide() bool {
	return len(s.wide) == 1 && s.wide[0].lo <= 0x80 && s.wide[0].hi == maxRune
}

const maxRune = 0x10FFFF
