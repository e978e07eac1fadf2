package pattern

import (
	"math/bits"
	"slices"
	"strings"

	"riposte/internal/ossec"
)

// osRegex is an OS_Regex expression as Wazuh understands it: alternatives,
// each a row of cells for the automaton in machine.go.
type osRegex struct {
	alts      []osAlt
	capturing bool // end-of-subject rules for captures apply
}

// osAlt is one alternative. The row of cells ends with padding of kind cellEnd,
// so that the automaton may look four cells ahead.
type osAlt struct {
	cells []cell
	pars  int  // parentheses, both kinds
	begin bool // ^: only at the start of the subject
	final bool // $: only at its end

	// What spares the automaton hopeless places; see machine.go.
	head   finder   // a literal near the start of every match
	headAt int      // how many bytes behind the start
	calm   bool     // classes stand in front of it or in it: see skip
	must   []finder // literals that occur in every subject that matches
	plain  bool     // head is all there is
	never  bool     // cannot match
}

type cellKind uint8

const (
	cellEnd   cellKind = iota
	cellByte           // one literal byte, lower case
	cellEsc            // first cell of a class, with the class in mask
	cellClass          // second cell of a class
	cellPar            // ( or ), the ordinal in par
)

type cell struct {
	kind  cellKind
	lit   byte     // cellByte; 0 for a byte that matches nothing
	quant byte     // cellEsc: the + or * behind it, or 0
	mask  uint16   // cellEsc
	par   int32    // cellPar
	run   *byteSet // cellEsc with quant: the bytes of the class that go no further
}

// The classes of OS_Regex as bits of classOf.
const (
	classDigit uint16 = 1 << iota
	classNotDigit
	classWord
	classNotWord
	classSpace
	classNotSpace
	classPunct
	classAny
	classTab
	classOpen
	classClose
	classBackslash
	classDollar
	classBar
	classLess
)

// classBits gives the class of each escape letter.
var classBits = map[byte]uint16{
	'd': classDigit, 'D': classNotDigit, 'w': classWord, 'W': classNotWord,
	's': classSpace, 'S': classNotSpace, 'p': classPunct, '.': classAny, 't': classTab,
	'(': classOpen, ')': classClose, '\\': classBackslash, '$': classDollar, '|': classBar, '<': classLess,
}

// classOf gives the classes that hold a byte.
var classOf = func() (t [256]uint16) {
	const punct = "!\"#$%&'()*+,-.:;<=>?[]{|}"
	single := map[byte]uint16{
		'\t': classTab, '(': classOpen, ')': classClose, '\\': classBackslash,
		'$': classDollar, '|': classBar, '<': classLess,
	}
	for i := range t {
		c := byte(i)
		bits := classAny | single[c]
		either := func(in bool, yes, no uint16) {
			if in {
				bits |= yes
			} else {
				bits |= no
			}
		}
		digit := '0' <= c && c <= '9'
		letter := 'a' <= lower[c] && lower[c] <= 'z'
		either(digit, classDigit, classNotDigit)
		either(digit || letter || c == '@' || c == '-' || c == '_', classWord, classNotWord)
		either(c == ' ', classSpace, classNotSpace)
		for j := range len(punct) {
			if punct[j] == c {
				bits |= classPunct
			}
		}
		t[i] = bits
	}
	return t
}()

func compileOSRegex(d ossec.Dialect, text string, captures bool) (matcher, []string, error) {
	if limit := maxText(d); len(text) > limit {
		return nil, nil, errorAt(limit, "an OS_Regex of %d bytes, at most %d are allowed", len(text), limit)
	}
	if d == ossec.OSSEC {
		return compileOSSECRegex(text, captures)
	}
	r, err := parseOSRegex(text)
	if err != nil {
		return nil, nil, err
	}
	for i := range r.alts {
		if captures && r.alts[i].pars > 0 {
			r.capturing = true
		}
		r.alts[i].prepare()
	}
	return r, r.literals(), nil
}

// parseOSRegex reads Wazuh's OS_Regex. Quantifiers stay literal cells: whether
// a + or * is one depends on where the automaton stands when it meets it.
func parseOSRegex(text string) (*osRegex, error) {
	r := &osRegex{}
	var a osAlt
	open := -1 // offset of the open parenthesis
	flush := func() {
		r.alts = append(r.alts, a)
		a = osAlt{}
	}
	first := true // nothing of this alternative was read yet
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\':
			if i+1 == len(text) {
				return nil, errorAt(i, `a single \ at the end: expected \\ or a class such as \d`)
			}
			i++
			mask, ok := classBits[text[i]]
			if !ok {
				return nil, errorAt(i-1, `\%c: OS_Regex has only \d \D \w \W \s \S \p \t \. \( \) \\ \$ \| \<`, text[i])
			}
			a.cells = append(a.cells, cell{kind: cellEsc, mask: mask}, cell{kind: cellClass})
		case c == '(':
			if open >= 0 {
				return nil, errorAt(i, "a ( inside parentheses: OS_Regex has one level only; write \\( for the character")
			}
			open = i
			a.cells = append(a.cells, cell{kind: cellPar, par: int32(a.pars)})
			a.pars++
		case c == ')':
			if open < 0 {
				return nil, errorAt(i, "a ) without (: write \\) for the character")
			}
			open = -1
			a.cells = append(a.cells, cell{kind: cellPar, par: int32(a.pars)})
			a.pars++
		case c == '|':
			if open >= 0 {
				return nil, errorAt(i, "a | inside parentheses: OS_Regex alternates only whole expressions; write \\| for the character")
			}
			flush()
			first = true
			continue
		case c == '^' && first:
			a.begin = true
		case c == '$' && open < 0 && (i+1 == len(text) || text[i+1] == '|'):
			a.final = true
		case c >= 0x80:
			a.never = true
			a.cells = append(a.cells, cell{kind: cellByte}) // the original's table of characters ends at 127
		default:
			a.cells = append(a.cells, cell{kind: cellByte, lit: lower[c]})
		}
		first = false
	}
	if open >= 0 {
		return nil, errorAt(open, "a ( that is never closed: write \\( for the character")
	}
	flush()
	return r, nil
}

// literals returns for each alternative the best of its literal parts.
func (r *osRegex) literals() []string {
	var all []string
	for i := range r.alts {
		a := &r.alts[i]
		if a.never {
			continue
		}
		need := a.require()
		some := need.best()
		if len(some) == 0 {
			return nil
		}
		all = append(all, some...)
	}
	return usable(worth(all))
}

// require returns the literal parts of an alternative. The automaton never
// passes a literal cell without its byte, and goes from one to the next without
// leaving bytes out; a single parenthesis between them does not part them. A
// class that holds one character is as good as a literal, unless it is
// quantified or so near to the end that the automaton may accept without it.
func (a *osAlt) require() needs {
	var b needsBuilder
	var row []byte
	flush := func() {
		b.add(needs{exact: []string{string(row)}, known: true})
		b.add(needs{})
		row = row[:0]
	}
	for j := 0; a.cells[j].kind != cellEnd; j++ {
		switch c := &a.cells[j]; c.kind {
		case cellByte:
			row = append(row, c.lit)
		case cellPar:
			if a.cells[j+1].kind == cellPar {
				flush()
			}
		case cellEsc:
			j++
			one, ok := onlyByte(c.mask)
			switch {
			case c.quant != 0:
				j++
				flush()
			case ok && a.cells[j+1].kind != cellEnd && a.cells[j+2].kind != cellEnd:
				row = append(row, one)
			default:
				flush()
			}
		}
	}
	b.add(needs{exact: []string{string(row)}, known: true})
	return b.done()
}

// onlyByte returns the only byte of a class that has but one.
func onlyByte(mask uint16) (byte, bool) {
	switch mask {
	case classSpace:
		return ' ', true
	case classTab:
		return '\t', true
	case classOpen:
		return '(', true
	case classClose:
		return ')', true
	case classBackslash:
		return '\\', true
	case classDollar:
		return '$', true
	case classBar:
		return '|', true
	case classLess:
		return '<', true
	}
	return 0, false
}

// prepare completes an alternative of which all cells are there.
func (a *osAlt) prepare() {
	a.cells = append(a.cells, cell{}, cell{}, cell{}, cell{}, cell{})
	for j := range a.cells {
		if c := &a.cells[j]; c.kind == cellEsc && a.cells[j+2].isQuant() {
			c.quant = a.cells[j+2].lit
			c.run = a.runSet(j)
		}
	}
	if a.never {
		return
	}
	a.findHead()
	if !a.begin && !a.plain {
		need := a.require()
		a.must = finders(slices.DeleteFunc(need.must(), func(t string) bool { return strings.Contains(a.head.lit, t) }))
	}
}

// runSet returns the bytes of the quantified class at j at which the automaton
// neither stops nor looks further.
func (a *osAlt) runSet(j int) *byteSet {
	run := *classSet(a.cells[j].mask)
	x := j + 3
	if a.cells[x].kind == cellPar {
		x++
	}
	switch next := &a.cells[x]; next.kind {
	case cellEnd:
		return &byteSet{}
	case cellEsc:
		run.removeAll(classSet(next.mask))
	case cellPar:
		run.remove('(')
	case cellByte:
		run.remove(next.lit)
		if isLetter(next.lit) {
			run.remove(next.lit - 'a' + 'A')
		}
	}
	return &run
}

// findHead finds the best literal in the part of the alternative that takes a
// byte a step: literals and classes without quantifier.
func (a *osAlt) findHead() {
	var row []byte
	at, start := 0, 0 // bytes so far, and those in front of row
	classes := false
	flush := func() {
		if text := string(row); weight(text) > weight(a.head.lit) {
			a.head, a.headAt, a.calm = newFinder(text, hasLetter(text)), start, classes
		}
		row = row[:0]
		start = at
	}
	for j := 0; ; j++ {
		switch c := &a.cells[j]; {
		case c.kind == cellByte:
			row = append(row, c.lit)
		case c.kind == cellPar && a.cells[j+1].kind != cellPar:
			continue
		case c.kind == cellEsc && c.quant == 0:
			j++
			if one, ok := onlyByte(c.mask); ok {
				classes = true
				row = append(row, one)
				break
			}
			flush()
			classes = true
			start++
		default:
			flush()
			// Every cell a literal: then there are as many cells as bytes.
			a.plain = c.kind == cellEnd && j == at && len(a.head.lit) == at
			return
		}
		at++
	}
}

// classSets holds the classes as sets, by bit.
var classSets = func() (sets [16]byteSet) {
	for c, in := range classOf {
		for ; in != 0; in &= in - 1 {
			sets[bits.TrailingZeros16(in)].add(byte(c))
		}
	}
	return sets
}()

// classSet returns a class as a set.
func classSet(mask uint16) *byteSet { return &classSets[bits.TrailingZeros16(mask)] }
