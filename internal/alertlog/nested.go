package alertlog

import (
	"math/bits"

	"riposte"
)

// The dynamic fields of most events stand in the order of one nested object:
// all that belongs to an inner object side by side, no name twice. Such fields
// are written in one pass; members deals with the others.

const (
	maxNested = 16  // open objects
	maxPaths  = 256 // members and objects; a table of twice as many hashes is kept
)

// nested writes all dynamic fields in one pass and reports whether they are of
// the simple kind. If not, nothing is written.
func (o *object) nested(a *riposte.Alert) bool {
	start, some := len(o.dst), o.any
	seen := &o.enc.paths
	seen.reset()
	var ends [maxNested]int // of the open objects' paths in open, dot included
	open, level := "", 0    // the name that the objects are of
	for i := range a.Fields {
		f := &a.Fields[i]
		if !f.Dynamic || f.Value == "" {
			continue
		}
		keep := 0
		for keep < level && len(f.Name) > ends[keep] && f.Name[:ends[keep]] == open[:ends[keep]] {
			keep++
		}
		for ; level > keep; level-- {
			o.close()
		}
		cut := 0
		if keep > 0 {
			cut = ends[keep-1]
		}
		for {
			name, inner := segment(f.Name[cut:], level)
			if cut == 0 && isStatic(name) || level == maxNested || !seen.add(f.Name[:cut+len(name)]) {
				o.dst, o.any = o.dst[:start], some
				return false
			}
			if !inner {
				o.value(i, name, f.Value)
				break
			}
			o.field("", name)
			o.begin()
			cut += len(name) + 1
			ends[level] = cut
			level++
		}
		open = f.Name
	}
	for ; level > 0; level-- {
		o.close()
	}
	return true
}

// pathSet is a small set of names, kept by their hashes: two names of one hash
// are taken for one.
type pathSet struct {
	hashes [2 * maxPaths]uint64
	places [maxPaths]uint16 // of the hashes
	n      int
}

// reset empties the set.
func (s *pathSet) reset() {
	for _, i := range s.places[:s.n] {
		s.hashes[i] = 0
	}
	s.n = 0
}

// add puts a name into the set; false: it is there already, or the set is full.
func (s *pathSet) add(name string) bool {
	h := hash(name) | 1 // 0 is an empty place
	if s.n == maxPaths {
		return false
	}
	for i := h >> 1; ; i++ {
		place := i % uint64(len(s.hashes))
		switch p := &s.hashes[place]; *p {
		case 0:
			*p = h
			s.places[s.n] = uint16(place)
			s.n++
			return true
		case h:
			return false
		}
	}
}

// hash digests a name eight bytes at a time.
func hash(s string) uint64 {
	const odd = 0x9E3779B97F4A7C15
	h := uint64(len(s)) * odd
	for ; len(s) >= 8; s = s[8:] {
		h = bits.RotateLeft64((h^eight(s))*odd, 29)
	}
	for i := range len(s) {
		h = bits.RotateLeft64((h^uint64(s[i]))*odd, 29)
	}
	return h ^ h>>32
}
