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
}

// scanLiteral is a distinct literal.
type scanLiteral struct {
	text   string
	ids    []int32
	finder finder // of a short one
}

// gramTable finds the literals that have a gram: a filter, and a hash table of
// runs in list. A gram is some bytes of a text in an integer, first byte lowest
// and last byte highest, with the bits set that tell upper from lower case.
type gramTable struct {
	filter gramFilter
	slots  []gramSlot
	shift  uint8 // of a hash, to the number of a slot
	list   []gramUse
}

// gramFilter has two bits of each gram's hash, in the word that the top bits of
// the hash name. It passes every gram of 5,000 and one in 250 of the others.
type gramFilter [1 << filterBits]uint64

const filterBits = 12

func (f *gramFilter) add(hash uint64) {
	f[hash>>(64-filterBits)] |= 1<<(hash>>40&63) | 1<<(hash>>46&63)
}

func (f *gramFilter) has(hash uint64) bool {
	word := f[hash>>(64-filterBits)]
	return word>>(hash>>40&63)&(word>>(hash>>46&63))&1 != 0
}

type gramSlot struct {
	gram        uint64
	first, last int32 // in list; none if last is 0
}

// gramUse is a literal that has a gram.
type gramUse struct {
	text    string
	offset  int32 // of the gram in text
	id      int32 // the first of the literal's
	literal int32
}

const gramHash = 0x9E3779B97F4A7C15 // 2^64 divided by the golden ratio

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
	s.grams = s.table()
	for k, l := range s.lits {
		if n := len(l.text); 0 < n && n < minLiteral {
			s.lits[k].finder = newFinder(l.text, true)
			s.short = append(s.short, int32(k))
		}
	}
	return s
}

// gramAt reads four bytes of a text into the upper half of an integer.
func gramAt(text string, at int) (g uint64) {
	for i := range 4 {
		g = g>>8 | uint64(text[at+i]|0x20)<<56
	}
	return g
}

// table makes the table of the literals of five bytes and more. A literal is
// known by the grams that fewest others share, and among those by the ones whose
// bytes are rarest.
func (s *Scanner) table() gramTable {
	count := map[uint64]int{}
	for _, l := range s.lits {
		if len(l.text) >= minLiteral {
			for i := 0; i+4 <= len(l.text); i++ {
				count[gramAt(l.text, i)]++
			}
		}
	}
	type choice struct {
		gram uint64
		use  gramUse
	}
	var chosen []choice
	weight := func(text string, at int) int {
		w := -8 * bits.Len(uint(count[gramAt(text, at)]))
		for _, b := range []byte(text[at : at+4]) {
			w += rarity(b)
		}
		return w
	}
	for k, l := range s.lits {
		if len(l.text) < minLiteral {
			continue
		}
		best, at := -1<<30, 0
		for i := 0; i+5 <= len(l.text); i++ {
			if w := min(weight(l.text, i), weight(l.text, i+1)); w > best {
				best, at = w, i
			}
		}
		chosen = append(chosen, choice{gramAt(l.text, at), gramUse{l.text, int32(at), l.ids[0], int32(k)}},
			choice{gramAt(l.text, at+1), gramUse{l.text, int32(at + 1), l.ids[0], int32(k)}})
	}
	slices.SortStableFunc(chosen, func(a, b choice) int { return cmp.Compare(a.gram, b.gram) })
	slotBits := bits.Len(uint(2 * len(chosen)))
	t := gramTable{slots: make([]gramSlot, 1<<slotBits), shift: uint8(64 - slotBits), list: make([]gramUse, len(chosen))}
	for i, c := range chosen {
		t.filter.add(c.gram * gramHash)
		t.list[i] = c.use
		slot := t.slot(c.gram)
		if slot.last == 0 {
			slot.gram, slot.first = c.gram, int32(i)
		}
		slot.last = int32(i + 1)
	}
	return t
}

// slot returns the slot that holds a gram, or the empty one where it belongs.
func (t *gramTable) slot(gram uint64) *gramSlot {
	for h := gram * gramHash >> t.shift; ; h++ {
		if s := &t.slots[h&uint64(len(t.slots)-1)]; s.last == 0 || s.gram == gram {
			return s
		}
	}
}

// Scan adds to hits the id of every literal that occurs in text. hits must have
// room for all ids. It does not allocate.
func (s *Scanner) Scan(text string, hits Bits) {
	window := uint64(0)
	for i := 1; i < len(text); i += 2 {
		window = window>>16 | uint64(text[i-1]|0x20)<<48 | uint64(text[i]|0x20)<<56
		if gram := window &^ 0xFFFF_FFFF; s.grams.filter.has(gram * gramHash) {
			s.compare(gram, text, i-3, hits)
		}
	}
	for _, k := range s.short {
		if l := &s.lits[k]; l.finder.index(text, 0) >= 0 {
			l.mark(hits)
		}
	}
}

// compare marks the literals that have the gram found at i and stand there.
func (s *Scanner) compare(gram uint64, text string, i int, hits Bits) {
	slot := s.grams.slot(gram)
	for k := slot.first; k < slot.last; k++ {
		u := &s.grams.list[k]
		from := i - int(u.offset)
		if from >= 0 && len(text)-from >= len(u.text) && !hits.Has(int(u.id)) && equalFold(text[from:], u.text) {
			s.lits[u.literal].mark(hits)
		}
	}
}

func (l *scanLiteral) mark(hits Bits) {
	for _, id := range l.ids {
		hits.Set(int(id))
	}
}
