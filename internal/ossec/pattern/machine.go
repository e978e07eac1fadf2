package pattern

import "strings"

// The automaton of Wazuh's OS_Regex: a cursor in the subject, a cursor in the
// row of cells, and four slots to come back to. It is not a regular
// expression; what it does is set down step by step in the specification of
// the rules engine, section 4.3, and nothing here is to be tidied away.

const (
	unset    = -2      // an end pointer or mark that was never set; -1 is a value
	maxSteps = 1 << 22 // plus stepsPerByte for each byte: then there is no match
)

func (r *osRegex) match(s string) bool {
	if r.capturing {
		var room [16]Span
		_, _, ok := r.find(s, room[:0])
		return ok
	}
	for i := range r.alts {
		if a := &r.alts[i]; !a.plain || a.never {
			_, _, ok := r.find(s, nil)
			return ok
		} else if _, ok := a.matchPlain(s); ok {
			return true
		}
	}
	return false
}

func (r *osRegex) find(s string, caps []Span) (int, []Span, bool) {
	budget := maxSteps + stepsPerByte*len(s)
	for i := range r.alts {
		a := &r.alts[i]
		switch {
		case a.never:
		case a.plain:
			if end, ok := a.matchPlain(s); ok {
				return end, caps, true
			}
		case !a.hopeful(s):
		case !r.capturing:
			if end, ok := a.run(s, nil, false, &budget); ok {
				return end, caps, true
			}
		default:
			end, all, ok, final := a.capture(s, caps, &budget)
			if ok || final {
				return end, all, ok
			}
			caps = all // no longer, but perhaps with more room
		}
	}
	return 0, caps, false
}

// hopeful reports whether the literals that a match needs are there.
func (a *osAlt) hopeful(s string) bool {
	if n := len(a.head.lit); a.begin && n > 0 && (int(a.headAt)+n > len(s) || !a.head.is(s, int(a.headAt))) {
		return false
	}
	return holdsAll(a.must, s)
}

// matchPlain matches an alternative that is a plain literal.
func (a *osAlt) matchPlain(s string) (int, bool) {
	n := len(a.head.lit)
	switch {
	case n == 0:
		return 0, !a.final || s == ""
	case a.begin:
		return n - 1, (len(s) == n || !a.final && len(s) > n) && a.head.is(s, 0)
	case a.final:
		return len(s) - 1, len(s) >= n && a.head.is(s, len(s)-n)
	}
	at := a.head.index(s, 0)
	return at + n - 1, at >= 0
}

// capture runs the automaton with marks made where the captures are to be. final
// says that this is the verdict on the whole expression even if it is no match.
func (a *osAlt) capture(s string, caps []Span, budget *int) (end int, _ []Span, ok, final bool) {
	base := len(caps)
	for range a.pars / 2 {
		caps = append(caps, Span{unset, unset})
	}
	marks := caps[base:]
	if end, ok = a.run(s, marks, true, budget); !ok {
		return 0, caps[:base], false, false
	}
	n := 0
	for ; n < len(marks) && marks[n].Start != unset && marks[n].End != unset; n++ {
		if marks[n].End < marks[n].Start {
			return 0, caps[:base], false, true
		}
	}
	return end, caps[:base+n], true, true
}

func setMark(marks []Span, par uint16, at int) {
	if marks == nil {
		return
	}
	if par&1 == 0 {
		marks[par>>1].Start = at
	} else {
		marks[par>>1].End = at
	}
}

func (c *cell) isQuant() bool  { return c.kind == cellByte && (c.lit == '+' || c.lit == '*') }
func (c *cell) is(b byte) bool { return c.kind == cellByte && c.lit == b }

// takes: the cell as a literal holds the subject's byte b.
func (c *cell) takes(b byte) bool {
	return c.kind == cellByte && c.lit == lower[b] && c.lit != 0 || c.kind == cellPar && b == '('
}

// run tries one alternative. It returns the end pointer. Places where the
// automaton would do nothing but go on are passed in one go, see skip and
// cell.run; everything else is its own behaviour.
func (a *osAlt) run(s string, marks []Span, capturing bool, budget *int) (int, bool) {
	type slot struct{ j, i int }
	var (
		slots [4]slot
		used  int
		n     = len(s)
		i, j  int
		last  = 0
		first = unset
		more  bool
		fresh = !a.begin && a.head.lit != "" // at a place to start from
		cells = a.cells
		stop  = n - 1 // the last place to start from
	)
	if a.tail != 0 {
		if strings.IndexByte(s, a.tail) < 0 {
			return 0, false
		}
		if a.lead != 0 || !a.begin && a.head.lit == "" {
			if stop = a.lastTail(s); stop < 0 {
				return 0, false
			}
		}
	}
	for i < n {
		if fresh && !(more && a.calm) {
			if i = a.skip(s, i); i < 0 {
				return 0, false
			}
		}
		fresh = false
		if *budget--; *budget < 0 {
			return 0, false
		}
		c := s[i]
		cl := &cells[j]
		if cl.kind == cellEnd {
			if !a.final {
				return last, true
			}
		} else if cl.kind == cellPar {
			setMark(marks, cl.par, i)
			j++
			cl = &cells[j]
			if cl.kind == cellEnd && !a.final {
				return last, true
			}
		}
		if cl.kind == cellEsc {
			if classOf[c]&cl.mask != 0 {
				if cl.quant == 0 {
					j += 2
					if first == unset {
						first = i
					}
					last = i
					i++
					continue
				}
				if cl.quant == '*' {
					more = true
				}
				if !more {
					if next := &cells[j+3]; next.kind == cellPar {
						if i+1 == n {
							setMark(marks, next.par, i+1)
						} else {
							setMark(marks, next.par, i)
						}
					}
					more = true
					last = i
					i++
					continue
				}
				if run := &a.runs[cl.run]; run.has(c) {
					from := i
					for i++; i < n && run.has(s[i]); i++ {
					}
					*budget -= (i - from) >> 3
					last = i - 1
					continue
				}
				x, par := j+3, -1
				if cells[x].kind == cellPar {
					par = int(cells[x].par)
					x++
				}
				step := 0
				switch next := &cells[x]; {
				case next.kind == cellEnd:
					// To the end of the run; the mark goes with it.
					from := i
					for i < n && classOf[s[i]]&cl.mask != 0 {
						i++
					}
					*budget -= (i - from) >> 3
					if par >= 0 {
						setMark(marks, uint16(par), i)
					}
					continue
				case next.kind == cellEsc:
					if next.quant == 0 {
						step = 2
					}
				default:
					more = false
					step = 1
				}
				if par >= 0 {
					if more && step == 1 {
						setMark(marks, uint16(par), i+1)
					} else {
						setMark(marks, uint16(par), i)
					}
				}
				if used < len(slots) {
					slots[used] = slot{j, i}
					used++
				}
				j = x + step
				last = i
				i++
				continue
			}
			switch {
			case (cells[j+2].kind == cellEnd || cells[j+3].kind == cellEnd) && more && last != unset:
				last = i
				if !a.final {
					return last, true
				}
			case cl.quant == '+' && more:
				j += 3
				more = false
				continue
			case cl.quant == '*':
				j += 3
				last = i - 1
				more = false
				continue
			}
			more = false
		} else if cl.takes(c) {
			j++
			if first == unset {
				first = i
			}
			for i++; i < n && cells[j].lit == lower[s[i]] && cells[j].kind == cellByte && s[i] != 0; i++ {
				j++
			}
			last = i - 1
			continue
		}
		if used > 0 {
			used--
			j, i = slots[used].j, slots[used].i+1
			continue
		}
		if a.begin {
			return 0, false
		}
		if first != unset {
			i = first
			first = unset
		}
		j, last = 0, unset
		if i++; i > stop {
			return 0, false
		}
		fresh = a.head.lit != ""
	}
	return a.atEnd(j, n, last, more, marks, capturing)
}

// lastTail returns the last place of the tail, with what must stand in front of
// it, or -1.
func (a *osAlt) lastTail(s string) int {
	p := strings.LastIndexByte(s, a.tail)
	if a.lead == 0 {
		return p
	}
	for ; p >= 0; p = strings.LastIndexByte(s[:p], a.tail) {
		q := p
		for q > 0 && a.between.has(s[q-1]) {
			q--
		}
		if 0 < q && q < p && s[q-1] == a.lead {
			return p
		}
	}
	return -1
}

// skip returns the next place at or after i where the literal near the start
// stands in its place, or -1: anywhere else the automaton fails before it comes
// to a quantifier, and tries the next place. All it does on the way is to
// forget "more" at a class that does not fit, so that with classes on the way
// only an automaton without "more" may skip.
func (a *osAlt) skip(s string, i int) int {
	if i = a.head.index(s, i+int(a.headAt)); i < 0 {
		return -1
	}
	return i - int(a.headAt)
}

// atEnd decides at the end of the subject whether the cells that are left may
// all be empty.
func (a *osAlt) atEnd(j, n, last int, more bool, marks []Span, capturing bool) (int, bool) {
	cells := a.cells
	if capturing {
		for cells[j].kind == cellEsc && cells[j+2].is('*') {
			j += 3
		}
		if cells[j].kind == cellPar {
			setMark(marks, cells[j].par, n)
		}
	}
	skipPar := func() {
		if cells[j].kind == cellPar {
			j++
		}
	}
	skipPar()
	ok := cells[j].kind == cellEnd
	// A quantified class may end here with what it has, and a starred one after it
	// or instead of it may be empty.
	star := func() {
		if cells[j].kind != cellEsc {
			return
		}
		if j += 2; cells[j].is('*') {
			j++
			skipPar()
			ok = cells[j].kind == cellEnd
		}
	}
	if !ok && more && cells[j].kind == cellEsc {
		if j += 2; cells[j].isQuant() {
			j++
			skipPar()
			if ok = cells[j].kind == cellEnd; !ok {
				star()
			}
		}
	}
	if !ok {
		star()
	}
	return last, ok && last != unset
}
