package pattern

import (
	"cmp"
	"math/bits"
	"slices"
)

// Bits is a set of small numbers.
type Bits []uint64

// NewBits returns an empty set with room for the numbers below n.
func NewBits(n int) Bits { return make(Bits, (n+63)/64) }

// Has reports whether id is in the set.
func (b Bits) Has(id int) bool { return b[id>>6]>>(id&63)&1 != 0 }

// Set puts id into the set.
func (b Bits) Set(id int) { b[id>>6] |= 1 << (id & 63) }

// Clear empties the set.
func (b Bits) Clear() { clear(b) }

// Scanner finds which of many literals occur in a text, ignoring ASCII case, in
// one pass. It is immutable and safe for concurrent use.
//
// Of each literal it knows four bytes in a row, the rarest it has. A hash of
// the four bytes at each place of the text is looked up in a bit map small
// enough for the processor's first cache; only where the bit is set (and in
// log lines it hardly ever is) are literals compared. That takes a fifth of the
// time of an Aho–Corasick automaton, whose table of megabytes costs a cache miss
// every few bytes, and a hundredth of its memory. Literals of two and three
// bytes go by two bytes, those of one by one, in passes of their own.
type Scanner struct {
	filter  []uint64 // of the hashes of grams
	shift   uint8    // of a hash, to an index into filter's bits
	grams   gramTable
	pairs   gramTable
	pairBit []uint64 // of the pairs themselves
	singles [256][]int32
	lits    []scanLiteral
	short   bool // there are singles
}

// scanLiteral is a distinct literal.
type scanLiteral struct {
	text string
	ids  []int32
}

// gramTable finds the literals that have a gram: a hash table of runs in list.
type gramTable struct {
	mask  uint32
	slots []gramSlot
	list  []gramUse
}

type gramSlot struct {
	gram        uint32
	first, last int32 // in list; none if equal
}

type gramUse struct{ literal, offset int32 }

const (
	gramFold = 0x20202020
	gramHash = 0x9E3779B1 // 2^32 divided by the golden ratio
)

// NewScanner prepares the search for literals; a literal's id is its index.
// Empty literals are never found.
func NewScanner(literals []string) *Scanner {
	s := &Scanner{}
	known := make(map[string]int32, len(literals))
	for id, l := range literals {
		l = lowerASCII(l)
		k, ok := known[l]
		if !ok {
			k = int32(len(s.lits))
			known[l] = k
			s.lits = append(s.lits, scanLiteral{text: l})
		}
		s.lits[k].ids = append(s.lits[k].ids, int32(id))
	}
	var grams, pairs []gramChoice
	for k, l := range s.lits {
		switch n := len(l.text); {
		case n == 0:
		case n == 1:
			s.short = true
			s.singles[l.text[0]] = l.ids
			if c := l.text[0]; isLetter(c) {
				s.singles[c-'a'+'A'] = l.ids
			}
		case n < 4:
			pairs = append(pairs, chooseGram(l.text, k, 2))
		default:
			grams = append(grams, chooseGram(l.text, k, 4))
		}
	}
	s.grams, s.pairs = newGramTable(grams), newGramTable(pairs)
	if len(grams) > 0 {
		// 32 bits a gram: a wrong look-up at one place in thirty.
		size := max(10, bits.Len(uint(32*len(grams)-1)))
		s.filter, s.shift = make([]uint64, 1<<(size-6)), uint8(32-size)
		for _, g := range grams {
			h := g.gram * gramHash >> s.shift
			s.filter[h>>6] |= 1 << (h & 63)
		}
	}
	if len(pairs) > 0 {
		s.pairBit = make([]uint64, 1<<16/64)
		for _, g := range pairs {
			s.pairBit[g.gram>>6] |= 1 << (g.gram & 63)
		}
	}
	return s
}

// gramChoice is the gram a literal is looked up by.
type gramChoice struct {
	gram uint32
	gramUse
}

// chooseGram picks the rarest n bytes of a literal.
func chooseGram(text string, literal, n int) gramChoice {
	best, at := -1, 0
	for i := 0; i+n <= len(text); i++ {
		w := 0
		for _, c := range []byte(text[i : i+n]) {
			w += rarity(c)
		}
		if w > best {
			best, at = w, i
		}
	}
	var g uint32
	for i := range n {
		g |= uint32(text[at+i]|0x20) << (8 * i)
	}
	return gramChoice{g, gramUse{int32(literal), int32(at)}}
}

func newGramTable(grams []gramChoice) gramTable {
	slices.SortStableFunc(grams, func(a, b gramChoice) int { return cmp.Compare(a.gram, b.gram) })
	size := 1 << bits.Len(uint(2*len(grams)))
	t := gramTable{mask: uint32(size - 1), slots: make([]gramSlot, size), list: make([]gramUse, len(grams))}
	for i, g := range grams {
		t.list[i] = g.gramUse
		slot := t.slot(g.gram)
		if slot.last == 0 {
			slot.gram, slot.first = g.gram, int32(i)
		}
		slot.last = int32(i + 1)
	}
	return t
}

// slot returns the slot that holds a gram, or the empty one where it belongs.
func (t *gramTable) slot(gram uint32) *gramSlot {
	for h := gram * gramHash >> 7; ; h++ {
		if s := &t.slots[h&t.mask]; s.last == 0 || s.gram == gram {
			return s
		}
	}
}

// Scan adds to hits the id of every literal that occurs in text. hits must have
// room for all ids. It does not allocate.
func (s *Scanner) Scan(text string, hits Bits) {
	if len(s.filter) > 0 {
		filter, shift := s.filter, s.shift
		for i := 0; i+4 <= len(text); i++ {
			gram := (uint32(text[i]) | uint32(text[i+1])<<8 | uint32(text[i+2])<<16 | uint32(text[i+3])<<24) | gramFold
			if h := gram * gramHash >> (shift & 31); filter[h>>6]>>(h&63)&1 != 0 {
				s.compare(&s.grams, gram, text, i, hits)
			}
		}
	}
	if s.pairBit != nil {
		for i := 0; i+2 <= len(text); i++ {
			pair := (uint32(text[i]) | uint32(text[i+1])<<8) | gramFold&0xFFFF
			if s.pairBit[pair>>6]>>(pair&63)&1 != 0 {
				s.compare(&s.pairs, pair, text, i, hits)
			}
		}
	}
	if s.short {
		for i := range len(text) {
			for _, id := range s.singles[text[i]] {
				hits.Set(int(id))
			}
		}
	}
}

// compare marks the literals that have the gram found at i and stand there.
func (s *Scanner) compare(t *gramTable, gram uint32, text string, i int, hits Bits) {
	slot := t.slot(gram)
	for _, u := range t.list[slot.first:slot.last] {
		l := &s.lits[u.literal]
		from := i - int(u.offset)
		if from < 0 || len(text)-from < len(l.text) || hits.Has(int(l.ids[0])) || !equalFold(text[from:], l.text) {
			continue
		}
		for _, id := range l.ids {
			hits.Set(int(id))
		}
	}
}
