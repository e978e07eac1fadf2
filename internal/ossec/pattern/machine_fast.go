package pattern

// Short cuts of the automaton in machine.go. Each takes many steps at once that
// differ in nothing but the byte they are at, and leaves the automaton in the
// state in which it would have been; the oracle of the tests knows nothing of
// them.

// startCell returns the cell that must take a byte before anything can happen at
// the beginning of an alternative, nil if that is not so simple.
func (a *osAlt) startCell() *cell {
	if a.begin {
		return nil
	}
	j := 0
	if a.cells[0].kind == cellPar {
		j = 1
	}
	switch c := &a.cells[j]; c.kind {
	case cellByte:
		return c
	case cellEsc:
		if !a.cells[j+2].is('*') {
			return c
		}
	}
	return nil
}

// skip passes over bytes that an automaton without any progress cannot take,
// up to the last byte of the subject, which is left to the automaton.
func (c *cell) skip(s string, i int) int {
	last := len(s) - 1
	if c.kind == cellEsc {
		for i < last && classOf[s[i]]&c.mask == 0 {
			i++
		}
		return i
	}
	for i < last && lower[s[i]] != c.lit {
		i++
	}
	return i
}

// pass goes over the bytes of a quantified class at cell j that the cell after
// it does not take: from i, the first byte that must be looked at closely.
func (a *osAlt) pass(s string, i, j int) int {
	mask := a.cells[j].mask
	next := &a.cells[j+3]
	if next.kind == cellPar {
		next = &a.cells[j+4]
	}
	switch next.kind {
	case cellByte:
		lit := next.lit
		if lit == 0 { // takes nothing
			for i < len(s) && classOf[s[i]]&mask != 0 {
				i++
			}
			return i
		}
		for i < len(s) && classOf[s[i]]&mask != 0 && lower[s[i]] != lit {
			i++
		}
	case cellEsc:
		for i < len(s) {
			if t := classOf[s[i]]; t&mask == 0 || t&next.mask != 0 {
				break
			}
			i++
		}
	}
	return i
}
