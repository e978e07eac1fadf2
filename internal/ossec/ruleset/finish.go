package ruleset

import (
	"slices"
	"strings"

	"riposte/internal/ossec/pattern"
)

// finish turns the drafts into the rules of the set.
func (l *loader) finish() {
	s := l.set
	s.Watches = l.watches
	numbers := map[*Watch]int{}
	for i, w := range l.watches {
		numbers[w] = i
	}
	for i, d := range l.order {
		r := d.rule
		r.Index = i
		l.fill(d, numbers)
		s.Rules = append(s.Rules, r)
		s.ruleIDs[r.ID] = r
		if r.Correlate != nil && r.Correlate.Watch >= 0 {
			w := l.watches[r.Correlate.Watch]
			w.Users = append(w.Users, r)
		}
		s.Longest = max(s.Longest, r.Frequency)
	}
	s.Roots = l.nodes(l.tree, nil)
}

func (l *loader) nodes(list []*place, parent *Node) []*Node {
	if len(list) == 0 {
		return nil
	}
	out := make([]*Node, len(list))
	for i, p := range list {
		n := &Node{Index: l.set.nodes, Rule: p.rule.rule, Parent: parent}
		l.set.nodes++
		n.Children = l.nodes(p.children, n)
		out[i] = n
	}
	return out
}

// fill makes the rule of a draft.
func (l *loader) fill(d *draft, numbers map[*Watch]int) {
	r := d.rule
	r.ID, r.Pos, r.Groups, r.Category = d.id, d.pos, d.groups, d.category
	// The level that the siblings were ordered by, brought back. A rule of
	// level 0 without accuracy really ends up with level 99.
	switch {
	case d.load == 9900:
		r.Level = 0
	case d.load >= 100:
		r.Level = d.load / 100
	default:
		r.Level = d.load
	}
	r.Description = d.description.value
	if l.wazuh() {
		r.Parts = parts(r.Description)
	}
	r.Frequency, r.Written, r.Timeframe, r.Ignore = d.frequency, d.written, d.timeframe, d.ignore
	r.NoAlert, r.Log, r.Mail, r.NoAR = d.noAlert, d.log, d.mail, d.noAR
	r.NoFullLog, r.NoCounter = d.noFullLog, d.noCounter
	r.IgnoreKeys, r.IgnoreCheck = d.ignoreKeys, d.ignoreCheck
	r.MITRE, r.Info = d.mitre, d.info
	if d.ifSID.pieces != nil {
		r.Parents, _ = l.ids(d)
	}
	if d.bySID != nil {
		r.Feeds = []int{numbers[d.bySID]}
	} else {
		for _, w := range d.groupFeeds {
			r.Feeds = append(r.Feeds, numbers[w])
		}
	}
	if d.searches {
		r.Correlate = l.correlate(d, numbers)
	}
	r.Conditions = l.conditions(d)
}

func (l *loader) correlate(d *draft, numbers map[*Watch]int) *Correlate {
	c := &Correlate{
		Watch: -1, Kind: d.search, Global: d.global, Same: d.same, Different: d.different,
		Strict: !l.wazuh(), Fields: d.sameFields, NotFields: d.notFields,
	}
	if d.watch != nil {
		c.Watch = numbers[d.watch]
	}
	if d.search == ByAny {
		c.Regex = l.compile(pattern.OSRegex, false, &d.matchedRegex.text)
		if !l.wazuh() {
			// OSSEC looks at fewer things in this search.
			c.Same = slices.DeleteFunc(slices.Clone(c.Same), func(o Operand) bool {
				return o != Operand(DstUser) && o != Operand(ID) && o != Operand(SrcIP)
			})
		}
	}
	if !l.wazuh() {
		c.Different = slices.DeleteFunc(slices.Clone(c.Different), func(o Operand) bool {
			return o != Operand(URL) && o != Operand(SrcGeo)
		})
	}
	return c
}

// conditions lists what a rule asks, in the order of the real systems.
func (l *loader) conditions(d *draft) []Condition {
	var out []Condition
	var order []int
	put := func(place int, c Condition) {
		out = append(out, c)
		order = append(order, place)
	}
	if d.decodedAs != nil {
		put(placeDecoded, Condition{
			Kind: DecodedAs, Decoder: l.finalID(d.decodedAs.Text), Name: "decoded_as",
			Text: d.decodedAs.Text, Pos: d.decodedAs.Pos,
		})
	}
	for i := range textElements {
		e := &textElements[i]
		x, name := d.exprs[e.name], e.name
		if x == nil && e.twin != "" {
			x, name = d.exprs[e.twin], e.twin
		}
		if x == nil {
			continue
		}
		c := Condition{Kind: e.kind, Slot: e.slot, Negate: x.negate, Name: name, Text: x.value, Pos: x.pieces[0].Pos}
		if e.slot == ExtraData && e.kind == SlotText && !l.wazuh() {
			c.Slot = Data
		}
		if c.Pattern = l.compile(x.syntax, false, &x.text); c.Pattern != nil {
			put(e.position, c)
		}
	}
	for i := range d.fields {
		f := &d.fields[i]
		c := Condition{Kind: Field, Field: f.field, Negate: f.negate, Name: f.name, Text: f.value, Pos: f.pos}
		if c.Pattern = l.compile(f.syntax, false, &f.text); c.Pattern != nil {
			put(placeField, c)
		}
	}
	for place, a := range map[int]*addressExpr{placeSrcIP: d.src, placeDstIP: d.dst} {
		if a == nil {
			continue
		}
		c := Condition{Kind: Address, Slot: SrcIP, Address: &a.list, Negate: a.negate, Name: "srcip", Text: a.words, Pos: a.pos}
		if place == placeDstIP {
			c.Slot, c.Name = DstIP, "dstip"
		}
		put(place, c)
	}
	if d.size > 0 {
		put(placeSize, Condition{Kind: Size, Size: d.size, Name: "maxsize", Pos: d.sizePos})
	}
	for k, place := range map[Kind]int{CompiledRule: placeCompiled, Hour: placeHour, Weekday: placeWeekday, Diff: placeDiff, FTS: placeFTS} {
		if c, ok := d.kind[k]; ok {
			put(place, c)
		}
	}
	// Of more than two lists only the last two are looked at.
	for _, e := range d.lists[max(0, len(d.lists)-2):] {
		put(placeList, e.cond)
	}
	return sortByPlace(out, order)
}

// sortByPlace sorts stably: fields and lists keep the order of the file.
func sortByPlace(cs []Condition, order []int) []Condition {
	idx := make([]int, len(cs))
	for i := range idx {
		idx[i] = i
	}
	slices.SortStableFunc(idx, func(a, b int) int { return order[a] - order[b] })
	out := make([]Condition, len(cs))
	for i, k := range idx {
		out[i] = cs[k]
	}
	return out
}

// parts cuts a description at its $(field) references; nil when there is none.
func parts(s string) []Part {
	var out []Part
	rest := s
	for {
		i := strings.Index(rest, "$(")
		if i < 0 {
			break
		}
		end := strings.IndexByte(rest[i:], ')')
		if end < 0 {
			break
		}
		if i > 0 {
			out = append(out, Part{Text: rest[:i]})
		}
		out = append(out, Part{Text: rest[i+2 : i+end], Field: true})
		rest = rest[i+end+1:]
	}
	if out == nil {
		return nil
	}
	if rest != "" {
		out = append(out, Part{Text: rest})
	}
	return out
}
