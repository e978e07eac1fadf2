package pattern

import (
	"math/bits"
	"slices"
	"strings"
)

// prepare completes an expression with what spares the automaton work, and
// returns its literals.
func (r *osRegex) prepare() []string {
	var best []string
	known := true // best has a literal of every alternative so far
	for i := range r.alts {
		a := &r.alts[i]
		if a.never {
			continue
		}
		rows := []string{a.head.lit}
		if !a.plain {
			a.findRuns()
			a.findHead()
			a.findTail()
			rows = a.rows()
			if !a.begin || a.startsWithRun() {
				a.must = finders(slices.DeleteFunc(slices.Clone(rows), func(t string) bool { return strings.Contains(a.head.lit, t) }))
			}
		}
		top := ""
		for _, t := range rows {
			if score([]string{t}) > score([]string{top}) {
				top = t
			}
		}
		best = append(best, top)
		known = known && top != ""
	}
	if !known {
		return nil
	}
	return usable(worth(best))
}

// decided reports whether all alternatives are texts that may stand anywhere.
func (r *osRegex) decided() bool {
	for i := range r.alts {
		if a := &r.alts[i]; !a.never && (!a.plain || a.begin || a.final) {
			return false
		}
	}
	return true
}

// startsWithRun: a quantified class comes first.
func (a *osAlt) startsWithRun() bool {
	return a.cells[0].quant != 0 || a.cells[0].kind == cellPar && a.cells[1].quant != 0
}

// rows returns the literal parts of an alternative. The automaton never passes a
// literal cell without its byte, and goes from one to the next without leaving
// bytes out; a single parenthesis between them does not part them. A class that
// holds one character is as good as a literal, unless it is quantified or so
// near to the end that the automaton may accept without it.
func (a *osAlt) rows() (rows []string) {
	var row []byte
	flush := func() {
		if len(row) > 1 {
			rows = append(rows, string(row))
		}
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
	flush()
	return rows
}

// findRuns finds for each quantified class the bytes at which the automaton
// neither stops nor looks further.
func (a *osAlt) findRuns() {
	for j := range a.cells {
		c := &a.cells[j]
		if c.kind != cellEsc || !a.cells[j+2].isQuant() {
			continue
		}
		c.quant = a.cells[j+2].lit
		c.run = uint16(len(a.runs))
		run := *classSet(c.mask)
		x := j + 3
		if a.cells[x].kind == cellPar {
			x++
		}
		switch next := &a.cells[x]; next.kind {
		case cellEnd:
			run = byteSet{}
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
		a.runs = append(a.runs, run)
	}
}

// findHead finds the best literal in the part of the alternative that takes a
// byte a step: literals and classes without quantifier.
func (a *osAlt) findHead() {
	var row []byte
	at, start := 0, 0 // bytes so far, and those in front of row
	classes := false
	flush := func() {
		if text := string(row); weight(text) > weight(a.head.lit) {
			a.head, a.headAt, a.calm = newFinder(text, hasLetter(text)), int32(start), classes
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
			return
		}
		at++
	}
}

// firm reports whether the automaton never passes the literal cell j without its
// byte. Where it is the last one it may accept at a class in front of it.
func (a *osAlt) firm(j int) bool {
	return a.cells[j].lit != 0 && (j == 0 || a.cells[j-1].kind != cellClass || a.cells[j+1].kind != cellEnd)
}

// findTail finds the rarest literal byte behind the part that takes a byte a
// step. Behind the last one of a subject no place is worth a start.
func (a *osAlt) findTail() {
	best := rarity(' ')
	behind := false
	for j := 0; a.cells[j].kind != cellEnd; j++ {
		switch c := &a.cells[j]; c.kind {
		case cellEsc:
			j++
			if c.quant != 0 {
				j++
				behind = true
			}
		case cellByte:
			if behind && a.firm(j) && !isLetter(c.lit) && !c.isQuant() && rarity(c.lit) >= best {
				best, a.tail = rarity(c.lit), c.lit
				a.findLead(j)
			}
		}
	}
}

// findLead finds what stands in front of the tail, the cell j: where a literal
// follows a quantified class, and a class with + follows the literal, the
// automaton comes to the tail only over bytes of the class, at least one, and to
// those only from the literal.
func (a *osAlt) findLead(j int) {
	a.lead = 0
	if a.begin || j < 7 || a.cells[j-1].lit != '+' || a.cells[j-3].quant != '+' || a.cells[j-7].quant == 0 {
		return
	}
	between, lead := classSet(a.cells[j-3].mask), &a.cells[j-4]
	if lead.kind == cellByte && lead.lit != 0 && !isLetter(lead.lit) && !lead.isQuant() && !between.has(lead.lit) && !between.has(a.tail) {
		a.lead, a.between = lead.lit, between
	}
}

// onlyByte returns the only byte of a class that has but one.
func onlyByte(mask uint16) (byte, bool) { return classSet(mask).single() }

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
