package pattern

import "strings"

// Bytes returns bytes of which at least one occurs in every subject that an
// expression without Literals can match; nil: nothing can be said that would
// tell log lines apart. They are signs, so case does not matter. They are for a
// quick look at the subject before an expression that is slow to fail.
func (p *Pattern) Bytes() []byte {
	r, ok := p.matcher.(*osRegex)
	if !ok || p.literals != nil {
		return nil
	}
	var out []byte
	for i := range r.alts {
		c, ok := r.alts[i].sign()
		if !ok {
			return nil
		}
		out = append(out, c)
	}
	return out
}

// sign returns a sign that few log lines have and the automaton never passes
// without: a literal cell that is no quantifier.
func (a *osAlt) sign() (byte, bool) {
	const signs = `%#$&;!?~^|{}<>"'@`
	if a.plain {
		if i := strings.IndexAny(a.head.lit, signs); i >= 0 {
			return a.head.lit[i], true
		}
		return 0, false
	}
	for j := 0; a.cells[j].kind != cellEnd; j++ {
		switch c := &a.cells[j]; c.kind {
		case cellEsc:
			if j++; a.cells[j+1].isQuant() {
				j++
			}
		case cellByte:
			if a.firm(j) && strings.IndexByte(signs, c.lit) >= 0 {
				return c.lit, true
			}
		}
	}
	return 0, false
}
