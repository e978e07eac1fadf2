package pattern

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of PCRE2 (as built by default) that a pattern can run into.
const (
	maxGroupDepth = 250
	maxRepeat     = 65535
)

// pcreOptions are the in-pattern options in force at some place.
type pcreOptions struct {
	caseless   bool // i
	multiline  bool // m
	dotAll     bool // s
	extended   bool // x
	extMore    bool // xx
	noCapture  bool // n
	duplicates bool // J
	ungreedy   bool // U
}

// pcreParser walks over the text of a PCRE2 expression once.
type pcreParser struct {
	text    string
	pos     int
	utf     bool
	looseOK bool // bytes that are not UTF-8 do not matter: they match nothing
	opts    pcreOptions
	depth   int   // parentheses open
	looks   int   // look-arounds open
	groups  int   // capturing groups opened so far
	open    []int // those not closed yet
	names   map[string]int
	named   map[int]string
	refs    []pcreRef
}

// pcreRef is a back-reference waiting for the end of the text, where it is
// known which groups there are.
type pcreRef struct {
	node   *node
	name   string // "": by number
	offset int
}

// pcreTree is a parsed expression.
type pcreTree struct {
	root   *node
	groups int
	utf    bool
	refs   bool // there are back-references
}

// parsePCRE2 reads a PCRE2 expression. caseless and utf are the compile options
// PCRE2_CASELESS and PCRE2_UTF.
func parsePCRE2(text string, caseless, utf bool) (*pcreTree, error) {
	p := &pcreParser{text: text, utf: utf, looseOK: utf}
	p.opts.caseless = caseless
	if err := p.startVerbs(); err != nil {
		return nil, err
	}
	if p.utf && !p.looseOK {
		if off := invalidUTF8(text); off >= 0 {
			return nil, errorAt(off, "byte 0x%02x is not UTF-8, which (*UTF) asks for", text[off])
		}
	}
	root, err := p.alternatives()
	if err != nil {
		return nil, err
	}
	if p.pos < len(text) {
		return nil, errorAt(p.pos, "a ) without (: write \\) for the character")
	}
	for _, r := range p.refs {
		if r.name != "" {
			r.node.group = p.names[r.name]
			if r.node.group == 0 {
				return nil, errorAt(r.offset, "a reference to the group %q, which does not exist", r.name)
			}
		}
		if r.node.group > p.groups {
			return nil, errorAt(r.offset, "a reference to group %d, but there are only %d", r.node.group, p.groups)
		}
	}
	return &pcreTree{root: root, groups: p.groups, utf: p.utf, refs: len(p.refs) > 0}, nil
}

func invalidUTF8(s string) int {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return i
			}
		}
	}
	return -1
}

// startVerbs reads the options that stand before everything else, like (*UTF).
func (p *pcreParser) startVerbs() error {
	for strings.HasPrefix(p.text[p.pos:], "(*") {
		end := strings.IndexByte(p.text[p.pos:], ')')
		if end < 0 {
			return nil
		}
		switch verb := p.text[p.pos+2 : p.pos+end]; verb {
		case "UTF", "UTF8":
			p.utf = true
		case "LF", "NO_AUTO_POSSESS", "NO_DOTSTAR_ANCHOR", "NO_JIT", "NO_START_OPT", "BSR_UNICODE":
		case "UCP", "CR", "CRLF", "ANYCRLF", "ANY", "NUL", "BSR_ANYCRLF", "NOTEMPTY", "NOTEMPTY_ATSTART":
			return errorAt(p.pos, "(*%s) is not supported: riposte knows only (*UTF) here", verb)
		default:
			return nil // a backtracking verb, or a mistake
		}
		p.pos += end + 1
	}
	return nil
}

// more reports whether there is text left.
func (p *pcreParser) more() bool { return p.pos < len(p.text) }

// peek is the next byte, or 0 at the end.
func (p *pcreParser) peek() byte {
	if p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return 0
}

// has consumes s if it is next.
func (p *pcreParser) has(s string) bool {
	if strings.HasPrefix(p.text[p.pos:], s) {
		p.pos += len(s)
		return true
	}
	return false
}

// alternatives reads up to the end of the text or of the group.
func (p *pcreParser) alternatives() (*node, error) {
	var alts []*node
	for {
		n, err := p.sequence()
		if err != nil {
			return nil, err
		}
		alts = append(alts, n)
		if p.peek() != '|' || !p.more() {
			break
		}
		p.pos++
	}
	if len(alts) == 1 {
		return alts[0], nil
	}
	return &node{kind: nodeAlt, subs: alts}, nil
}

// sequence reads one alternative.
func (p *pcreParser) sequence() (*node, error) {
	b := catBuilder{utf: p.utf}
	for p.more() {
		c := p.peek()
		if c == '|' || c == ')' {
			break
		}
		if p.opts.extended && p.skipBlank() {
			continue
		}
		start := p.pos
		if n := p.plainRun(); n != nil {
			b.add(n, false)
		} else if n, quoted := p.quoted(); quoted {
			if n != nil {
				b.add(n, false)
			} else if len(b.subs) == 0 {
				continue // nothing that a quantifier could go back to
			}
		} else {
			n, err := p.item()
			if err != nil {
				return nil, err
			}
			if n == nil { // a comment or an option setting
				b.done = true
				continue
			}
			b.add(n, p.text[start] == '(' && n.kind != nodeFail)
		}
		if err := p.quantifier(&b); err != nil {
			return nil, err
		}
	}
	return b.node(), nil
}

// plainRun reads characters that stand for themselves, up to the one that a
// quantifier takes; nil if there are not at least two.
func (p *pcreParser) plainRun() *node {
	end := p.pos
	for end < len(p.text) && plainBytes.has(p.text[end]) && !(p.opts.extended && extendedBytes.has(p.text[end])) {
		end++
	}
	if end < len(p.text) && strings.IndexByte("*+?{ \t\n\v\f\r#(\\", p.text[end]) >= 0 {
		end-- // it may be quantified
	}
	if end-p.pos < 2 {
		return nil
	}
	text := p.text[p.pos:end]
	fold := p.opts.caseless && hasLetter(text)
	if fold {
		if p.utf && strings.ContainsAny(text, "kKsS") {
			return nil // letters with relatives above 127
		}
		text = lowerASCII(text)
	}
	p.pos = end
	return &node{kind: nodeLit, text: text, fold: fold}
}

// The characters that mean nothing else than themselves, and those of them that
// do in extended mode.
var (
	plainBytes    = setOf(" -#%-',--/-;<->@-Z]-]_-z}-~")
	extendedBytes = setOf("\t-\r - #-#")
)

// skipBlank skips what extended mode ignores.
func (p *pcreParser) skipBlank() bool {
	switch c := p.peek(); {
	case c == ' ' || '\t' <= c && c <= '\r':
		p.pos++
		return true
	case c == '#':
		if end := strings.IndexByte(p.text[p.pos:], '\n'); end >= 0 {
			p.pos += end + 1
		} else {
			p.pos = len(p.text)
		}
		return true
	}
	return false
}

// quoted reads \Q…\E, and a lone \E, which is nothing: then n is nil.
func (p *pcreParser) quoted() (n *node, ok bool) {
	if p.has(`\E`) {
		return nil, true
	}
	if !p.has(`\Q`) {
		return nil, false
	}
	rest := len(p.text)
	if end := strings.Index(p.text[p.pos:], `\E`); end >= 0 {
		rest = p.pos + end
	}
	b := catBuilder{utf: p.utf}
	for p.pos < rest {
		b.add(p.literal(p.char()), false)
	}
	p.has(`\E`)
	if len(b.subs) == 0 {
		return nil, true
	}
	return b.node(), true
}

// char reads one character of the pattern: a byte, or in UTF mode a code point.
// A byte that is no UTF-8 comes back as -1.
func (p *pcreParser) char() rune {
	if !p.utf || p.text[p.pos] < utf8.RuneSelf {
		p.pos++
		return rune(p.text[p.pos-1])
	}
	r, n := utf8.DecodeRuneInString(p.text[p.pos:])
	p.pos += n
	if r == utf8.RuneError && n == 1 {
		return -1
	}
	return r
}

// literal makes a node of one character under the options in force.
func (p *pcreParser) literal(r rune) *node {
	switch {
	case r < 0:
		return &node{kind: nodeSet, set: &charSet{}}
	case !p.utf:
		c := byte(r)
		if p.opts.caseless {
			return &node{kind: nodeLit, text: string([]byte{lower[c]}), fold: isLetter(c)}
		}
		return &node{kind: nodeLit, text: string([]byte{c})}
	case !p.opts.caseless:
		return &node{kind: nodeLit, text: string(r)}
	}
	set := &charSet{}
	set.addRune(r, true)
	if r < utf8.RuneSelf && len(set.wide) == 0 {
		return &node{kind: nodeLit, text: string([]byte{lower[r]}), fold: isLetter(byte(r))}
	}
	return &node{kind: nodeSet, set: set}
}

func isLetter(c byte) bool { return 'a' <= lower[c] && lower[c] <= 'z' }

// addRune adds a character of UTF mode, with all its other cases if fold.
func (s *charSet) addRune(r rune, fold bool) {
	add := func(r rune) {
		if r < utf8.RuneSelf {
			s.bytes.add(byte(r))
		} else {
			s.wide = append(s.wide, runeRange{r, r})
		}
	}
	add(r)
	if fold {
		for o := unicode.SimpleFold(r); o != r; o = unicode.SimpleFold(o) {
			add(o)
		}
	}
}

// item reads one thing that may be quantified. It returns nil for what leaves
// no trace in the tree.
func (p *pcreParser) item() (*node, error) {
	switch c := p.peek(); c {
	case '\\':
		return p.escape()
	case '[':
		return p.class()
	case '(':
		return p.group()
	case '.':
		p.pos++
		return p.anyChar(p.opts.dotAll), nil
	case '^':
		p.pos++
		if p.opts.multiline {
			return &node{kind: nodeLineBegin}, nil
		}
		return &node{kind: nodeBegin}, nil
	case '$':
		p.pos++
		if p.opts.multiline {
			return &node{kind: nodeLineEnd}, nil
		}
		return &node{kind: nodeEndNL}, nil
	case '*', '+', '?':
		return nil, errorAt(p.pos, "a %c with nothing before it to repeat: write \\%c for the character", c, c)
	case '{':
		if _, _, ok, err := p.braces(); err != nil {
			return nil, err
		} else if ok {
			return nil, errorAt(p.pos, "a {…} with nothing before it to repeat: write \\{ for the character")
		}
	}
	return p.literal(p.char()), nil
}

// anyChar is the dot.
func (p *pcreParser) anyChar(newline bool) *node {
	set := &charSet{bytes: allBytes}
	if p.utf {
		set.bytes[2], set.bytes[3] = 0, 0
		set.wide = []runeRange{{0x80, maxRune}}
	}
	if !newline {
		set.bytes[0] &^= 1 << '\n'
	}
	return &node{kind: nodeSet, set: set}
}

// quantifier reads the quantifier after an item, if there is one, and applies
// it to the last item of b.
func (p *pcreParser) quantifier(b *catBuilder) error {
	if err := p.skipNothings(); err != nil {
		return err
	}
	at := p.pos
	lo, hi := 0, -1
	switch p.peek() {
	case '*':
		p.pos++
	case '+':
		p.pos++
		lo = 1
	case '?':
		p.pos++
		hi = 1
	case '{':
		var ok bool
		var err error
		if lo, hi, ok, err = p.braces(); err != nil || !ok {
			return err
		}
	default:
		return nil
	}
	if err := p.skipNothings(); err != nil {
		return err
	}
	mode := greedy
	if p.opts.ungreedy {
		mode = lazy
	}
	switch {
	case p.has("?"):
		mode = lazy - mode
	case p.has("+"):
		mode = possessive
	}
	if !b.repeat(lo, hi, mode) {
		return errorAt(at, "a quantifier after something that cannot be repeated")
	}
	return nil
}

// skipNothings skips what may stand between an item and its quantifier.
func (p *pcreParser) skipNothings() error {
	for p.more() {
		switch {
		case p.has(`\E`), p.has(`\Q\E`):
		case p.has("(?#"):
			if err := p.comment(p.pos - 3); err != nil {
				return err
			}
		case p.opts.extended && p.skipBlank():
		default:
			return nil
		}
	}
	return nil
}

// braces reads {n}, {n,} or {n,m}, or nothing if that is not what stands there.
func (p *pcreParser) braces() (lo, hi int, ok bool, err error) {
	i := p.pos + 1
	number := func() (int, bool) {
		start, n := i, 0
		for i < len(p.text) && '0' <= p.text[i] && p.text[i] <= '9' {
			n = min(n*10+int(p.text[i]-'0'), maxRepeat+1)
			i++
		}
		return n, i > start
	}
	lo, ok = number()
	if !ok {
		return 0, 0, false, nil
	}
	hi = lo
	if i < len(p.text) && p.text[i] == ',' {
		i++
		if n, some := number(); some {
			hi = n
		} else {
			hi = -1
		}
	}
	if i >= len(p.text) || p.text[i] != '}' {
		return 0, 0, false, nil
	}
	if lo > maxRepeat || hi > maxRepeat {
		return 0, 0, false, errorAt(p.pos, "a repeat count over %d", maxRepeat)
	}
	if hi >= 0 && hi < lo {
		return 0, 0, false, errorAt(p.pos, "a repeat of at least %d and at most %d: the numbers are out of order", lo, hi)
	}
	p.pos = i + 1
	return lo, hi, true, nil
}

// catBuilder collects the items of a sequence, joining literals.
type catBuilder struct {
	utf  bool
	subs []*node
	// last is the start of the last item in the text of the last node, which a
	// quantifier would take out of it.
	last  int
	done  bool // the last item has its quantifier
	whole bool // the last item is a group
}

// add appends an item. whole says that a quantifier is about all of it even if it
// is a literal.
func (b *catBuilder) add(n *node, whole bool) {
	last := 0
	b.done, b.whole = false, whole
	if n.kind == nodeLit && !whole {
		last = b.lastChar(n)
	}
	if n.kind == nodeLit && len(b.subs) > 0 {
		if p := b.subs[len(b.subs)-1]; p.kind == nodeLit {
			// Bytes without case join either kind; letters only their own.
			fold, ok := p.fold, true
			switch {
			case p.fold == n.fold:
			case n.fold:
				fold, ok = true, !hasLetter(p.text)
			default:
				ok = !hasLetter(n.text)
			}
			if ok {
				b.last = len(p.text) + last
				p.text += n.text
				p.fold = fold
				return
			}
		}
	}
	b.last = last
	b.subs = append(b.subs, n)
}

// lastChar is where the last character of a literal starts.
func (b *catBuilder) lastChar(n *node) int {
	size := 1
	if b.utf {
		_, size = utf8.DecodeLastRuneInString(n.text)
	}
	return max(0, len(n.text)-size)
}

func hasLetter(s string) bool {
	for i := range len(s) {
		if isLetter(s[i]) {
			return true
		}
	}
	return false
}

// repeat puts a quantifier on the last item.
func (b *catBuilder) repeat(lo, hi int, mode repeatMode) bool {
	if len(b.subs) == 0 || b.done {
		return false
	}
	b.done = true
	n := b.subs[len(b.subs)-1]
	switch n.kind {
	case nodeFail, nodeBegin, nodeEnd, nodeEndNL, nodeLineBegin, nodeLineEnd, nodeWordEdge, nodeNotWordEdge:
		if !b.whole {
			return false
		}
	case nodeLit:
		if b.last > 0 {
			tail := &node{kind: nodeLit, text: n.text[b.last:], fold: n.fold}
			n.text = n.text[:b.last]
			n = tail
			b.subs = append(b.subs, n)
		}
	case nodeLook:
		// The text it sees does not change: once is as good as often.
		if lo = min(lo, 1); hi != 0 {
			hi = 1
		}
	}
	b.subs[len(b.subs)-1] = &node{kind: nodeRepeat, subs: []*node{n}, min: lo, max: hi, mode: mode}
	b.last = 0
	return true
}

func (b *catBuilder) node() *node {
	switch len(b.subs) {
	case 0:
		return &node{kind: nodeEmpty}
	case 1:
		return b.subs[0]
	}
	return &node{kind: nodeCat, subs: b.subs}
}
