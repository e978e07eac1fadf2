package pattern

import (
	"unicode"
	"unicode/utf8"
)

// enterRun takes a run of bytes as its mode wants, leaving a frame for the other
// lengths that might do.
func (t *thread) enterRun(in *inst, pc int32, start int) (int, bool) {
	s := t.s
	lo := start + int(in.x)
	limit := len(s)
	if int(in.y) < limit-start {
		limit = start + int(in.y)
	}
	if lo > limit {
		return 0, false
	}
	pos := start
	for pos < lo {
		if !in.set.has(s[pos]) {
			return 0, false
		}
		pos++
	}
	t.passed += lo - start
	if t.remembers {
		return t.enterRunOnce(in, pc, start, lo, limit)
	}
	if in.mode == lazy {
		return t.take(in, pc, pos, limit)
	}
	for pos < limit && in.set.has(s[pos]) {
		pos++
	}
	t.passed += pos - lo
	if in.mode == possessive {
		return pos, true
	}
	return t.giveBack(in, pc, pos, lo)
}

// enterRunOnce is enterRun with a memory. An unlimited run is in the same state
// at a position wherever it began, so it ends where an earlier one went on.
func (t *thread) enterRunOnce(in *inst, pc int32, start, lo, limit int) (int, bool) {
	if in.y != 1<<31-1 {
		if !t.first(in, start) {
			return 0, false
		}
		if in.mode == lazy {
			return t.take(in, pc, lo, limit)
		}
	}
	s, pos := t.s, lo
	if in.mode == lazy {
		if !t.first(in, pos) {
			return 0, false
		}
		return t.take(in, pc, pos, limit)
	}
	for unlimited := in.y == 1<<31-1; ; pos++ {
		if unlimited && !t.first(in, pos) {
			if pos == lo || in.mode == possessive {
				return 0, false
			}
			pos--
			break
		}
		if pos == limit || !in.set.has(s[pos]) {
			break
		}
	}
	t.passed += pos - lo
	if in.mode == possessive {
		return pos, true
	}
	return t.giveBack(in, pc, pos, lo)
}

// mayFollow reports whether what follows a run can start at pos.
func (in *inst) mayFollow(s string, pos int) bool {
	if pos == len(s) {
		return in.endOK
	}
	if !in.follow.has(s[pos]) || in.boundary && s[pos]&0xC0 == 0x80 {
		return false
	}
	return in.rare == nil || in.rare.second == nil || pos+1 < len(s) && in.rare.second.has(s[pos+1])
}

// giveBack goes from pos down to lo to a place where what follows can start.
func (t *thread) giveBack(in *inst, pc int32, pos, lo int) (int, bool) {
	s := t.s
	from := pos
	for ; pos >= lo; pos-- {
		if !in.mayFollow(s, pos) {
			continue
		}
		t.passed += from - pos
		if pos > lo {
			t.stack = append(t.stack, frame{kind: frameRun, mode: greedy, pc: pc, pos: int32(pos - 1), x: int32(lo)})
		}
		return pos, true
	}
	t.passed += from - pos
	return 0, false
}

// take goes from pos up to limit to a place where what follows can start.
func (t *thread) take(in *inst, pc int32, pos, limit int) (int, bool) {
	s, from := t.s, pos
	for {
		ok := in.mayFollow(s, pos)
		more := pos < limit && in.set.has(s[pos])
		if ok {
			t.passed += pos - from
			if more {
				t.stack = append(t.stack, frame{kind: frameRun, mode: lazy, pc: pc, pos: int32(pos + 1), x: int32(limit)})
			}
			return pos, true
		}
		if !more {
			t.passed += pos - from
			return 0, false
		}
		pos++
		if t.remembers && in.y == 1<<31-1 && !t.first(in, pos) {
			return 0, false
		}
	}
}

// resume takes the youngest open way above base.
func (p *prog) resume(t *thread, base int) (pc int32, pos int, ok bool) {
	for len(t.stack) > base {
		f := &t.stack[len(t.stack)-1]
		switch f.kind {
		case frameReset:
			t.regs[f.pc] = f.pos
			t.stack = t.stack[:len(t.stack)-1]
		case frameGo:
			t.stack = t.stack[:len(t.stack)-1]
			return f.pc, int(f.pos), true
		case frameAlt:
			list := p.code[f.pc].rare.alt.lists[f.list]
			pc, pos = list[f.x], int(f.pos)
			if f.x++; int(f.x) == len(list) {
				t.stack = t.stack[:len(t.stack)-1]
			}
			return pc, pos, true
		case frameRun:
			r := *f
			in := &p.code[r.pc]
			t.stack = t.stack[:len(t.stack)-1]
			if r.mode == greedy {
				pos, ok = t.giveBack(in, r.pc, int(r.pos), int(r.x))
			} else if !t.remembers || in.y != 1<<31-1 || t.first(in, int(r.pos)) {
				pos, ok = t.take(in, r.pc, int(r.pos), int(r.x))
			}
			if ok {
				return r.pc + 1, pos, true
			}
		}
	}
	return 0, 0, false
}

// sub runs a look-around or an atomic group and returns where to go on.
func (p *prog) sub(t *thread, in *inst, pc int32, pos int, undo bool) (int, status) {
	mark := len(t.stack)
	if undo || in.negative {
		for r, v := range t.regs {
			t.stack = append(t.stack, frame{kind: frameReset, pc: int32(r), pos: v})
		}
	}
	end, st := p.run(t, pc+1, pos)
	if st == exhausted {
		return 0, exhausted
	}
	if in.op == opAtomic {
		return end, st
	}
	if in.negative {
		for len(t.stack) > mark {
			f := t.stack[len(t.stack)-1]
			t.regs[f.pc] = f.pos
			t.stack = t.stack[:len(t.stack)-1]
		}
		if st == matched {
			return 0, failed
		}
		return pos, matched
	}
	return pos, st
}

// backref returns the length of what stands at pos if it is a group's text
// again.
func (p *prog) backref(t *thread, in *inst, pos int) (int, bool) {
	lo, hi := t.regs[in.x], t.regs[in.x+1]
	if lo < 0 || hi < lo {
		return 0, false
	}
	text, rest := t.s[lo:hi], t.s[pos:]
	if p.utf && in.fold {
		return prefixFold(rest, text)
	}
	if len(rest) < len(text) {
		return 0, false
	}
	for i := range len(text) {
		if a, b := text[i], rest[i]; a != b && !(in.fold && lower[a] == lower[b]) {
			return 0, false
		}
	}
	return len(text), true
}

// prefixFold returns the length of the start of s that is text, ignoring case as
// Unicode does.
func prefixFold(s, text string) (int, bool) {
	at := 0
	for _, r := range text {
		c, n := utf8.DecodeRuneInString(s[at:])
		if n == 0 || c != r && !sameLetter(c, r) {
			return 0, false
		}
		at += n
	}
	return at, true
}

// sameLetter reports whether a and b differ only in case.
func sameLetter(a, b rune) bool {
	for o := unicode.SimpleFold(a); o != a; o = unicode.SimpleFold(o) {
		if o == b {
			return true
		}
	}
	return false
}

// match returns the length of the character at the start of s if it is in the
// set, or 0.
func (c *charSet) match(s string) int {
	if s == "" {
		return 0
	}
	if b := s[0]; b < utf8.RuneSelf {
		if c.bytes.has(b) {
			return 1
		}
		return 0
	}
	r, n := utf8.DecodeRuneInString(s)
	if c.hasWide(r) {
		return n
	}
	return 0
}

// edge reports whether an assertion about a position holds.
func edge(op opcode, s string, pos int) bool {
	switch op {
	case opBegin:
		return pos == 0
	case opEnd:
		return pos == len(s)
	case opEndNL:
		return pos == len(s) || pos == len(s)-1 && s[pos] == '\n'
	case opLineBegin:
		return pos == 0 || pos < len(s) && s[pos-1] == '\n'
	case opLineEnd:
		return pos == len(s) || s[pos] == '\n'
	}
	before := pos > 0 && words.has(s[pos-1])
	after := pos < len(s) && words.has(s[pos])
	return (before != after) == (op == opWordEdge)
}
