package pattern

// The automaton of Wazuh's OS_Regex: a cursor in the subject, a cursor in the
// row of cells, and four slots to come back to. It is not a regular
// expression; what it does is set down step by step in the specification of
// the rules engine, section 4.3, and nothing here is to be tidied away.

const (
	unset    = -2 // an end pointer or mark that was never set; -1 is a value
	maxSteps = 1 << 22
)

func (r *osRegex) match(s string) bool {
	_, _, ok := r.find(s, nil)
	return ok
}

func (r *osRegex) find(s string, caps []Span) (int, []Span, bool) {
	if !r.capturing {
		for i := range r.alts {
			if end, ok := r.alts[i].run(s, nil, false); ok {
				return end, caps, true
			}
		}
		return 0, caps, false
	}
	base := len(caps)
	for i := range r.alts {
		// The marks are made where the captures are to be.
		a := &r.alts[i]
		for range a.pars / 2 {
			caps = append(caps, Span{unset, unset})
		}
		marks := caps[base:]
		end, ok := a.run(s, marks, true)
		if !ok {
			caps = caps[:base]
			continue
		}
		n := 0
		for ; n < len(marks) && marks[n].Start != unset && marks[n].End != unset; n++ {
			if marks[n].End < marks[n].Start {
				return 0, caps[:base], false
			}
		}
		return end, caps[:base+n], true
	}
	return 0, caps, false
}

func setMark(marks []Span, par int32, at int) {
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

// run tries one alternative. It returns the end pointer.
func (a *osAlt) run(s string, marks []Span, capturing bool) (int, bool) {
	type slot struct{ j, i int }
	var (
		slots  [4]slot
		used   int
		n      = len(s)
		i, j   int
		last   = 0
		first  = unset
		more   bool
		cells  = a.cells
		budget = maxSteps + 64*n
	)
	for i < n {
		if budget--; budget < 0 {
			return 0, false
		}
		if j == 0 && a.start != nil && used == 0 && first == unset && !more {
			if k := a.start.skip(s, i); k > i {
				budget -= k - i
				i, last = k, unset
			}
		}
		c := s[i]
		if cells[j].kind == cellEnd {
			if !a.final {
				return last, true
			}
		} else if cells[j].kind == cellPar {
			setMark(marks, cells[j].par, i)
			j++
			if cells[j].kind == cellEnd && !a.final {
				return last, true
			}
		}
		cl := &cells[j]
		if cl.kind == cellEsc {
			if classOf[c]&cl.mask != 0 {
				x := j + 2
				if !cells[x].isQuant() {
					j = x
					if first == unset {
						first = i
					}
					last = i
					i++
					continue
				}
				if cells[x].lit == '*' {
					more = true
				}
				if more {
					if k := a.pass(s, i, j); k > i {
						budget -= k - i
						i, last = k, k-1
						continue
					}
					x++
					step, par := -1, int32(-1)
					if cells[x].kind == cellPar {
						par = cells[x].par
						x++
					}
					switch next := &cells[x]; {
					case next.kind == cellEnd:
						step = 1
					case next.kind == cellEsc:
						if classOf[c]&next.mask != 0 {
							if step = 2; cells[x+2].isQuant() {
								step = 0
							}
						}
					case next.takes(c):
						more = false
						step = 1
					}
					if step >= 0 {
						if cells[x].kind == cellEnd {
							k := i + 1
							for k < n && classOf[s[k]]&cl.mask != 0 {
								k++
							}
							if par >= 0 {
								setMark(marks, par, k)
							}
							budget -= k - i - 1
							i = k
							continue
						}
						if par >= 0 {
							if more && step == 1 {
								setMark(marks, par, i+1)
							} else {
								setMark(marks, par, i)
							}
						}
						x += step
						if used < len(slots) {
							slots[used] = slot{j, i}
							used++
						}
						j = x
					}
				} else {
					if cells[x+1].kind == cellPar {
						if i+1 == n {
							setMark(marks, cells[x+1].par, i+1)
						} else {
							setMark(marks, cells[x+1].par, i)
						}
					}
					more = true
				}
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
			case cells[j+2].is('+') && more:
				j += 3
				more = false
				continue
			case cells[j+2].is('*'):
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
			last = i
			i++
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
		i++
	}
	return a.atEnd(j, n, last, more, marks, capturing)
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
