package pattern

import (
	"math/bits"
	"slices"
	"strings"
	"unicode/utf8"
)

// What is known about the literals of a part of an expression.
type needs struct {
	// exact: every text the part can match, in lower case, if those are few and
	// known is set.
	exact []string
	known bool
	// some: texts of which one occurs in whatever the part matches; nil: none
	// are known. Not used if known.
	some []string
	// all: texts that all occur in it.
	all []string
}

const (
	maxExact  = 16  // texts that sequences may multiply to
	maxSome   = 200 // alternatives worth looking for
	maxLetter = 4   // characters of a set that are written out
	maxAll    = 16  // texts remembered as occurring in all matches
)

// require works out needs bottom up.
func require(n *node) needs {
	switch n.kind {
	case nodeLit:
		return needs{exact: []string{lowerASCII(n.text)}, known: true}
	case nodeSet:
		return requireSet(n.set)
	case nodeCat:
		var b needsBuilder
		for _, s := range n.subs {
			b.add(require(s))
		}
		return b.done()
	case nodeAlt:
		return requireAny(n.subs)
	case nodeGroup, nodeAtomic:
		return require(n.subs[0])
	case nodeRepeat:
		return requireRepeat(n)
	case nodeFail:
		return needs{known: true}
	case nodeBackref:
		return needs{}
	}
	return needs{exact: []string{""}, known: true}
}

func requireSet(s *charSet) needs {
	if s.bytes.size() > 2*maxLetter || len(s.wide) > maxLetter {
		return needs{}
	}
	r := needs{known: true}
	add := func(text string) {
		if !slices.Contains(r.exact, text) {
			r.exact = append(r.exact, text)
		}
	}
	s.bytes.each(func(c byte) { add(string([]byte{lower[c]})) })
	for _, w := range s.wide {
		if w.hi-w.lo >= maxLetter {
			return needs{}
		}
		for c := w.lo; c <= w.hi; c++ {
			add(string(utf8.AppendRune(nil, c)))
		}
	}
	if len(r.exact) > maxLetter {
		return needs{}
	}
	return r
}

func requireAny(subs []*node) needs {
	all := needs{known: true}
	var parts []needs
	for _, s := range subs {
		r := require(s)
		parts = append(parts, r)
		all.known = all.known && r.known
		all.exact = append(all.exact, r.exact...)
	}
	if all.known && len(all.exact) <= maxSome {
		return all
	}
	common := commonTexts(parts)
	var some []string
	for _, r := range parts {
		one := r.best()
		if one == nil && !(r.known && len(r.exact) == 0) {
			return needs{all: common}
		}
		some = append(some, one...)
	}
	if len(some) > maxSome {
		some = nil
	}
	return needs{some: some, all: common}
}

// commonTexts returns the texts that occur in whatever any of the parts matches.
func commonTexts(parts []needs) (common []string) {
	if len(parts) > maxExact {
		return nil
	}
	for i := range parts {
		for _, t := range parts[i].must() {
			missing := func(r needs) bool {
				return !slices.ContainsFunc(r.must(), func(m string) bool { return strings.Contains(m, t) })
			}
			if !slices.Contains(common, t) && !slices.ContainsFunc(parts, missing) {
				common = append(common, t)
			}
		}
	}
	return common
}

func requireRepeat(n *node) needs {
	r := require(n.subs[0])
	switch {
	case n.max == 0:
		return needs{exact: []string{""}, known: true}
	case n.min == 1 && n.max == 1:
		return r
	case n.min == 0 && n.max == 1 && r.known && len(r.exact) < maxExact:
		return needs{exact: append(slices.Clone(r.exact), ""), known: true}
	case n.min == 0:
		return needs{}
	case n.min == n.max && n.min <= 8 && r.known:
		var b needsBuilder
		for range n.min {
			b.add(r)
		}
		return b.done()
	}
	return needs{some: r.best(), all: r.must()}
}

// must returns the texts that all must occur.
func (r *needs) must() []string {
	if r.known && len(r.exact) == 1 {
		return append(slices.Clip(r.all), r.exact[0])
	}
	return r.all
}

// best returns the texts of which one must occur, or nil.
func (r *needs) best() []string {
	if r.known {
		return worth(r.exact)
	}
	return r.some
}

// needsBuilder puts the needs of a sequence together.
type needsBuilder struct {
	row     []string // every text since the last part that is not known
	started bool
	broken  bool // row is not all
	some    []string
	all     []string
}

func (b *needsBuilder) add(r needs) {
	if !b.started {
		b.row, b.started = []string{""}, true
	}
	if r.known && len(b.row)*len(r.exact) <= maxExact || len(b.row) == 1 && b.row[0] == "" && r.known {
		if len(r.exact) == 1 {
			for i := range b.row {
				b.row[i] += r.exact[0]
			}
			return
		}
		row := make([]string, 0, len(b.row)*len(r.exact))
		for _, x := range b.row {
			for _, y := range r.exact {
				row = append(row, x+y)
			}
		}
		b.row = row
		return
	}
	b.flush()
	if r.known {
		b.row = slices.Clone(r.exact)
	} else {
		b.offer(r.some)
		b.all = append(b.all, r.all[:min(len(r.all), maxAll-len(b.all))]...)
	}
}

// flush ends a row of known texts.
func (b *needsBuilder) flush() {
	b.offer(worth(b.row))
	if len(b.row) == 1 && b.row[0] != "" && len(b.all) < maxAll {
		b.all = append(b.all, b.row[0])
	}
	b.row = []string{""}
	b.broken = true
}

func (b *needsBuilder) offer(texts []string) {
	if score(texts) > score(b.some) {
		b.some = texts
	}
}

func (b *needsBuilder) done() needs {
	if !b.broken {
		if !b.started {
			b.row = []string{""}
		}
		return needs{exact: b.row, known: true}
	}
	b.flush()
	return needs{some: b.some, all: b.all}
}

// worth returns the texts without those that hold another one, or nil if one of
// them is empty or they are too many.
func worth(texts []string) []string {
	if len(texts) == 0 || len(texts) > maxSome || slices.Contains(texts, "") {
		return nil
	}
	var out []string
	for i, t := range texts {
		if !slices.ContainsFunc(texts, func(o string) bool { return len(o) < len(t) && strings.Contains(t, o) }) &&
			!slices.Contains(texts[:i], t) {
			out = append(out, t)
		}
	}
	return out
}

// score says how much texts narrow the search down, in about half bits: the
// rarity of the commonest of them, less what their number costs. It is 0 if one
// is too short to be worth a search.
func score(texts []string) int {
	if len(texts) == 0 {
		return 0
	}
	least := 1 << 30
	for _, t := range texts {
		if len(t) < minLiteral {
			return 0
		}
		least = min(least, weight(t))
	}
	return max(1, least-4*bits.Len(uint(len(texts)-1)))
}

// minLiteral is the length in bytes that literals must have to be handed out.
const minLiteral = 5

// weight is the rarity of a text, if its bytes came independently.
func weight(text string) (sum int) {
	for i := range len(text) {
		sum += rarity(text[i])
	}
	return sum
}

// usable returns texts if they are worth looking for.
func usable(texts []string) []string {
	if score(texts) == 0 {
		return nil
	}
	return texts
}

// maxMust is the number of literals that a search looks for before it begins.
const maxMust = 3

// finders makes finders for the rarest of texts.
func finders(texts []string) (all []finder) {
	slices.SortStableFunc(texts, func(a, b string) int { return weight(b) - weight(a) })
	for _, t := range texts {
		if len(t) >= 2 && len(all) < maxMust && !slices.ContainsFunc(all, func(f finder) bool { return strings.Contains(f.lit, t) }) {
			all = append(all, newFinder(t, hasLetter(t)))
		}
	}
	return all
}

// holdsAll reports whether all literals occur in s.
func holdsAll(all []finder, s string) bool {
	for i := range all {
		if all[i].index(s, 0) < 0 {
			return false
		}
	}
	return true
}
