package analysis

import (
	"slices"

	"riposte"
	"riposte/internal/ossec"
	"riposte/internal/ossec/pattern"
	"riposte/internal/ossec/ruleset"
)

// plan is a ruleset prepared for speed. It says nothing that the set does not
// say; it is immutable and shared by all workers.
type plan struct {
	set       *ruleset.Set
	wazuh     bool
	program   []*decoder
	plain     []*decoder
	plainBy   [256][]*decoder // those of plain that a record which begins with the byte can match
	readsJSON bool            // some of plain read JSON
	rules     []*rule         // by Rule.Index
	byID      map[int]*rule
	nodes     []*node // by Node.Index
	roots     []*node
	scanner   *pattern.Scanner
	literals  int
	programs  []*expression // the program_name conditions of rules
	sonic     *sonicWall
	compared  []int     // the dynamic fields that correlations compare
	keys      [][]keyed // the indexes of each of Set.Watches
}

// expression is a pattern with the numbers of the literals of which one must
// occur in the record; none: nothing is known.
type expression struct {
	*pattern.Pattern
	literals []int32
	decided  bool         // it matches whenever one of them does
	bytes    []byte       // without literals: bytes of which one must occur in the record
	begins   pattern.Bits // bytes that what it is matched against must begin with; nil: any
}

// fails reports whether the expression cannot match from a place on, by a look at
// the byte there.
func (e *expression) fails(log string, at int) bool {
	return e.begins != nil && at < len(log) && !e.begins.Has(int(log[at]))
}

type decoder struct {
	*ruleset.Decoder
	prematch *expression
	regex    *expression
	children []*decoder
	self     []*decoder // the decoder alone: the chain of a root without children
}

// rule is a rule with its conditions sorted by what they need.
type rule struct {
	*ruleset.Rule
	decoder  int32       // of decoded_as, 0: any
	static   []condition // need the event only, the cheap ones first
	stateful []condition // check_diff, if_fts and the lists behind them, in order
	search   *search     // the correlation; nil: none
	never    bool        // a condition that cannot hold
	waits    bool        // stateful or search

	alertRule riposte.Rule
}

// condition is a ruleset.Condition with what is asked of most events kept
// together.
type condition struct {
	kind    ruleset.Kind
	slot    ruleset.Slot
	negate  bool
	program int32 // place in plan.programs
	field   int32
	pattern *pattern.Pattern
	expr    *expression // Match
	of      *ruleset.Condition
}

func newCondition(c *ruleset.Condition) condition {
	return condition{kind: c.Kind, slot: c.Slot, negate: c.Negate, program: -1, field: int32(c.Field), pattern: c.Pattern, of: c}
}

// sonicWall holds the expressions of the SonicWall plug-in.
type sonicWall struct{ head, peers, web *pattern.Pattern }

func newPlan(set *ruleset.Set) *plan {
	p := &plan{set: set, wazuh: set.Dialect == ossec.Wazuh, byID: map[int]*rule{}}
	b := &planBuilder{plan: p, literals: map[string]int32{}, exprs: map[*pattern.Pattern]*expression{}, programs: map[*pattern.Pattern]int{}, decoders: map[*ruleset.Decoder]*decoder{}, whole: map[*rule]map[key][]string{}}
	p.program, p.plain = b.decoderList(set.Program), b.decoderList(set.Plain)
	p.indexPlain()
	p.readsJSON = slices.ContainsFunc(p.plain, func(d *decoder) bool { return d.Plugin == ruleset.JSON })
	b.ruleList()
	p.nodes = make([]*node, set.Nodes())
	p.roots = b.nodeList(set.Roots, nil)
	p.scanner = pattern.NewScanner(b.words)
	p.literals = len(b.words)
	p.sonic = newSonicWall(set.Dialect)
	return p
}

type planBuilder struct {
	*plan
	words    []string
	literals map[string]int32
	exprs    map[*pattern.Pattern]*expression
	programs map[*pattern.Pattern]int
	decoders map[*ruleset.Decoder]*decoder
	whole    map[*rule]map[key][]string
}

const (
	maxLiterals = 64 // of one expression; more say too little
	minLiteral  = 3  // bytes
)

// onLog prepares an expression that is matched against the record.
func (b *planBuilder) onLog(p *pattern.Pattern) *expression {
	if p == nil {
		return nil
	}
	if e, ok := b.exprs[p]; ok {
		return e
	}
	e := &expression{Pattern: p, begins: p.Begins()}
	b.exprs[p] = e
	words := p.Literals()
	if len(words) == 0 {
		e.bytes = fewBytes(p.Bytes())
	}
	if len(words) == 0 || len(words) > maxLiterals {
		return e
	}
	for _, w := range words {
		if len(w) < minLiteral {
			return e
		}
	}
	for _, w := range words {
		id, ok := b.literals[w]
		if !ok {
			id = int32(len(b.words))
			b.literals[w] = id
			b.words = append(b.words, w)
		}
		e.literals = append(e.literals, id)
	}
	e.decided = p.Decided()
	return e
}

// indexPlain sorts the decoders without program_name by how a record must begin.
func (p *plan) indexPlain() {
	for c := range p.plainBy {
		for _, d := range p.plain {
			if d.prematch == nil || d.prematch.begins == nil || d.prematch.begins.Has(c) {
				p.plainBy[c] = append(p.plainBy[c], d)
			}
		}
	}
}

// fewBytes returns distinct bytes if there are so few that looking for them is
// quick, and none that nearly every record has.
func fewBytes(bs []byte) []byte {
	slices.Sort(bs)
	bs = slices.Compact(bs)
	if len(bs) > 2 || slices.Contains(bs, ' ') || slices.Contains(bs, ':') {
		return nil
	}
	return bs
}

// decoderList prepares decoders of which a record meets one after the other.
func (b *planBuilder) decoderList(list []*ruleset.Decoder) []*decoder {
	out := make([]*decoder, len(list))
	for i, d := range list {
		out[i] = b.decoder(d)
	}
	return out
}

// decoder prepares a decoder; one that is the child of several roots only once.
func (b *planBuilder) decoder(d *ruleset.Decoder) *decoder {
	if x, ok := b.decoders[d]; ok {
		return x
	}
	x := &decoder{Decoder: d, prematch: b.onLog(d.Prematch), regex: b.onLog(d.Regex)}
	b.decoders[d] = x
	x.children = b.decoderList(d.Children)
	x.self = []*decoder{x}
	return x
}

func (b *planBuilder) ruleList() {
	b.keys = make([][]keyed, len(b.set.Watches))
	for _, r := range b.set.Rules {
		x := &rule{Rule: r, alertRule: newAlertRule(r)}
		b.conditions(x)
		if c := r.Correlate; c != nil {
			if c.Watch < 0 || r.Level == 0 {
				x.never = true // nothing to search, or a mark below every mark
			} else {
				x.search = b.search(c)
			}
			x.waits = true
		}
		x.waits = x.waits || len(x.stateful) > 0
		b.rules = append(b.rules, x)
		b.byID[r.ID] = x
	}
}

// conditions splits a rule's conditions. What stands behind a condition that
// remembers must not be asked before it.
func (b *planBuilder) conditions(x *rule) {
	var cheap, dear []condition
	for i := range x.Conditions {
		c := newCondition(&x.Conditions[i])
		switch c.kind {
		case ruleset.Diff, ruleset.FTS:
			x.stateful = append(x.stateful, c)
			continue
		case ruleset.InList:
			if len(x.stateful) > 0 {
				x.stateful = append(x.stateful, c)
			} else {
				dear = append(dear, c)
			}
			continue
		case ruleset.DecodedAs:
			x.decoder = int32(c.of.Decoder)
			continue
		case ruleset.Program:
			n, ok := b.programs[c.pattern]
			if !ok {
				n = len(b.plan.programs)
				b.programs[c.pattern] = n
				b.plan.programs = append(b.plan.programs, &expression{Pattern: c.pattern})
			}
			c.program = int32(n)
			cheap = append(cheap, c)
			continue
		case ruleset.Match:
			c.expr = b.onLog(c.pattern)
			if len(c.expr.literals) > 0 && !c.negate {
				cheap = append(cheap, c)
				continue
			}
		case ruleset.Size, ruleset.Hour, ruleset.Weekday, ruleset.SlotText:
			cheap = append(cheap, c)
			continue
		}
		dear = append(dear, c)
	}
	x.static = append(cheap, dear...)
}

// newSonicWall compiles the expressions of the SonicWall plug-in.
func newSonicWall(d ossec.Dialect) *sonicWall {
	compile := func(s string) *pattern.Pattern {
		p, err := pattern.Compile(pattern.OSRegex, d, s, true)
		if err != nil {
			panic("analysis: SonicWall expression: " + err.Error()) // a constant of the program
		}
		return p
	}
	return &sonicWall{
		head:  compile(`pri=(\d) c=(\d+) m=(\d+) `),
		peers: compile(`src=(\d+.\d+.\d+.\d+):(\d+):\S+ dst=(\d+.\d+.\d+.\d+):(\d+):`),
		web:   compile(`result=(\d+) dstname=(\S+) arg=(\S+)$`),
	}
}
