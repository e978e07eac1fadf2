package pattern

import "slices"

// prog is a PCRE2 expression compiled for the matcher in pcre_run.go.
type prog struct {
	code     []inst
	groups   int // captures handed out by Find
	slots    int // registers: two for each group, then the loops' marks
	choices  int // instructions that may be tried in more than one way
	memoable bool
	utf      bool // subjects are UTF-8

	// How a search finds the places to try.
	start  searchKind
	must   []finder // all of these occur in a subject that matches
	prefix finder   // startLit: of what every match starts with; startAnchored: that, or nothing
	first  byteSet  // startSet, startAnchored: the bytes a match can start with
	second *byteSet // startSet: those that can come next, if known
	lead   *byteSet // startSet, startAnywhere: no need to try behind one of these
	empty  bool     // a match may be empty
	// tryFirst: first is about places other than 0, which is always one to try.
	tryFirst bool
	between  *byteSet // startRun
	mark     byte     // startRun: a byte that is not in between
}

type searchKind uint8

const (
	startAnywhere searchKind = iota
	startAnchored            // only at 0
	startLit                 // at prefix
	startSet                 // at a byte of first
	startRun                 // at a byte of first in front of a run of between and the byte mark
)

type opcode uint8

const (
	opMatch       opcode = iota
	opFail               //
	opLit                // text lit
	opFold               // text lit without ASCII case
	opByte               // byte c
	opSet                // one byte of set
	opRune               // one character of wide
	opRun                // x to y bytes of set
	opSplit              // try x, then y
	opAlt                // try the entries of alt in order
	opJump               // go to x
	opSave               // register x = position
	opRound              // end of a round begun at register x: if it took nothing, leave the next instruction out
	opLook               // sub-expression at pc+1, ended by opSubEnd; then go to x
	opAtomic             // the same, and stay at its end
	opSubEnd             //
	opBack               // x bytes back
	opBackref            // the text between the registers x and x+1
	opBegin              //
	opEnd                //
	opEndNL              //
	opLineBegin          //
	opLineEnd            //
	opWordEdge           //
	opNotWordEdge        //
)

type inst struct {
	op       opcode
	c        byte
	mode     repeatMode // opRun
	fold     bool       // opBackref
	negative bool       // opLook
	endOK    bool       // opRun, opSplit: what follows may match at the end of the subject
	otherEnd bool       // opSplit: the same for y
	boundary bool       // opRun: only between characters of UTF-8
	x, y     int32
	memo     int32 // opRun, opSplit, opAlt: first of its numbers among the choices
	lit      string
	set      *byteSet // opSet, opRun; opSplit: bytes that x may start with
	follow   *byteSet // opRun: bytes that what follows may start with; opSplit: those of y
	rare     *rareInst
}

// rareInst is what few instructions need.
type rareInst struct {
	second *byteSet  // opRun: bytes that may come second in what follows, if known
	loops  []int32   // opRun, opSplit, opAlt: registers of the loops around whose rounds may be empty
	wide   *charSet  // opRune
	alt    *altTable // opAlt
}

// extra returns the instruction's rare part to write to.
func (in *inst) extra() *rareInst {
	if in.rare == nil {
		in.rare = &rareInst{}
	}
	return in.rare
}

// altTable tells which alternatives can start with a byte.
type altTable struct {
	entries []int32    // of all alternatives into the code, in order of preference
	byByte  [256]uint8 // index in lists
	atEnd   uint8      // the same at the end of the subject
	lists   [][]int32  // those of entries that are worth trying
}

// maxCode is the number of instructions up to which an expression is accepted,
// about what PCRE2's 64 kB of compiled code hold.
const maxCode = 1 << 15

// maxLoops is the number of loops within loops, with rounds that may be empty,
// up to which the memory of choices keeps their states apart.
const maxLoops = 4

// compiler turns a tree into code.
type compiler struct {
	p        *prog
	utf      bool
	keep     bool // groups are handed out or referred to
	marks    int
	loops    []int32 // registers of the open loops whose rounds may be empty
	tooLarge bool
}

// compileTree makes the code of an expression.
func compileTree(t *pcreTree, captures bool, must []string) (*prog, error) {
	p := &prog{memoable: !t.refs, utf: t.utf}
	if captures {
		p.groups = t.groups
	}
	c := &compiler{p: p, utf: t.utf, keep: captures || t.refs}
	if c.keep {
		p.slots = 2 * t.groups
	}
	p.code = make([]inst, 0, 8)
	c.node(t.root)
	c.emit(inst{op: opMatch})
	if c.tooLarge {
		return nil, errorAt(0, "the expression is too large: its repeat counts multiply to more than %d steps", maxCode)
	}
	p.slots += c.marks
	p.link()
	p.chooseStart(t, must)
	return p, nil
}

func (c *compiler) emit(in inst) int {
	if len(c.p.code) >= maxCode {
		c.tooLarge = true
		return len(c.p.code) - 1
	}
	switch in.op {
	case opRun, opSplit, opAlt:
		if len(c.loops) > 0 {
			in.extra().loops = slices.Clone(c.loops[max(0, len(c.loops)-maxLoops):])
		}
	}
	c.p.code = append(c.p.code, in)
	return len(c.p.code) - 1
}

func (c *compiler) here() int32 { return int32(len(c.p.code)) }

func (c *compiler) node(n *node) {
	if c.tooLarge {
		return
	}
	switch n.kind {
	case nodeEmpty:
	case nodeFail:
		c.emit(inst{op: opFail})
	case nodeLit:
		c.literal(n)
	case nodeSet:
		c.charSet(n.set)
	case nodeCat:
		for _, s := range n.subs {
			c.node(s)
		}
	case nodeAlt:
		c.alternatives(n.subs)
	case nodeGroup:
		if !c.keep {
			c.node(n.subs[0])
			return
		}
		c.emit(inst{op: opSave, x: int32(2*n.group - 2)})
		c.node(n.subs[0])
		c.emit(inst{op: opSave, x: int32(2*n.group - 1)})
	case nodeRepeat:
		c.repeat(n)
	case nodeAtomic:
		c.p.memoable = false
		at := c.emit(inst{op: opAtomic})
		c.node(n.subs[0])
		c.emit(inst{op: opSubEnd})
		c.p.code[at].x = c.here()
	case nodeLook:
		c.look(n)
	case nodeBackref:
		c.emit(inst{op: opBackref, x: int32(2*n.group - 2), fold: n.fold})
	default:
		c.emit(inst{op: opBegin + opcode(n.kind-nodeBegin)})
	}
}

// mark returns a new register.
func (c *compiler) mark() int32 {
	c.marks++
	return int32(c.p.slots + c.marks - 1)
}

func (c *compiler) literal(n *node) {
	op := opLit
	if n.fold && hasLetter(n.text) {
		op = opFold
	} else if len(n.text) == 1 {
		c.emit(inst{op: opByte, c: n.text[0]})
		return
	}
	if n.text != "" {
		c.emit(inst{op: op, lit: n.text})
	}
}

func (c *compiler) charSet(s *charSet) {
	switch {
	case len(s.wide) > 0:
		c.emit(inst{op: opRune, rare: &rareInst{wide: s}})
	default:
		c.emit(inst{op: opSet, set: &s.bytes})
	}
}

func (c *compiler) alternatives(subs []*node) {
	at := c.emit(inst{op: opAlt, rare: &rareInst{alt: &altTable{}}})
	entries := make([]int32, len(subs))
	jumps := make([]int, 0, len(subs))
	for i, s := range subs {
		entries[i] = c.here()
		c.node(s)
		if i < len(subs)-1 {
			jumps = append(jumps, c.emit(inst{op: opJump}))
		}
	}
	for _, j := range jumps {
		c.p.code[j].x = c.here()
	}
	c.p.code[at].rare.alt.entries = entries
}

// look emits a look-around. Each alternative of a look-behind first steps back
// by its length.
func (c *compiler) look(n *node) {
	c.p.memoable = false
	at := c.emit(inst{op: opLook, negative: n.negative})
	sub := n.subs[0]
	if !n.ahead {
		alts := []*node{sub}
		if sub.kind == nodeAlt {
			alts = sub.subs
		}
		c.lookBehind(alts)
	} else {
		c.node(sub)
	}
	c.emit(inst{op: opSubEnd})
	c.p.code[at].x = c.here()
}

func (c *compiler) lookBehind(alts []*node) {
	var jumps []int
	for i, a := range alts {
		split := -1
		if i < len(alts)-1 {
			split = c.emit(inst{op: opSplit, x: c.here() + 1})
		}
		w, _ := a.width()
		c.emit(inst{op: opBack, x: int32(w)})
		c.node(a)
		if split >= 0 {
			jumps = append(jumps, c.emit(inst{op: opJump}))
			c.p.code[split].y = c.here()
		}
	}
	for _, j := range jumps {
		c.p.code[j].x = c.here()
	}
}

func (c *compiler) repeat(n *node) {
	sub := n.subs[0]
	if n.max == 0 {
		return
	}
	if n.mode == possessive && !(sub.kind == nodeSet && len(sub.set.wide) == 0) {
		m := *n
		m.mode = greedy
		c.node(&node{kind: nodeAtomic, subs: []*node{&m}})
		return
	}
	if set, ok := c.runSet(n); ok {
		limit := int32(n.max)
		if n.max < 0 {
			limit = 1<<31 - 1
		}
		c.emit(inst{op: opRun, set: set, x: int32(n.min), y: limit, mode: n.mode, boundary: c.utf && (set[2]|set[3]) != 0})
		return
	}
	if n.max < 0 {
		for range n.min - 1 {
			if c.node(sub); c.tooLarge {
				return
			}
		}
		c.loop(sub, n.min == 0, n.mode)
		return
	}
	for range n.min {
		if c.node(sub); c.tooLarge {
			return
		}
	}
	// The rest is optional, each within the one before.
	var splits []int
	for range n.max - n.min {
		if c.tooLarge {
			return
		}
		splits = append(splits, c.emit(inst{op: opSplit}))
		c.p.code[splits[len(splits)-1]].x = c.here()
		c.node(sub)
	}
	for _, s := range splits {
		c.p.code[s].y = c.here()
		c.prefer(s, n.mode)
	}
}

// runSet returns the set of a repeat that can be run over byte by byte. In UTF
// mode that includes a set of all wide characters, if their number does not
// matter.
func (c *compiler) runSet(n *node) (*byteSet, bool) {
	sub := n.subs[0]
	switch {
	case sub.kind == nodeLit && len(sub.text) == 1:
		set := &byteSet{}
		set.add(sub.text[0])
		if sub.fold {
			set.addOtherCase()
		}
		return set, true
	case sub.kind != nodeSet:
		return nil, false
	case len(sub.set.wide) == 0:
		return &sub.set.bytes, true
	case sub.set.allWide() && n.min <= 1 && n.max < 0:
		set := sub.set.bytes
		set[2], set[3] = ^uint64(0), ^uint64(0)
		return &set, true
	}
	return nil, false
}

// prefer gives a split's two ways their order.
func (c *compiler) prefer(split int, mode repeatMode) {
	if in := &c.p.code[split]; mode == lazy {
		in.x, in.y = in.y, in.x
	}
}

// loop emits any number of rounds of n. A round that took nothing is the last.
func (c *compiler) loop(n *node, none bool, mode repeatMode) {
	skip := -1
	if none {
		skip = c.emit(inst{op: opSplit, x: c.here() + 1})
	}
	start, nullable := c.here(), n.nullable()
	mark := int32(0)
	if nullable {
		mark = c.mark()
		c.emit(inst{op: opSave, x: mark})
		c.loops = append(c.loops, mark)
	}
	c.node(n)
	if nullable {
		c.loops = c.loops[:len(c.loops)-1]
		c.emit(inst{op: opRound, x: mark})
	}
	again := c.emit(inst{op: opSplit, x: start})
	for _, split := range []int{again, skip} {
		if split >= 0 {
			c.p.code[split].y = c.here()
			c.prefer(split, mode)
		}
	}
}
