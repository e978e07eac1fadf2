package pattern

import (
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// The character types of PCRE2 below 128.
var (
	digits = setOf("0-9")
	words  = setOf("0-9A-Z_-_a-z")
	spaces = setOf("\t-\r - ")
	blanks = setOf("\t-\t - ")
	vertic = setOf("\n-\r")
)

// setOf makes a set of ranges written as "a-zA-Z".
func setOf(ranges string) (s byteSet) {
	for i := 0; i+2 < len(ranges); i += 3 {
		s.addRange(ranges[i], ranges[i+2])
	}
	return s
}

// The wide members of \h and \v.
var (
	wideBlanks = []runeRange{
		{0xA0, 0xA0}, {0x1680, 0x1680}, {0x180E, 0x180E}, {0x2000, 0x200A},
		{0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000},
	}
	wideVertic = []runeRange{{0x85, 0x85}, {0x2028, 0x2029}}
)

// charType returns the set of \d, \h, \s, \v, \w or its negation.
func (p *pcreParser) charType(c byte) *charSet {
	s := &charSet{}
	switch lower[c] {
	case 'd':
		s.bytes = digits
	case 's':
		s.bytes = spaces
	case 'w':
		s.bytes = words
	case 'h':
		s.bytes = blanks
		p.addWide(s, wideBlanks)
	case 'v':
		s.bytes = vertic
		p.addWide(s, wideVertic)
	}
	if c < 'a' {
		p.invert(s)
	}
	return s
}

// addWide adds characters above 127; in byte mode those below 256 are bytes.
func (p *pcreParser) addWide(s *charSet, ranges []runeRange) {
	for _, r := range ranges {
		if p.utf {
			s.wide = append(s.wide, r)
		} else if r.lo < 0x100 {
			s.bytes.addRange(byte(r.lo), byte(min(r.hi, 0xFF)))
		}
	}
}

// invert turns a set into its complement. In UTF mode the wide ranges must be
// in order.
func (p *pcreParser) invert(s *charSet) {
	s.bytes = s.bytes.inverted()
	if !p.utf {
		return
	}
	s.bytes[2], s.bytes[3] = 0, 0
	var out []runeRange
	next := rune(0x80)
	for _, r := range s.wide {
		if r.lo > next {
			out = append(out, runeRange{next, r.lo - 1})
		}
		next = max(next, r.hi+1)
	}
	if next <= maxRune {
		out = append(out, runeRange{next, maxRune})
	}
	s.wide = out
}

// escape reads what starts with a backslash outside a class.
func (p *pcreParser) escape() (*node, error) {
	start := p.pos
	if p.pos+1 >= len(p.text) {
		return nil, errorAt(p.pos, `a single \ at the end: write \\ for the character`)
	}
	c := p.text[p.pos+1]
	switch c {
	case 'A', 'G':
		return p.simple(nodeBegin), nil
	case 'Z':
		return p.simple(nodeEndNL), nil
	case 'z':
		return p.simple(nodeEnd), nil
	case 'b':
		return p.simple(nodeWordEdge), nil
	case 'B':
		return p.simple(nodeNotWordEdge), nil
	case 'K':
		// Sets the start of the match, which nobody here asks for.
		if p.looks > 0 {
			return nil, errorAt(start, `\K inside a look-around`)
		}
		p.pos += 2
		return nil, nil
	case 'C':
		if p.utf {
			return nil, errorAt(start, `\C in UTF mode is not supported`)
		}
		p.pos += 2
		return p.anyChar(true), nil
	case 'R':
		p.pos += 2
		return p.lineBreak(), nil
	case 'X':
		return nil, errorAt(start, `\X (a grapheme cluster) is not supported`)
	case 'N':
		if !strings.HasPrefix(p.text[p.pos+2:], "{U+") {
			return p.notNewline()
		}
	case 'g', 'k':
		return p.reference()
	case '1', '2', '3', '4', '5', '6', '7', '8', '9':
		if n, err := p.numberedReference(); n != nil || err != nil {
			return n, err
		}
	case 'E':
		p.pos += 2
		return nil, nil
	}
	set, r, err := p.commonEscape()
	if err != nil {
		return nil, err
	}
	if set != nil {
		return &node{kind: nodeSet, set: set}, nil
	}
	return p.literal(r), nil
}

func (p *pcreParser) simple(k nodeKind) *node {
	p.pos += 2
	return &node{kind: k}
}

// notNewline is \N. A brace after it must be a quantifier.
func (p *pcreParser) notNewline() (*node, error) {
	start := p.pos
	p.pos += 2
	if p.peek() == '{' {
		after := p.pos
		if _, _, ok, err := p.braces(); err != nil {
			return nil, err
		} else if !ok {
			return nil, errorAt(start, `\N{name} is not supported, only \N{U+hexadecimal digits}`)
		}
		p.pos = after
	}
	return p.anyChar(false), nil
}

// lineBreak is \R: any line ending, taken whole.
func (p *pcreParser) lineBreak() *node {
	one := &charSet{bytes: vertic}
	p.addWide(one, wideVertic)
	return &node{kind: nodeAtomic, subs: []*node{{kind: nodeAlt, subs: []*node{
		{kind: nodeLit, text: "\r\n"}, {kind: nodeSet, set: one},
	}}}}
}

// commonEscape reads the escapes that mean the same in and outside classes: a
// set or a character.
func (p *pcreParser) commonEscape() (*charSet, rune, error) {
	start := p.pos
	p.pos++
	if !p.more() {
		return nil, 0, errorAt(start, `a single \ at the end: write \\ for the character`)
	}
	c := p.text[p.pos]
	if c >= utf8.RuneSelf {
		return nil, p.char(), nil
	}
	p.pos++
	switch c {
	case 'd', 'D', 'h', 'H', 's', 'S', 'v', 'V', 'w', 'W':
		return p.charType(c), 0, nil
	case 'p', 'P':
		set, err := p.property(start, c == 'P')
		return set, 0, err
	case 'a':
		return nil, 7, nil
	case 'e':
		return nil, 27, nil
	case 'f':
		return nil, '\f', nil
	case 'n':
		return nil, '\n', nil
	case 'r':
		return nil, '\r', nil
	case 't':
		return nil, '\t', nil
	case 'c':
		if !p.more() || p.text[p.pos] < ' ' || p.text[p.pos] > '~' {
			return nil, 0, errorAt(start, `\c must be followed by a printable ASCII character`)
		}
		x := p.text[p.pos]
		p.pos++
		if isLetter(x) {
			x = lower[x] - 'a' + 'A'
		}
		return nil, rune(x ^ 0x40), nil
	case 'x':
		if p.peek() == '{' {
			p.pos++
			return p.codePoint(start, 16)
		}
		_, r := p.digits(16, 2)
		return nil, r, nil
	case 'o':
		if !p.has("{") {
			return nil, 0, errorAt(start, `\o must be followed by {octal digits}`)
		}
		return p.codePoint(start, 8)
	case 'N':
		if !p.utf {
			return nil, 0, errorAt(start, `\N{U+…} needs (*UTF) at the start of the pattern`)
		}
		p.pos += len("{U+")
		return p.codePoint(start, 16)
	case '0', '1', '2', '3', '4', '5', '6', '7':
		p.pos--
		_, r := p.digits(8, 3)
		if r > 0xFF && !p.utf {
			return nil, 0, errorAt(start, "octal escape over \\377 without (*UTF)")
		}
		return nil, r, nil
	}
	if isLetter(c) || '0' <= c && c <= '9' {
		return nil, 0, errorAt(start, `\%c is not an escape of PCRE2: write the character alone if that is meant`, c)
	}
	return nil, rune(c), nil
}

// digits reads up to limit digits of a base.
func (p *pcreParser) digits(base rune, limit int) (n int, r rune) {
	for p.more() && n < limit {
		d := hexDigit(p.text[p.pos])
		if d < 0 || d >= base {
			break
		}
		r = r*base + d
		n++
		p.pos++
	}
	return n, r
}

func hexDigit(c byte) rune {
	switch {
	case '0' <= c && c <= '9':
		return rune(c - '0')
	case 'a' <= lower[c] && lower[c] <= 'f':
		return rune(lower[c]-'a') + 10
	}
	return -1
}

// codePoint reads digits up to a closing brace.
func (p *pcreParser) codePoint(start int, base rune) (*charSet, rune, error) {
	var r rune
	n := 0
	for {
		k, d := p.digits(base, 1)
		if k == 0 {
			break
		}
		n++
		if r = r*base + d; r > maxRune {
			break
		}
	}
	switch {
	case n == 0 || p.peek() != '}' && r <= maxRune:
		return nil, 0, errorAt(start, "digits in base %d between braces expected", base)
	case r > maxRune:
		return nil, 0, errorAt(start, "a code point over 10FFFF")
	case r > 0xFF && !p.utf:
		return nil, 0, errorAt(start, "a character over FF without (*UTF)")
	case p.utf && 0xD800 <= r && r <= 0xDFFF:
		return nil, 0, errorAt(start, "a surrogate code point, which no text holds")
	}
	p.pos++
	return nil, r, nil
}

// property reads the name of \p or \P.
func (p *pcreParser) property(start int, negate bool) (*charSet, error) {
	name := ""
	if p.has("{") {
		end := strings.IndexByte(p.text[p.pos:], '}')
		if end < 0 {
			return nil, errorAt(start, `\p{ without }`)
		}
		name = p.text[p.pos : p.pos+end]
		p.pos += end + 1
		if strings.HasPrefix(name, "^") {
			negate, name = !negate, name[1:]
		}
	} else if p.more() {
		name = p.text[p.pos : p.pos+1]
		p.pos++
	}
	s := &charSet{}
	switch loose := looseName(name); loose {
	case "any":
		s = p.anyChar(true).set
	case "l&", "lc":
		p.addTable(s, unicode.Lu)
		p.addTable(s, unicode.Ll)
		p.addTable(s, unicode.Lt)
		s.wide = sortRanges(s.wide)
	default:
		table := properties()[loose]
		if table == nil {
			return nil, errorAt(start, `\p{%s}: no such property is known`, name)
		}
		p.addTable(s, table)
	}
	if negate {
		p.invert(s)
	}
	return s, nil
}

// looseName is a property's name without what does not count in it.
func looseName(name string) string {
	return strings.NewReplacer(" ", "", "_", "", "-", "").Replace(strings.ToLower(name))
}

// properties are the general categories and scripts of Unicode.
var properties = sync.OnceValue(func() map[string]*unicode.RangeTable {
	tables := map[string]*unicode.RangeTable{}
	for name, t := range unicode.Scripts {
		tables[looseName(name)] = t
	}
	for name, t := range unicode.Categories {
		if len(name) <= 2 {
			tables[looseName(name)] = t
		}
	}
	return tables
})

func (p *pcreParser) addTable(s *charSet, t *unicode.RangeTable) {
	add := func(lo, hi, stride rune) {
		limit := rune(0x100)
		if p.utf {
			limit = utf8.RuneSelf
		}
		for r := lo; r <= hi; r += stride {
			switch {
			case r < limit:
				s.bytes.add(byte(r))
			case !p.utf:
				return
			case stride == 1:
				s.wide = append(s.wide, runeRange{r, hi})
				return
			default:
				s.wide = append(s.wide, runeRange{r, r})
			}
		}
	}
	for _, r := range t.R16 {
		add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
	}
	for _, r := range t.R32 {
		add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
	}
}

// numberedReference reads \1 to \9, or \10 and up if there are that many groups
// already; otherwise it reads nothing and returns nil.
func (p *pcreParser) numberedReference() (*node, error) {
	i, n := p.pos+1, 0
	for i < len(p.text) && '0' <= p.text[i] && p.text[i] <= '9' && n < 1000 {
		n = n*10 + int(p.text[i]-'0')
		i++
	}
	if first := p.text[p.pos+1]; n >= 10 && first < '8' && n > p.groups {
		return nil, nil
	}
	start := p.pos
	p.pos = i
	return p.addReference(n, "", start)
}

// addReference makes a back-reference by number or by name.
func (p *pcreParser) addReference(number int, name string, offset int) (*node, error) {
	if slices.Contains(p.open, number) || name != "" && slices.Contains(p.open, p.names[name]) {
		return nil, errorAt(offset, "a reference to a group from inside it is not supported")
	}
	n := &node{kind: nodeBackref, group: number, fold: p.opts.caseless}
	p.refs = append(p.refs, pcreRef{n, name, offset})
	return n, nil
}

// reference reads \g and \k.
func (p *pcreParser) reference() (*node, error) {
	start := p.pos
	letter := p.text[p.pos+1]
	p.pos += 2
	closing := byte(0)
	switch p.peek() {
	case '{':
		closing = '}'
	case '<':
		closing = '>'
	case '\'':
		closing = '\''
	}
	var word string
	if closing != 0 {
		end := strings.IndexByte(p.text[p.pos+1:], closing)
		if end < 0 {
			return nil, errorAt(start, `\%c%c without %c`, letter, p.peek(), closing)
		}
		word = p.text[p.pos+1 : p.pos+1+end]
		p.pos += end + 2
	} else if letter == 'g' {
		i := p.pos
		for i < len(p.text) && ((p.text[i] == '-' || p.text[i] == '+') && i == p.pos || '0' <= p.text[i] && p.text[i] <= '9') {
			i++
		}
		word = p.text[p.pos:i]
		p.pos = i
	}
	if letter == 'g' && (closing == '>' || closing == '\'') {
		return nil, errorAt(start, `\g%c (a subroutine call) is not supported`, p.text[start+2])
	}
	number, sign, numeric := 0, 1, word != ""
	for i := range len(word) {
		switch c := word[i]; {
		case i == 0 && c == '-' && len(word) > 1:
			sign = -1
		case i == 0 && c == '+' && len(word) > 1:
			sign = 2
		case '0' <= c && c <= '9':
			number = min(number*10+int(c-'0'), 1<<20)
		default:
			numeric = false
		}
	}
	switch {
	case word == "" || numeric && letter == 'k':
		return nil, errorAt(start, `\%c must be followed by a group's name in {}, <> or ''`, letter)
	case numeric && sign < 0:
		if number = p.groups + 1 - number; number < 1 {
			return nil, errorAt(start, `\g%s: there are not so many groups before it`, word)
		}
	case numeric && sign == 2:
		number += p.groups
	case !numeric:
		return p.addReference(0, word, start)
	}
	if number == 0 {
		return nil, errorAt(start, `\g0 (recursion) is not supported`)
	}
	return p.addReference(number, "", start)
}
