package pattern

import (
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// posixClasses are the names of [:name:], below 128.
var posixClasses = map[string]byteSet{
	"alpha": setOf("A-Za-z"), "lower": setOf("a-z"), "upper": setOf("A-Z"), "alnum": setOf("0-9A-Za-z"),
	"ascii": setOf("\x00-\x7f"), "blank": blanks, "cntrl": setOf("\x00-\x1f\x7f-\x7f"), "digit": digits,
	"graph": setOf("!-~"), "print": setOf(" -~"), "punct": setOf("!-/:-@[-`{-~"), "space": spaces,
	"word": words, "xdigit": setOf("0-9A-Fa-f"),
}

// class reads a bracket expression.
func (p *pcreParser) class() (*node, error) {
	start := p.pos
	if rest := p.text[p.pos:]; strings.HasPrefix(rest, "[[:<:]]") || strings.HasPrefix(rest, "[[:>:]]") {
		p.pos += len("[[:<:]]")
		word := &node{kind: nodeSet, set: &charSet{bytes: words}}
		look := &node{kind: nodeLook, ahead: true, subs: []*node{word}}
		if rest[3] == '>' {
			look.ahead = false
		}
		return &node{kind: nodeCat, subs: []*node{{kind: nodeWordEdge}, look}}, nil
	}
	if end := p.posixEnd(); end > 0 {
		return nil, errorAt(start, "%s outside a class: write [%s]", p.text[start:end], p.text[start:end])
	}
	p.pos++
	negate := p.has("^")
	b := classBuilder{p: p}
	for {
		if !p.more() {
			return nil, errorAt(start, "a [ without ]: write \\[ for the character")
		}
		if b.quotes() {
			continue
		}
		if p.peek() == ']' && !b.quoting && b.any {
			p.pos++
			break
		}
		if p.opts.extMore && !b.quoting && (p.peek() == ' ' || p.peek() == '\t') {
			p.pos++
			continue
		}
		if err := b.item(); err != nil {
			return nil, err
		}
		b.any = true
	}
	set := &b.set
	if p.opts.caseless {
		b.addCases()
	}
	set.bytes.addAll(&b.types.bytes)
	set.wide = sortRanges(append(set.wide, b.types.wide...))
	if negate {
		p.invert(set)
	}
	return &node{kind: nodeSet, set: set}, nil
}

// classBuilder collects the members of a bracket expression.
type classBuilder struct {
	p       *pcreParser
	set     charSet
	quoting bool // between \Q and \E
	any     bool // a ] would be the end
	// types holds the members that case folding leaves alone.
	types charSet
}

// quotes reads one \Q or \E.
func (b *classBuilder) quotes() bool {
	switch p := b.p; {
	case p.has(`\E`):
		b.quoting = false
	case !b.quoting && p.has(`\Q`):
		b.quoting = true
	default:
		return false
	}
	return true
}

// item reads a member or a range.
func (b *classBuilder) item() error {
	p := b.p
	start := p.pos
	set, lo, err := b.member()
	if err != nil {
		return err
	}
	for b.quotes() {
	}
	hyphen := !b.quoting && p.peek() == '-' && p.pos+1 < len(p.text) && p.text[p.pos+1] != ']'
	if set != nil {
		b.addSet(set)
		if hyphen {
			return errorAt(start, "a range that starts with a class of characters: write the - last or as \\-")
		}
		return nil
	}
	if !hyphen {
		b.addRange(lo, lo)
		return nil
	}
	p.pos++
	for b.quotes() {
	}
	if !p.more() || p.peek() == ']' && !b.quoting {
		b.addRange(lo, lo)
		b.addRange('-', '-')
		return nil
	}
	set, hi, err := b.member()
	switch {
	case err != nil:
		return err
	case set != nil:
		return errorAt(start, "a range that ends with a class of characters: write the - last or as \\-")
	case hi < lo:
		return errorAt(start, "a range out of order: its end is before its start")
	}
	b.addRange(lo, hi)
	return nil
}

// member reads one member: a set or a character.
func (b *classBuilder) member() (*charSet, rune, error) {
	p := b.p
	if b.quoting {
		return nil, p.char(), nil
	}
	if end := p.posixEnd(); end > 0 {
		set, err := b.posix(end)
		return set, 0, err
	}
	if p.peek() != '\\' {
		return nil, p.char(), nil
	}
	if p.pos+1 < len(p.text) {
		switch c := p.text[p.pos+1]; c {
		case 'b':
			p.pos += 2
			return nil, '\b', nil
		case 'N':
			if !strings.HasPrefix(p.text[p.pos+2:], "{U+") {
				return nil, 0, errorAt(p.pos, `\N has no meaning inside []`)
			}
		case 'B', 'R', 'X':
			return nil, 0, errorAt(p.pos, `\%c has no meaning inside []`, c)
		case 'g', '8', '9':
			p.pos += 2
			return nil, rune(c), nil
		}
	}
	return p.commonEscape()
}

// posixEnd returns the offset behind the :] of a [:name:], or of its relatives
// with . and =, that starts at the parser's position; 0 if none does.
func (p *pcreParser) posixEnd() int {
	if p.pos+1 >= len(p.text) || p.peek() != '[' || strings.IndexByte(":.=", p.text[p.pos+1]) < 0 {
		return 0
	}
	kind := p.text[p.pos+1]
	for i := p.pos + 2; i+1 < len(p.text); i++ {
		switch c, next := p.text[i], p.text[i+1]; {
		case c == '\\' && (next == ']' || next == '\\'):
			i++
		case c == '[' && next == kind, c == ']':
			return 0
		case c == kind && next == ']':
			return i + 2
		}
	}
	return 0
}

// posix reads the [:name:] that ends at end.
func (b *classBuilder) posix(end int) (*charSet, error) {
	p := b.p
	if p.text[p.pos+1] != ':' {
		return nil, errorAt(p.pos, "POSIX collating elements are not supported by PCRE2")
	}
	name := p.text[p.pos+2 : end-2]
	negate := strings.HasPrefix(name, "^")
	bytes, ok := posixClasses[strings.TrimPrefix(name, "^")]
	if !ok {
		return nil, errorAt(p.pos, "[:%s:] is not a class of PCRE2", name)
	}
	if p.opts.caseless && (strings.HasSuffix(name, "lower") || strings.HasSuffix(name, "upper")) {
		bytes = posixClasses["alpha"]
	}
	p.pos = end
	set := &charSet{bytes: bytes}
	if negate {
		p.invert(set)
	}
	return set, nil
}

func (b *classBuilder) addSet(s *charSet) {
	b.types.bytes.addAll(&s.bytes)
	b.types.wide = append(b.types.wide, s.wide...)
}

func (b *classBuilder) addRange(lo, hi rune) {
	if lo < 0 || hi < 0 {
		return // not UTF-8: matches nothing
	}
	limit := rune(0x100)
	if b.p.utf {
		limit = utf8.RuneSelf
	}
	if lo < limit {
		b.set.bytes.addRange(byte(lo), byte(min(hi, limit-1)))
	}
	if hi >= limit {
		b.set.wide = append(b.set.wide, runeRange{max(lo, limit), hi})
	}
}

// addCases adds the other cases of the members that are single characters and
// ranges. (For the character types it makes no difference below 128.)
func (b *classBuilder) addCases() {
	b.set.bytes.addOtherCase()
	if !b.p.utf {
		return
	}
	set := &b.set
	set.bytes.each(func(c byte) { set.addFolds(rune(c)) })
	given := slices.Clone(set.wide)
	for _, r := range casedRunes() {
		for _, w := range given {
			if w.lo <= r && r <= w.hi {
				set.addFolds(r)
				break
			}
		}
	}
}

// casedRunes lists the characters above 127 that have another case.
var casedRunes = sync.OnceValue(func() (cased []rune) {
	for r := rune(0x80); r <= unicode.MaxRune; r++ {
		if unicode.SimpleFold(r) != r {
			cased = append(cased, r)
		}
	}
	return cased
})

func (s *charSet) addFolds(r rune) {
	for o := unicode.SimpleFold(r); o != r; o = unicode.SimpleFold(o) {
		if o < utf8.RuneSelf {
			s.bytes.add(byte(o))
		} else {
			s.wide = append(s.wide, runeRange{o, o})
		}
	}
}

// sortRanges puts ranges in order and joins those that touch.
func sortRanges(r []runeRange) []runeRange {
	if len(r) < 2 {
		return r
	}
	slices.SortFunc(r, func(a, b runeRange) int { return int(a.lo - b.lo) })
	out := r[:1]
	for _, x := range r[1:] {
		if last := &out[len(out)-1]; x.lo <= last.hi+1 {
			last.hi = max(last.hi, x.hi)
		} else {
			out = append(out, x)
		}
	}
	return out
}
