package pattern

import (
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
	pars  int   // parentheses, both kinds
	begin bool  // ^: only at the start of the subject
	final bool  // $: only at its end
	start *cell // startCell
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
	kind cellKind
	lit  byte   // cellByte; 0 for a byte that matches nothing
	mask uint16 // cellEsc
	par  int32  // cellPar
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
		a.cells = append(a.cells, cell{}, cell{}, cell{}, cell{}, cell{})
		a.start = a.startCell()
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
		some, possible := r.alts[i].literals()
		if !possible {
			continue
		}
		if len(some) == 0 {
			return nil
		}
		all = append(all, some...)
	}
	return usable(worth(all))
}

// literals returns the best literal part of an alternative, and whether the
// alternative can match at all. The automaton never passes a literal cell
// without its byte, and goes from one to the next without leaving bytes out; a
// single parenthesis between them does not part them. A class that holds one
// character is as good as a literal, unless it is quantified or so near to the
// end that the automaton may accept without it.
func (a *osAlt) literals() ([]string, bool) {
	var b needsBuilder
	literal := func(c byte) { b.add(needs{exact: []string{string([]byte{c})}, known: true}) }
	for j := 0; a.cells[j].kind != cellEnd; j++ {
		switch c := &a.cells[j]; c.kind {
		case cellByte:
			if c.lit == 0 {
				return nil, false
			}
			literal(c.lit)
		case cellPar:
			if a.cells[j+1].kind == cellPar {
				b.add(needs{})
			}
		case cellEsc:
			j++
			one, ok := onlyByte(c.mask)
			switch next := &a.cells[j+1]; {
			case next.isQuant():
				j++
				b.add(needs{})
			case ok && next.kind != cellEnd && a.cells[j+2].kind != cellEnd:
				literal(one)
			default:
				b.add(needs{})
			}
		}
	}
	r := b.done()
	return r.best(), true
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
