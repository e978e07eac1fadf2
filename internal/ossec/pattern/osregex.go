package pattern

import (
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
	runs  []byteSet
	pars  int32 // parentheses, both kinds
	begin bool  // ^: only at the start of the subject
	final bool  // $: only at its end
	never bool  // holds a byte that matches nothing

	// What spares the automaton hopeless places; see osprepare.go.
	plain   bool     // head is all there is, and there are no cells
	calm    bool     // classes stand in front of head or in it: see skip
	headAt  int32    // how many bytes behind the start of a match head stands
	head    finder   // a literal near the start of every match, or nothing
	must    []finder // literals that occur in every subject that matches
	tail    byte     // a literal byte at or behind the start of every match, 0: none worth it
	lead    byte     // the literal byte that stands in front of the tail, with a run of between in between; 0: not known
	between *byteSet
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
	lit   byte   // cellByte; 0 for a byte that matches nothing
	quant byte   // cellEsc: the + or * behind it, or 0
	mask  uint16 // cellEsc
	par   uint16 // cellPar
	run   uint16 // cellEsc with quant: in runs, the bytes of the class that go no further
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
		r.capturing = r.capturing || captures && r.alts[i].pars > 0
	}
	return r, r.prepare(), nil
}

// padding is the number of cells behind the last one that the automaton looks at.
const padding = 5

// parseOSRegex reads Wazuh's OS_Regex. Quantifiers stay literal cells: whether
// a + or * is one depends on where the automaton stands when it meets it.
func parseOSRegex(text string) (*osRegex, error) {
	if !strings.ContainsAny(text, `\()`) {
		return parsePlain(text), nil
	}
	n := 1 + strings.Count(text, "|")
	r := &osRegex{alts: make([]osAlt, 0, n)}
	cells := make([]cell, 0, len(text)+n*padding)
	a := osAlt{cells: cells}
	open := -1 // offset of the open parenthesis
	flush := func() {
		a.cells = append(a.cells, make([]cell, padding)...)
		r.alts = append(r.alts, a)
		a = osAlt{cells: a.cells[len(a.cells):]}
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
			a.cells = append(a.cells, cell{kind: cellPar, par: uint16(a.pars)})
			a.pars++
		case c == ')':
			if open < 0 {
				return nil, errorAt(i, "a ) without (: write \\) for the character")
			}
			open = -1
			a.cells = append(a.cells, cell{kind: cellPar, par: uint16(a.pars)})
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

// parsePlain reads an expression without classes and parentheses.
func parsePlain(text string) *osRegex {
	r := &osRegex{}
	for part := range strings.SplitSeq(text, "|") {
		a := osAlt{plain: true}
		part, a.begin = strings.CutPrefix(part, "^")
		part, a.final = strings.CutSuffix(part, "$")
		a.never = hasHighByte(part)
		a.head = newFinder(lowerASCII(part), hasLetter(part))
		r.alts = append(r.alts, a)
	}
	return r
}
