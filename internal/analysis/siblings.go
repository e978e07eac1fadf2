package analysis

import (
	"slices"
	"strings"

	"riposte/internal/ossec/ruleset"
)

// node is a place in the rule tree.
type node struct {
	*rule
	parent   *node
	children *siblings
	byDecode map[int32]*siblings // children by decoded_as, those without included; nil: few children
	others   *siblings           // the children without decoded_as
}

// siblings are rules that stand side by side, in the order in which they are
// tried. Where many of them want one of a few whole values of the same field, or
// a prefix of it, cases has for each whole value those that can hold, and rest
// those that can hold for any other.
type siblings struct {
	gates []*gate
	bare  []*gate // those of gates that need no program name
	key   key
	cases map[string][]*gate // nil: there is nothing to choose by
	rest  []*gate

	prefixed bool // some of rest want a prefix
}

// key is what siblings are chosen by: a slot or a dynamic field.
type key struct {
	dynamic bool
	id      int32
}

// gate is a child of a node with what can be asked of it without a look at its
// rule: of its conditions one that needs a program name, one that needs a
// dynamic field and one that needs a literal.
type gate struct {
	// begin, where mask has bits, is how the value that the siblings are chosen by
	// must begin, in lower case.
	begin, mask uint64
	decoder     int32
	program     int32       // place in plan.programs, -1: none
	field       int32       // in Set.Fields, -1: none
	expr        *expression // one that tells how the record must begin; nil: none
	literals    []int32
	node        *node // this and what follows is for the few that are open
	static      []condition
}

const (
	fewChildren = 8 // below this siblings are not chosen by anything
	fewCases    = 4 // below this they are not chosen by a value, nor below its square by a prefix
)

func (b *planBuilder) nodeList(list []*ruleset.Node, parent *node) []*node {
	out := make([]*node, len(list))
	for i, n := range list {
		x := &node{rule: b.rules[n.Rule.Index], parent: parent}
		b.nodes[n.Index] = x
		var gates []*gate
		for _, c := range b.nodeList(n.Children, x) {
			if !c.never {
				gates = append(gates, newGate(c))
			}
		}
		b.index(x, gates)
		out[i] = x
	}
	return out
}

// newGate picks what a node is first asked.
func newGate(n *node) *gate {
	g := &gate{node: n, decoder: n.decoder, program: -1, field: -1, static: n.static}
	for i := range n.static {
		c := &n.static[i]
		switch c.kind {
		case ruleset.Program:
			if !c.negate {
				g.program = c.program
			}
		case ruleset.Field:
			g.field = c.field
		case ruleset.Match:
			if !c.negate && c.expr.begins != nil {
				g.expr = c.expr
			}
			if !c.negate && (g.literals == nil || len(c.expr.literals) > 0 && len(c.expr.literals) < len(g.literals)) {
				g.literals = c.expr.literals
			}
		}
	}
	return g
}

// index groups the children by the decoder that they ask for.
func (b *planBuilder) index(n *node, gates []*gate) {
	n.children = b.siblings(gates)
	if len(gates) < fewChildren {
		return
	}
	ids := map[int32]bool{}
	var others []*gate
	for _, g := range gates {
		if g.decoder != 0 {
			ids[g.decoder] = true
		} else {
			others = append(others, g)
		}
	}
	n.others = b.siblings(others)
	n.byDecode = make(map[int32]*siblings, len(ids))
	for id := range ids {
		var list []*gate
		for _, g := range gates {
			if g.decoder == 0 || g.decoder == id {
				list = append(list, g)
			}
		}
		n.byDecode[id] = b.siblings(list)
	}
}

// candidates returns the children that may hold for a decoder.
func (n *node) candidates(decoder int32) *siblings {
	if n.byDecode == nil {
		return n.children
	}
	if list, ok := n.byDecode[decoder]; ok {
		return list
	}
	return n.others
}

// wholes returns for each field that a rule wants one of a few whole values of
// those values.
func (b *planBuilder) wholes(x *rule) map[key][]string {
	out, ok := b.whole[x]
	if !ok {
		for i := range x.static {
			if at, values := wholeValues(&x.static[i]); values != nil {
				if out == nil {
					out = map[key][]string{}
				}
				out[at] = values
			}
		}
		b.whole[x] = out
	}
	return out
}

// siblings finds what siblings can be chosen by.
func (b *planBuilder) siblings(gates []*gate) *siblings {
	s := &siblings{gates: gates, bare: gates}
	needsProgram := func(g *gate) bool { return g.program >= 0 }
	if slices.ContainsFunc(gates, needsProgram) {
		s.bare = slices.DeleteFunc(slices.Clone(gates), needsProgram)
	}
	if len(gates) < fewChildren {
		return s
	}
	wanted := make([]map[key][]string, len(gates))
	prefix := make([]map[key]string, len(gates))
	count := map[key]int{}
	best := 0
	for i := range gates {
		wanted[i] = b.wholes(gates[i].node.rule)
		for at := range wanted[i] {
			count[at] += fewCases // a whole value tells more than a prefix
		}
		prefix[i] = prefixes(gates[i].node.rule)
		for at := range prefix[i] {
			if wanted[i][at] == nil {
				count[at]++
			}
		}
	}
	for at, n := range count {
		if n > best || n == best && (at.id < s.key.id || at.id == s.key.id && at.dynamic) {
			best, s.key = n, at
		}
	}
	if best < fewCases*fewCases {
		return s
	}
	s.cases = map[string][]*gate{}
	for i := range gates {
		for _, v := range wanted[i][s.key] {
			s.cases[v] = nil
		}
	}
	for i, g := range gates {
		values, chosen := wanted[i][s.key]
		begin := prefix[i][s.key]
		if !chosen {
			if begin != "" {
				own := *g // among other siblings it may be chosen by something else
				own.begin, own.mask = start(begin), start(strings.Repeat("\xff", len(begin)))
				g, s.prefixed = &own, true
			}
			s.rest = append(s.rest, g)
		}
		for v := range s.cases {
			if slices.Contains(values, v) || !chosen && strings.HasPrefix(v, begin) {
				s.cases[v] = append(s.cases[v], gates[i])
			}
		}
	}
	return s
}

// prefixes returns for each field that a rule wants to begin with a text that
// text.
func prefixes(x *rule) map[key]string {
	var out map[key]string
	for i := range x.static {
		c := &x.static[i]
		if at, ok := keyOf(c); ok && c.pattern.Prefix() != "" {
			if out == nil {
				out = map[key]string{}
			}
			out[at] = c.pattern.Prefix()
		}
	}
	return out
}

// start returns the first eight bytes of a value in lower case as a number.
func start(v string) (n uint64) {
	for i := range min(8, len(v)) {
		n |= uint64(lower(v[i])) << (8 * i)
	}
	return n
}

// keyOf returns the field whose text a condition wants to match.
func keyOf(c *condition) (_ key, ok bool) {
	if c.kind == ruleset.Field {
		return key{dynamic: true, id: c.field}, !c.negate
	}
	return key{id: int32(c.slot)}, c.kind == ruleset.SlotText && !c.negate
}

const (
	maxWhole  = 64 // bytes of a value that siblings are chosen by
	maxValues = 32 // of one condition
)

// wholeValues returns the field that a condition is about and, if it holds for
// nothing but a few whole values, those in lower case: the condition is then
// ^one$|^another$ in any of the languages. (A PCRE2 expression may also hold
// for a value with a line break behind it.)
func wholeValues(c *condition) (key, []string) {
	k, ok := keyOf(c)
	if !ok {
		return k, nil
	}
	var out []string
	for part := range strings.SplitSeq(c.of.Text, "|") {
		v, ok := strings.CutPrefix(part, "^")
		if v, ok = cutSuffix(v, "$", ok); !ok || v == "" || len(v) > maxWhole || len(out) == maxValues {
			return k, nil
		}
		for i := range len(v) {
			if v[i] < ' ' || v[i] >= 0x7f || strings.IndexByte(`\\^$()[]{}*+?!`, v[i]) >= 0 {
				return k, nil
			}
		}
		// What the language makes of a dot, and of the text as a whole, shows
		// when it is asked.
		if !c.pattern.Match(v) || strings.Contains(v, ".") && c.pattern.Match(strings.ReplaceAll(v, ".", "x")) {
			return k, nil
		}
		out = append(out, strings.ToLower(v))
	}
	return k, out
}

func cutSuffix(s, suffix string, ok bool) (string, bool) {
	s, found := strings.CutSuffix(s, suffix)
	return s, ok && found
}

// among returns the siblings that can hold for the values of the record, and how
// the value that they were chosen by begins: those with another begin cannot.
func (w *Worker) among(r *record, s *siblings) (_ []*gate, begin uint64) {
	switch {
	case s.cases != nil:
	case w.program == nil:
		return s.bare, 0
	default:
		return s.gates, 0
	}
	var v string
	var ok bool
	if s.key.dynamic {
		v, ok = w.field(r, s.key.id)
	} else {
		v, ok = r.slot(ruleset.Slot(s.key.id))
	}
	if s.prefixed {
		begin = start(v)
	}
	v = strings.TrimSuffix(v, "\n")
	if !ok || len(v) > maxWhole || len(s.cases) == 0 {
		return s.rest, begin
	}
	w.fold = w.fold[:0]
	for i := range len(v) {
		w.fold = append(w.fold, lower(v[i]))
	}
	if list, ok := s.cases[string(w.fold)]; ok {
		return list, begin
	}
	return s.rest, begin
}
