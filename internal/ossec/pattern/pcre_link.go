package pattern

import (
	"slices"
	"strings"
)

// link completes the instructions with what can only be known once all code is
// there: which bytes may follow a choice, and where searches start.
func (p *prog) link() {
	f := firstFinder{code: p.code, seen: make([]int32, len(p.code))}
	for pc := range p.code {
		in := &p.code[pc]
		switch in.op {
		case opRun:
			set, end := f.first(int32(pc) + 1)
			in.endOK = end
			if in.mode != possessive {
				if set.meets(in.set) {
					in.follow = &set
					if second := f.second(int32(pc) + 1); second != nil {
						in.extra().second = second
					}
				} else {
					// Giving bytes back, or taking fewer, can never help.
					in.mode = possessive
				}
			}
			in.memo = p.choice(in)
		case opSplit:
			x, xEnd := f.first(in.x)
			y, yEnd := f.first(in.y)
			in.set, in.endOK = &x, xEnd
			in.follow, in.otherEnd = &y, yEnd
			in.memo = p.choice(in)
		case opAlt:
			in.rare.alt.fill(&f)
			in.memo = p.choice(in)
		}
	}
}

// choice numbers a choice: a number for each state of the loops around it.
func (p *prog) choice(in *inst) int32 {
	first := p.choices
	states := 1
	if in.rare != nil {
		states <<= len(in.rare.loops)
	}
	p.choices += states
	return int32(first)
}

// fill works out the table from the entries.
func (t *altTable) fill(f *firstFinder) {
	entries := t.entries
	// Bytes (and the end, as number 256) that no alternative tells apart form a
	// class; every alternative splits classes.
	const all = 256 + 1
	var class [all]int
	in := make([]byteSet, len(entries))
	atEnd := make([]bool, len(entries))
	classes := 1
	for i, e := range entries {
		in[i], atEnd[i] = f.first(e)
		var split [all]int // class → its new half, +1
		for c := range all {
			if c < 256 && in[i].has(byte(c)) || c == 256 && atEnd[i] {
				if split[class[c]] == 0 {
					split[class[c]] = classes + 1
					classes++
				}
				class[c] = split[class[c]] - 1
			}
		}
		classes = renumber(&class)
	}
	t.lists = make([][]int32, classes)
	done := make([]bool, classes)
	for c := range all {
		k := class[c]
		if c < 256 {
			t.byByte[c] = uint8(min(k, 255))
		} else {
			t.atEnd = uint8(min(k, 255))
		}
		if done[k] {
			continue
		}
		done[k] = true
		for i, e := range entries {
			if c < 256 && in[i].has(byte(c)) || c == 256 && atEnd[i] {
				t.lists[k] = append(t.lists[k], e)
			}
		}
	}
	if classes > 256 {
		// 257 classes: one number is short. The last two share all entries.
		t.lists[255] = entries
	}
}

// renumber makes class numbers dense and returns how many there are.
func renumber(class *[257]int) int {
	var seen [2 * 257]int
	n := 0
	for i, c := range class {
		if seen[c] == 0 {
			n++
			seen[c] = n
		}
		class[i] = seen[c] - 1
	}
	return n
}

// firstFinder finds what bytes code can start with.
type firstFinder struct {
	code  []inst
	seen  []int32 // the query that visited an instruction last
	query int32
	work  []int32
	// inside: the position is not the start of the subject.
	inside bool
}

// maxFirst is the number of instructions a query looks at before it gives up.
const maxFirst = 512

// first returns the bytes of which one must stand at a position if the code at
// pc is to match from there, and whether it may match at the end of the subject.
func (f *firstFinder) first(pc int32) (set byteSet, end bool) {
	f.query++
	f.work = append(f.work[:0], pc)
	for visited := 0; len(f.work) > 0; visited++ {
		pc := f.work[len(f.work)-1]
		f.work = f.work[:len(f.work)-1]
		if f.seen[pc] == f.query {
			continue
		}
		f.seen[pc] = f.query
		if visited > maxFirst {
			return allBytes, true
		}
		in := &f.code[pc]
		switch in.op {
		case opMatch, opSubEnd, opBack, opBackref:
			return allBytes, true
		case opFail:
		case opBegin:
			if !f.inside {
				f.work = append(f.work, pc+1)
			}
		case opLit:
			set.add(in.lit[0])
		case opFold:
			set.add(in.lit[0])
			if c := in.lit[0]; isLetter(c) {
				set.add(c - 'a' + 'A')
			}
		case opByte:
			set.add(in.c)
		case opSet:
			set.addAll(in.set)
		case opRune:
			set.addAll(&in.rare.wide.bytes)
			set.addRange(0xC2, 0xF4)
		case opRun:
			set.addAll(in.set)
			if in.x == 0 {
				f.work = append(f.work, pc+1)
			}
		case opSplit:
			f.work = append(f.work, in.x, in.y)
		case opAlt:
			f.work = append(f.work, in.rare.alt.entries...)
		case opJump, opLook:
			f.work = append(f.work, in.x)
		case opRound:
			f.work = append(f.work, pc+1, pc+2)
		case opEnd:
			end = true
		case opEndNL, opLineEnd:
			set.add('\n')
			end = true
		default: // nothing is taken
			f.work = append(f.work, pc+1)
		}
	}
	return set, end
}

// second returns the bytes that can come second in what the code at pc takes, or
// nil if that is unknown or no help.
func (f *firstFinder) second(pc int32) *byteSet {
	for f.code[pc].op == opSave {
		pc++
	}
	set := &byteSet{}
	switch in := &f.code[pc]; {
	case in.op == opLit:
		set.add(in.lit[1])
	case in.op == opFold && len(in.lit) > 1:
		set.add(in.lit[1])
		set.addOtherCase()
	case in.op == opFold, in.op == opByte, in.op == opSet:
		bytes, end := f.first(pc + 1)
		if end || bytes == allBytes {
			return nil
		}
		*set = bytes
	default:
		return nil
	}
	return set
}

// chooseStart decides how a search finds the places to try.
func (p *prog) chooseStart(t *pcreTree, must []string) {
	f := firstFinder{code: p.code, seen: make([]int32, len(p.code))}
	p.first, p.empty = f.first(0)
	lead := leadingRun(t.root)
	pc := 0
	for p.code[pc].op == opSave || p.code[pc].op == opBegin {
		pc++
	}
	first := &p.code[pc]
	isLit := first.op == opLit || first.op == opFold
	if isLit {
		p.prefix = newFinder(first.lit, first.op == opFold)
	} else if text, fold := leadingText(t.root); len(text) > 1 {
		isLit, p.prefix = true, newFinder(text, fold)
	}
	switch {
	case anchored(t.root), lead != nil && *lead == allBytes && !t.refs:
		p.start = startAnchored
		if first.op == opRun {
			p.must = finders(must) // quicker than the run
		}
		return
	case isLit:
		p.start = startLit
		p.must = finders(slices.DeleteFunc(must, func(t string) bool { return weight(t) <= weight(p.prefix.lit) }))
		return
	case !p.empty && p.first != allBytes:
		p.start = startSet
		at0 := p.first
		f.inside = true
		p.first, _ = f.first(0)
		if p.utf {
			p.first[2] = 0 // inside a character
		}
		if p.tryFirst = p.first != at0; !p.tryFirst {
			p.second = f.second(0)
			p.findRun(pc)
		}
	}
	p.must = finders(must)
	if p.memoable && !t.utf {
		p.lead = lead
	}
}

// findRun sees whether all matches start with one byte of a set, a run of others
// and a byte that ends it, as in \s\d+: — that byte is quick to find.
func (p *prog) findRun(pc int) {
	if pc+2 >= len(p.code) || p.utf {
		return
	}
	first, run, mark := &p.code[pc], &p.code[pc+1], &p.code[pc+2]
	if (first.op == opSet || first.op == opByte) && run.op == opRun && run.x == 1 && run.y == 1<<31-1 && mark.op == opByte &&
		!run.set.has(mark.c) && !run.set.meets(&p.first) {
		p.start, p.between, p.mark = startRun, run.set, mark.c
	}
}

// anchored: n can only match at the start of the subject.
func anchored(n *node) bool {
	switch n.kind {
	case nodeBegin:
		return true
	case nodeCat:
		for _, s := range n.subs {
			if anchored(s) {
				return true
			}
			if w, ok := s.width(); !ok || w != 0 {
				return false
			}
		}
	case nodeAlt:
		for _, s := range n.subs {
			if !anchored(s) {
				return false
			}
		}
		return true
	case nodeGroup, nodeAtomic:
		return anchored(n.subs[0])
	case nodeRepeat:
		return n.min > 0 && anchored(n.subs[0])
	}
	return false
}

// leadingText returns a literal that every match starts with.
func leadingText(n *node) (text string, fold bool) {
	switch n.kind {
	case nodeLit:
		return n.text, n.fold
	case nodeCat, nodeGroup:
		return leadingText(n.subs[0])
	case nodeRepeat:
		if sub := n.subs[0]; sub.kind == nodeLit && n.min > 0 {
			return strings.Repeat(sub.text, min(n.min, maxExact)), sub.fold
		}
	case nodeAlt:
		text, fold = leadingText(n.subs[0])
		for _, s := range n.subs[1:] {
			other, otherFold := leadingText(s)
			if otherFold != fold {
				return "", false
			}
			k := 0
			for k < len(text) && k < len(other) && text[k] == other[k] {
				k++
			}
			text = text[:k]
		}
	}
	return text, fold
}

// leadingRun returns the set of an unlimited run that every match starts with:
// if the byte in front of a match is in it too, there is a match from there.
func leadingRun(n *node) *byteSet {
	switch n.kind {
	case nodeCat:
		return leadingRun(n.subs[0])
	case nodeGroup:
		return leadingRun(n.subs[0])
	case nodeRepeat:
		sub := n.subs[0]
		switch {
		case n.mode == possessive:
		case sub.kind == nodeSet && len(sub.set.wide) == 0 && n.max < 0:
			return &sub.set.bytes
		case n.min == 0 && n.max == 1: // (X+)?
			for sub.kind == nodeGroup {
				sub = sub.subs[0]
			}
			if sub.kind == nodeRepeat {
				return leadingRun(sub)
			}
		}
	}
	return nil
}
