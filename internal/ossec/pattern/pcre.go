package pattern

import (
	"unicode/utf8"

	"riposte/internal/ossec"
)

// pcre is a PCRE2 expression in the hands of our own matcher.
type pcre struct {
	prog  *prog
	lits  []string
	utf   bool
	ossec bool // hand out captures and the end pointer as OSSEC does
}

func compilePCRE2(d ossec.Dialect, text string, captures bool) (matcher, []string, error) {
	if d == ossec.OSSEC {
		if text == "" {
			return nil, nil, errorAt(0, "an empty PCRE2 expression")
		}
		if m := newShortcut(text); m != nil {
			return m, m.literals(), nil
		}
	}
	return compileText(d, text, captures, false)
}

// compileText compiles PCRE2 text; utf is OSSEC's way with its own languages.
func compileText(d ossec.Dialect, text string, captures, utf bool) (matcher, []string, error) {
	tree, err := parsePCRE2(text, d == ossec.OSSEC, utf)
	if err != nil {
		return nil, nil, err
	}
	if !tree.utf && !(captures && tree.groups > 0) {
		if texts := plainTexts(tree.root); texts != nil {
			need := require(tree.root)
			return &plainPCRE{texts: texts, ossec: d == ossec.OSSEC}, usable(need.best()), nil
		}
	}
	m, err := newPCRE(d, tree, captures)
	if err != nil {
		return nil, nil, err
	}
	return m, m.lits, nil
}

// newPCRE compiles a parsed expression for the matcher.
func newPCRE(d ossec.Dialect, tree *pcreTree, captures bool) (*pcre, error) {
	need := require(tree.root)
	p, err := compileTree(tree, captures, need.must())
	if err != nil {
		return nil, err
	}
	return &pcre{prog: p, utf: tree.utf, ossec: d == ossec.OSSEC, lits: usable(need.best())}, nil
}

func (m *pcre) match(s string) bool {
	_, _, ok := m.locate(s, nil, false)
	return ok
}

func (m *pcre) find(s string, caps []Span) (int, []Span, bool) {
	return m.locate(s, caps, m.prog.groups > 0)
}

func (m *pcre) locate(s string, caps []Span, capture bool) (int, []Span, bool) {
	p := m.prog
	if m.utf && !utf8.ValidString(s) {
		return 0, caps, false
	}
	from := p.next(s, 0)
	if from < 0 || !holdsAll(p.must, s) {
		return 0, caps, false
	}
	if p.choices == 0 && p.slots == 0 {
		var t thread
		end, ok := p.search(&t, s, from)
		return m.endPointer(end), caps, ok
	}
	t := threads.Get().(*thread)
	defer t.release()
	if cap(t.regs) < p.slots {
		t.regs = make([]int32, p.slots)
	}
	t.regs = t.regs[:p.slots]
	end, ok := p.search(t, s, from)
	if ok && capture {
		caps = m.captures(t.regs, caps)
	}
	return m.endPointer(end), caps, ok
}

// release gives a thread back, but not a memory that grew huge.
func (t *thread) release() {
	t.s, t.stack = "", t.stack[:0]
	if cap(t.tried) > 1<<16 {
		t.tried = nil
	}
	if cap(t.stack) > 1<<16 {
		t.stack = nil
	}
	threads.Put(t)
}

// endPointer: OSSEC remembers the end of a match, Wazuh its last byte.
func (m *pcre) endPointer(end int) int {
	if m.ossec {
		return end
	}
	return end - 1
}

// captures hands out the groups that took part. Wazuh counts those in between
// that did not as empty, OSSEC leaves them out.
func (m *pcre) captures(regs []int32, caps []Span) []Span {
	top := len(regs[:2*m.prog.groups])
	for top > 0 && regs[top-1] < 0 {
		top -= 2
	}
	for i := 0; i < top; i += 2 {
		switch lo, hi := regs[i], regs[i+1]; {
		case hi >= 0:
			caps = append(caps, Span{int(lo), int(hi)})
		case !m.ossec:
			caps = append(caps, Span{})
		}
	}
	return caps
}
