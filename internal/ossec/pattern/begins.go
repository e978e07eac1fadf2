package pattern

// Begins returns the bytes of which one stands at the start of every subject that
// the pattern matches and that is not empty; nil: nothing is known. It is the
// quickest look of all at a subject. Do not change it.
func (p *Pattern) Begins() Bits {
	var set byteSet
	known := false
	switch m := p.matcher.(type) {
	case *osMatch:
		known = m.begins(&set)
	case *osRegex:
		known = m.begins(&set)
	case *shortcut:
		known = (*osMatchAlt)(m).begins(&set)
	case *plainPCRE:
		known = m.begins(&set)
	case *pcre:
		known, set = m.prog.start == startAnchored && m.prog.first != allBytes, m.prog.first
	}
	if !known {
		return nil
	}
	return set[:]
}

func (m *osMatch) begins(set *byteSet) bool {
	for i := range m.alts {
		if !m.alts[i].begins(set) {
			return false
		}
	}
	return !m.negate
}

func (a *osMatchAlt) begins(set *byteSet) bool {
	switch a.kind {
	case isNever:
		return true
	case isPrefix, isWhole:
		return set.addFirst(a.text)
	}
	return false
}

func (m *plainPCRE) begins(set *byteSet) bool {
	for i := range m.texts {
		if t := &m.texts[i]; !t.begin || !set.addFirst(t.lit) {
			return false
		}
	}
	return true
}

func (r *osRegex) begins(set *byteSet) bool {
	for i := range r.alts {
		if a := &r.alts[i]; !a.never && !a.begins(set) {
			return false
		}
	}
	return true
}

// begins: an alternative that stands only at the start fails at once where its
// first cell does not take the first byte and is not starred.
func (a *osAlt) begins(set *byteSet) bool {
	if !a.begin {
		return false
	}
	if a.plain {
		return set.addFirst(a.head.lit)
	}
	first := &a.cells[0]
	if first.kind == cellPar {
		first = &a.cells[1]
	}
	switch {
	case first.kind == cellByte && first.lit != 0:
		return set.addFirst(string([]byte{first.lit}))
	case first.kind == cellEsc && first.quant != '*' && first.mask != classAny:
		set.addAll(classSet(first.mask))
		return true
	}
	return false
}

// addFirst adds what a text begins with in either case; false: it is empty.
func (s *byteSet) addFirst(text string) bool {
	if text == "" {
		return false
	}
	s.add(text[0])
	if c := lower[text[0]]; isLetter(c) {
		s.add(c)
		s.add(c - 'a' + 'A')
	}
	return true
}
