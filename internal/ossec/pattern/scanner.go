package pattern

import "strings"

// Bits is a set of small numbers.
type Bits []uint64

// NewBits returns an empty set with room for the numbers below n.
func NewBits(n int) Bits { return make(Bits, (n+63)/64) }

// Has reports whether id is in the set.
func (b Bits) Has(id int) bool { return b[id>>6]&(1<<(id&63)) != 0 }

// Set puts id into the set.
func (b Bits) Set(id int) { b[id>>6] |= 1 << (id & 63) }

// Clear empties the set.
func (b Bits) Clear() { clear(b) }

// Scanner finds which of many literals occur in a text, ignoring ASCII case. It
// is immutable and safe for concurrent use.
type Scanner struct{ literals []string }

// NewScanner prepares the search for literals; a literal's id is its index.
func NewScanner(literals []string) *Scanner {
	s := &Scanner{}
	for _, l := range literals {
		s.literals = append(s.literals, lowerASCII(l))
	}
	return s
}

// Scan adds to hits the id of every literal that occurs in text. hits must have
// room for all ids. It does not allocate.
func (s *Scanner) Scan(text string, hits Bits) {
	for id, l := range s.literals {
		if indexFold(text, l) >= 0 {
			hits.Set(id)
		}
	}
}

var _ = strings.Contains
