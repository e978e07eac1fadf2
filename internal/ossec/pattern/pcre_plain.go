package pattern

// plainPCRE is a PCRE2 expression that comes down to a few literals, each of
// which may be anchored. Half of the expressions that people write are.
type plainPCRE struct {
	texts []plainText // in order of preference
	ossec bool
}

// maxPlain is the number of literals up to which looking for each beats the
// matcher.
const maxPlain = 8

type plainText struct {
	finder
	begin bool
	end   plainEnd
}

type plainEnd uint8

const (
	plainOpen   plainEnd = iota
	plainEndAll          // \z
	plainEndNL           // $
)

// plainTexts writes an expression out as literals, nil if that cannot be done or
// they are too many.
func plainTexts(n *node) []plainText {
	parts := expand(n)
	var texts []plainText
	for _, p := range parts {
		if p.text == "" && !(p.begin && p.end != plainOpen) {
			return nil
		}
		texts = append(texts, plainText{finder: newFinder(p.text, p.fold), begin: p.begin, end: p.end})
	}
	return texts
}

// plainPart is a text that a part of an expression matches.
type plainPart struct {
	text  string
	fold  bool
	begin bool
	end   plainEnd
}

// join puts b behind a, if there is one text for both.
func (a plainPart) join(b plainPart) (plainPart, bool) {
	out := plainPart{a.text + b.text, a.fold || b.fold, a.begin || b.begin, max(a.end, b.end)}
	switch {
	case a.end != plainOpen && (b.text != "" || b.end != plainOpen), b.begin && a.text != "":
		return out, false
	case a.fold != b.fold && (hasLetter(a.text) && !a.fold || hasLetter(b.text) && !b.fold):
		return out, false
	}
	return out, true
}

// expand lists the texts that n matches, in order of preference; nil if it
// cannot.
func expand(n *node) []plainPart {
	switch n.kind {
	case nodeEmpty:
		return []plainPart{{}}
	case nodeLit:
		return []plainPart{{text: n.text, fold: n.fold}}
	case nodeBegin:
		return []plainPart{{begin: true}}
	case nodeEnd:
		return []plainPart{{end: plainEndAll}}
	case nodeEndNL:
		return []plainPart{{end: plainEndNL}}
	case nodeGroup:
		return expand(n.subs[0])
	case nodeAlt:
		var all []plainPart
		for _, s := range n.subs {
			parts := expand(s)
			if parts == nil || len(all)+len(parts) > maxPlain {
				return nil
			}
			all = append(all, parts...)
		}
		return all
	case nodeRepeat:
		if parts := expand(n.subs[0]); parts != nil && n.min == 0 && n.max == 1 && n.mode == greedy {
			return append(parts, plainPart{})
		}
	case nodeCat:
		return expandCat(n.subs)
	}
	return nil
}

func expandCat(subs []*node) []plainPart {
	all := []plainPart{{}}
	for _, s := range subs {
		parts := expand(s)
		if parts == nil || len(all)*len(parts) > maxPlain {
			return nil
		}
		var next []plainPart
		for _, a := range all {
			for _, b := range parts {
				c, ok := a.join(b)
				if !ok {
					return nil
				}
				next = append(next, c)
			}
		}
		all = next
	}
	return all
}

func (m *plainPCRE) match(s string) bool {
	for i := range m.texts {
		if m.texts[i].start(s) >= 0 {
			return true
		}
	}
	return false
}

func (m *plainPCRE) find(s string, caps []Span) (int, []Span, bool) {
	start, end := -1, 0
	for i := range m.texts {
		t := &m.texts[i]
		if at := t.start(s); at >= 0 && (start < 0 || at < start) {
			start, end = at, at+len(t.lit)
		}
	}
	if !m.ossec {
		end--
	}
	return end, caps, start >= 0
}

// start returns the first place where the text stands as it must, or -1.
func (t *plainText) start(s string) int {
	n, room := len(t.lit), len(s)-len(t.lit)
	switch {
	case room < 0:
		return -1
	case t.begin:
		if t.is(s, 0) && t.ends(s, n) {
			return 0
		}
		return -1
	case t.end == plainOpen:
		return t.index(s, 0)
	}
	if room > 0 && t.ends(s, len(s)-1) && t.is(s, room-1) {
		return room - 1
	}
	if t.is(s, room) {
		return room
	}
	return -1
}

// ends reports whether the text may end at pos.
func (t *plainText) ends(s string, pos int) bool {
	switch t.end {
	case plainEndAll:
		return pos == len(s)
	case plainEndNL:
		return edge(opEndNL, s, pos)
	}
	return true
}
