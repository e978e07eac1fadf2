package pattern

import (
	"strings"
	"sync"
)

// The matcher is a backtracker, because Perl's preference among matches is what
// a backtracker does, and because it is fast on the expressions people write.
// Two things keep it from running away. A search that has taken more steps than
// a well-behaved one needs starts again with a memory of the choices that
// failed: since a choice at a position fails or not whatever came before, none
// is explored twice, and the time is bounded by the size of the expression
// times that of the subject, up to hardSteps, some tenths of a second. Where a
// choice does depend on what came before (look-around, atomic groups,
// back-references) there is only a limit on the steps, as PCRE2 has one. A search
// that reaches a limit finds nothing.
const (
	easySteps    = 2000    // plus easyPerByte for each byte: then comes the memory
	easyPerByte  = 4       //
	maxMemory    = 1 << 27 // bits
	hardSteps    = 1 << 25 // with memory
	stepLimit    = 1 << 22 // where there can be no memory
	stepsPerByte = 64      // the same, for each byte
	stackReserve = 64      // frames
	maxStack     = 1 << 20 // frames: then the search gives up
)

// thread is the state of one search.
type thread struct {
	s      string
	regs   []int32
	stack  []frame
	budget int // steps left
	passed int // bytes that runs have gone over, forth and back
	// tried has a bit for each choice and position, once remembers is set.
	remembers bool
	tried     []uint64
}

// frame is a way not taken yet, or a register's value from before.
type frame struct {
	kind frameKind
	mode repeatMode
	list uint16 // frameAlt
	pc   int32
	pos  int32
	x    int32
}

type frameKind uint8

const (
	frameGo    frameKind = iota // go on at pc and pos
	frameRun                    // greedy: give back from pos down to x; lazy: take more from pos up to x
	frameAlt                    // the alternatives from x on, at pos
	frameReset                  // register pc had the value pos
)

type status uint8

const (
	failed status = iota
	matched
	exhausted
)

var threads = sync.Pool{New: func() any { return &thread{stack: make([]frame, 0, stackReserve)} }}

// search finds the leftmost match in s that starts at or after from, which is
// what p.next returned for the start of s, and leaves the captures in t.regs. It
// returns the end of the match.
func (p *prog) search(t *thread, s string, from int) (int, bool) {
	t.s, t.passed = s, 0
	t.budget = easySteps + easyPerByte*len(s)
	if !p.memoable {
		t.budget = stepLimit + stepsPerByte*len(s)
	}
	end, st := p.scan(t, from)
	if st == exhausted && p.memoable && p.remember(t) {
		end, st = p.scan(t, from)
		t.remembers = false
	}
	return end, st == matched
}

// remember makes room for the memory of choices.
func (p *prog) remember(t *thread) bool {
	bits := p.choices * (len(t.s) + 1)
	if bits > maxMemory {
		return false
	}
	t.remembers, t.budget, t.passed = true, hardSteps, 0
	words := (bits + 63) / 64
	if cap(t.tried) < words {
		t.tried = make([]uint64, words)
		return true
	}
	t.tried = t.tried[:words]
	clear(t.tried)
	return true
}

// first marks a choice at a position as tried and reports whether it was not.
// Besides the position there is one more thing that decides how a choice ends:
// whether the rounds it is in have taken anything yet.
func (t *thread) first(in *inst, pos int) bool {
	choice := int(in.memo)
	if in.rare != nil {
		for i, mark := range in.rare.loops {
			if t.regs[mark] == int32(pos) {
				choice += 1 << i
			}
		}
	}
	bit := choice*(len(t.s)+1) + pos
	if t.tried[bit>>6]>>(bit&63)&1 != 0 {
		return false
	}
	t.tried[bit>>6] |= 1 << (bit & 63)
	return true
}

// scan tries the places where a match can start, from left to right.
func (p *prog) scan(t *thread, pos int) (int, status) {
	for pos >= 0 {
		for i := range t.regs {
			t.regs[i] = -1
		}
		if end, st := p.run(t, 0, pos); st != failed {
			return end, st
		}
		if p.start == startAnchored {
			break
		}
		pos = p.next(t.s, pos+1)
	}
	return 0, failed
}

// next returns the first place at or after pos where a match can start, or -1.
func (p *prog) next(s string, pos int) int {
	if pos > len(s) {
		return -1
	}
	switch p.start {
	case startAnchored:
		if pos == 0 && p.startsWell(s) {
			return 0
		}
		return -1
	case startLit:
		return p.prefix.index(s, pos)
	case startSet:
		if p.tryFirst && pos == 0 && s != "" {
			return 0
		}
		for ; pos < len(s); pos++ {
			if p.first.has(s[pos]) && (p.second == nil || pos+1 < len(s) && p.second.has(s[pos+1])) &&
				(p.lead == nil || pos == 0 || !p.lead.has(s[pos-1])) {
				return pos
			}
		}
		return -1
	}
	if p.start == startRun {
		return p.nextRun(s, pos)
	}
	for p.utf && pos < len(s) && s[pos]&0xC0 == 0x80 {
		pos++ // inside a character
	}
	if p.lead != nil {
		for pos > 0 && p.lead.has(s[pos-1]) {
			if pos++; pos > len(s) {
				return -1
			}
		}
	}
	return pos
}

// nextRun is next for startRun.
func (p *prog) nextRun(s string, pos int) int {
	for at := pos; ; at++ {
		k := strings.IndexByte(s[at:], p.mark)
		if k < 0 {
			return -1
		}
		at += k
		i := at
		for i > pos && p.between.has(s[i-1]) {
			i--
		}
		if pos < i && i < at && p.first.has(s[i-1]) {
			return i - 1
		}
	}
}

// startsWell reports whether there can be a match at the start of s.
func (p *prog) startsWell(s string) bool {
	if s == "" {
		return p.empty
	}
	n := len(p.prefix.lit)
	return p.first.has(s[0]) && (n == 0 || n <= len(s) && p.prefix.is(s, 0))
}

// run matches the code from pc on at pos.
func (p *prog) run(t *thread, pc int32, pos int) (end int, st status) {
	s, base := t.s, len(t.stack)
	budget := t.budget
	for {
		in := &p.code[pc]
		budget--
		switch in.op {
		case opMatch, opSubEnd:
			t.budget = budget
			t.stack = t.stack[:base]
			return pos, matched
		case opLit:
			if strings.HasPrefix(s[pos:], in.lit) {
				pos += len(in.lit)
				pc++
				continue
			}
		case opFold:
			if len(s)-pos >= len(in.lit) && equalFold(s[pos:], in.lit) {
				pos += len(in.lit)
				pc++
				continue
			}
		case opByte:
			if pos < len(s) && s[pos] == in.c {
				pos++
				pc++
				continue
			}
		case opSet:
			if pos < len(s) && in.set.has(s[pos]) {
				pos++
				pc++
				continue
			}
		case opRune:
			if n := in.rare.wide.match(s[pos:]); n > 0 {
				pos += n
				pc++
				continue
			}
		case opRun:
			if next, ok := t.enterRun(in, pc, pos); ok {
				pos = next
				pc++
				continue
			}
		case opSplit:
			if t.remembers && !t.first(in, pos) {
				break
			}
			if len(t.stack) > maxStack {
				budget = -1
				break
			}
			x := pos < len(s) && in.set.has(s[pos]) || pos == len(s) && in.endOK
			y := pos < len(s) && in.follow.has(s[pos]) || pos == len(s) && in.otherEnd
			if x && y {
				t.stack = append(t.stack, frame{kind: frameGo, pc: in.y, pos: int32(pos)})
			}
			if x {
				pc = in.x
				continue
			}
			if y {
				pc = in.y
				continue
			}
		case opAlt:
			if t.remembers && !t.first(in, pos) {
				break
			}
			if len(t.stack) > maxStack {
				budget = -1
				break
			}
			k := in.rare.alt.atEnd
			if pos < len(s) {
				k = in.rare.alt.byByte[s[pos]]
			}
			if list := in.rare.alt.lists[k]; len(list) > 0 {
				if len(list) > 1 {
					t.stack = append(t.stack, frame{kind: frameAlt, list: uint16(k), pc: pc, pos: int32(pos), x: 1})
				}
				pc = list[0]
				continue
			}
		case opJump:
			pc = in.x
			continue
		case opSave:
			if len(t.stack) > base {
				t.stack = append(t.stack, frame{kind: frameReset, pc: in.x, pos: t.regs[in.x]})
			}
			t.regs[in.x] = int32(pos)
			pc++
			continue
		case opRound:
			if pc++; t.regs[in.x] == int32(pos) {
				pc++
			}
			continue
		case opLook, opAtomic:
			t.budget = budget
			next, st := p.sub(t, in, pc, pos, len(t.stack) > base)
			budget = t.budget
			if st == exhausted {
				t.stack = t.stack[:base]
				return 0, exhausted
			}
			if st == matched {
				pos = next
				pc = in.x
				continue
			}
		case opBack:
			if pos >= int(in.x) {
				pos -= int(in.x)
				pc++
				continue
			}
		case opBackref:
			if n, ok := p.backref(t, in, pos); ok {
				pos += n
				pc++
				continue
			}
		case opBegin, opEnd, opEndNL, opLineBegin, opLineEnd, opWordEdge, opNotWordEdge:
			if edge(in.op, s, pos) {
				pc++
				continue
			}
		}
		// That way failed: take the last one left open.
		if budget < t.passed>>3 {
			t.budget = -1
			t.stack = t.stack[:base]
			return 0, exhausted
		}
		var ok bool
		if pc, pos, ok = p.resume(t, base); !ok {
			t.budget = budget
			return 0, failed
		}
	}
}
