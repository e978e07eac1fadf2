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
// At every second place of the text a hash of four bytes is looked up in a bit
// map small enough for the processor's nearest cache; only where the bits are
// set are literals compared. A literal is known by two runs of four bytes side
// by side, of which one begins at an even place, the rarest it has. That takes a
// fifth of the time of an Aho–Corasick automaton, whose table of megabytes costs
// a cache miss every few bytes, and a hundredth of its memory. Literals shorter
// than five bytes hardly narrow anything down; they are searched for one by one,
// and Pattern.Literals has none.
type Scanner struct {
	grams gramTable
	lits  []scanLiteral
	short []int32 // literals of less than five bytes
	place []int32 // in lits, by id
}

// scanLiteral is a distinct literal.
type scanLiteral struct {
	text   string
	ids    []int32
	finder finder
}

// gramTable finds the literals that have a gram: four bytes of a text in an
// integer, with the bits set that tell upper from lower case. The top bits of a
// gram's hash are its class; uses are sorted by it.
type gramTable struct {
	filter gramFilter
	starts [1<<classBitCount + 1]uint32 // of each class in uses
	uses   []gramUse
}

// gramFilter has two bits of each gram's hash, in the word of its class. It
// passes every gram of 2,500 literals and one in 200 of the others.
type gramFilter [1 << classBitCount]uint64

const classBitCount = 11

func gramClass(hash uint64) uint64 { return hash >> (64 - classBitCount) }

func (f *gramFilter) add(hash uint64) {
	f[gramClass(hash)] |= 1<<(hash>>40&63) | 1<<(hash>>46&63)
}

func (f *gramFilter) has(hash uint64) bool {
	word := f[gramClass(hash)]
	return word>>(hash>>40&63)&1 != 0 && word>>(hash>>46&63)&1 != 0
}

// gramUse is a literal that has a gram. Most places where a gram stands but not
// the literal show by a second gram of it.
type gramUse struct {
	gram    uint32
	near    uint32 // the second gram
	shift   int32  // where that is, from the first
	offset  int32  // of the first gram in the literal
	literal int32
}

// gramHash spreads a gram over 64 bits.
func gramHash(gram uint32) uint64 {
	return uint64(gram) * 0x9E3779B97F4A7C15 // 2^64 divided by the golden ratio
}

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
			s.lits = append(s.lits, scanLiteral{text: l, finder: newFinder(l, true)})
		}
		s.lits[k].ids = append(s.lits[k].ids, int32(id))
		s.place = append(s.place, k)
	}
	s.grams = s.table()
	for k, l := range s.lits {
		if n := len(l.text); 0 < n && n < minLiteral {
			s.short = append(s.short, int32(k))
		}
	}
	return s
}

// gramAt reads the gram at a place of a text.
func gramAt(text string, at int) uint32 {
	text = text[at : at+4]
	return uint32(text[0]) | uint32(text[1])<<8 | uint32(text[2])<<16 | uint32(text[3])<<24 | 0x20202020
}

// table makes the table of the literals of five bytes and more. A literal is
// known by the grams that fewest others share, and among those by the ones whose
// bytes are rarest.
func (s *Scanner) table() (t gramTable) {
	const countBits = 14
	var count [1 << countBits]uint16 // about how often grams of a hash occur in literals
	cell := func(text string, at int) *uint16 { return &count[gramHash(gramAt(text, at))>>(64-countBits)] }
	for _, l := range s.lits {
		if len(l.text) >= minLiteral {
			for i := 0; i+4 <= len(l.text); i++ {
				if c := cell(l.text, i); *c < 1<<16-1 {
					*c++
				}
			}
		}
	}
	rare := func(text string, at int) int {
		return weight(text[at:at+4]) - 8*bits.Len16(*cell(text, at))
	}
	for k, l := range s.lits {
		if len(l.text) < minLiteral {
			continue
		}
		best, at := -1<<30, 0
		for i := 0; i+5 <= len(l.text); i++ {
			if w := min(rare(l.text, i), rare(l.text, i+1)); w > best {
				best, at = w, i
			}
		}
		for i := at; i < at+2; i++ {
			second, most := i, -1<<30
			for j := 0; j+4 <= len(l.text); j++ {
				if w := rare(l.text, j) * min(4, max(i-j, j-i)); w > most { // what it shares with the first tells nothing
					second, most = j, w
				}
			}
			t.uses = append(t.uses, gramUse{gramAt(l.text, i), gramAt(l.text, second), int32(second - i), int32(i), int32(k)})
		}
	}
	slices.SortStableFunc(t.uses, func(a, b gramUse) int { return cmp.Compare(gramHash(a.gram), gramHash(b.gram)) })
	for i := range t.uses {
		h := gramHash(t.uses[i].gram)
		t.filter.add(h)
		t.starts[gramClass(h)+1]++
	}
	for i := range 1 << classBitCount {
		t.starts[i+1] += t.starts[i]
	}
	return t
}

// Occurs reports whether the literal with an id occurs in text: quicker than Scan
// for one or two.
func (s *Scanner) Occurs(id int, text string) bool {
	l := &s.lits[s.place[id]]
	return l.text != "" && l.finder.index(text, 0) >= 0
}

// Scan adds to hits the id of every literal that occurs in text. hits must have
// room for all ids. It does not allocate.
func (s *Scanner) Scan(text string, hits Bits) {
	const fold = 0x2020202020202020
	filter := &s.grams.filter
	i := 0
	for ; i+8 <= len(text); i += 6 {
		t := text[i:][:8]
		v := (uint64(t[0]) | uint64(t[1])<<8 | uint64(t[2])<<16 | uint64(t[3])<<24 |
			uint64(t[4])<<32 | uint64(t[5])<<40 | uint64(t[6])<<48 | uint64(t[7])<<56) | fold
		if h := gramHash(uint32(v)); filter.has(h) {
			s.compare(uint32(v), gramClass(h), text, i, hits)
		}
		if h := gramHash(uint32(v >> 16)); filter.has(h) {
			s.compare(uint32(v>>16), gramClass(h), text, i+2, hits)
		}
		if h := gramHash(uint32(v >> 32)); filter.has(h) {
			s.compare(uint32(v>>32), gramClass(h), text, i+4, hits)
		}
	}
	for ; i+4 <= len(text); i += 2 {
		gram := gramAt(text, i)
		if h := gramHash(gram); filter.has(h) {
			s.compare(gram, gramClass(h), text, i, hits)
		}
	}
	for _, k := range s.short {
		if l := &s.lits[k]; l.finder.index(text, 0) >= 0 {
			l.mark(hits)
		}
	}
}

// compare marks the literals that have the gram found at i and stand there.
func (s *Scanner) compare(gram uint32, class uint64, text string, i int, hits Bits) {
	t := &s.grams
	uses := t.uses[t.starts[class]:t.starts[class+1]]
	for k := range uses {
		u := &uses[k]
		if u.gram != gram {
			continue
		}
		if at := i + int(u.shift); at < 0 || at+4 > len(text) || gramAt(text, at) != u.near {
			continue
		}
		l := &s.lits[u.literal]
		from := i - int(u.offset)
		if from >= 0 && len(text)-from >= len(l.text) && !hits.Has(int(l.ids[0])) && equalFold(text[from:], l.text) {
			l.mark(hits)
		}
	}
}

func (l *scanLiteral) mark(hits Bits) {
	for _, id := range l.ids {
		hits.Set(int(id))
	}
}
