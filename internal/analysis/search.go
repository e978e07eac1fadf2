package analysis

import (
	"slices"

	"riposte/internal/ossec/ruleset"
)

// search is how a correlation rule looks through its list.
type search struct {
	*ruleset.Correlate
	list      int
	index     int   // among the list's indexes
	notFields []int // places in plan.compared
}

// search prepares a correlation. Searches that compare by the same things share
// an index.
func (b *planBuilder) search(c *ruleset.Correlate) *search {
	s := &search{Correlate: c, list: c.Watch, notFields: b.comparedFields(c.NotFields)}
	k := keyed{agent: b.wazuh && !c.Global, kind: c.Kind == ruleset.ByAny, same: c.Same, fields: b.comparedFields(c.Fields)}
	if c.Kind == ruleset.ByAny {
		k.regex = c
	}
	keys := b.keys[c.Watch]
	s.index = slices.IndexFunc(keys, func(o keyed) bool { return k.equal(&o) })
	if s.index < 0 {
		s.index = len(keys)
		b.keys[c.Watch] = append(keys, k)
	}
	return s
}

func (b *planBuilder) comparedFields(ids []int) []int {
	var out []int
	for _, id := range ids {
		i := slices.Index(b.compared, id)
		if i < 0 {
			i = len(b.compared)
			b.compared = append(b.compared, id)
		}
		out = append(out, i)
	}
	return out
}

const maxQuoted = 11 // earlier events that an alert quotes

// find is the condition that a correlation rule is: enough events like cur in
// its list, newest first. quoted collects the events that were counted.
func (h *history) find(x *rule, cur *past, quoted []*past) (_ []*past, ok bool) {
	s := x.search
	l := h.lists[s.list]
	idx := l.indexes[s.index]
	hash, ok := h.hash(&idx.keyed, cur)
	if !ok {
		return quoted, false
	}
	wazuh := h.plan.wazuh
	level := x.Level
	stop := l.stop[min(level, len(l.stop)-1)]
	count := 0
	var newest *past
	for pos := idx.heads[hash]; pos > l.entries.first; pos = idx.links.at(pos - 1).older {
		p := *l.entries.at(pos - 1)
		if cur.time-p.time > int64(x.Timeframe) || !wazuh && pos <= stop {
			return quoted, false
		}
		if !idx.holds(p, cur) || !s.passes(p, cur) {
			continue
		}
		if wazuh && p.matched >= level {
			return quoted, false
		}
		if count < x.Frequency {
			if count++; newest == nil {
				newest = p
			}
			if len(quoted) < maxQuoted {
				quoted = append(quoted, p)
			}
			continue
		}
		if (wazuh || s.Kind == ruleset.BySID) && len(quoted) < maxQuoted {
			quoted = append(quoted, p)
		}
		if !wazuh {
			h.mark(p, level)
			h.mark(*l.entries.at(l.entries.next - 1), level)
		} else if newest != nil {
			newest.matched = level
		}
		return quoted, true
	}
	return quoted, false
}

// passes tests what no index can: the things that must differ.
func (s *search) passes(p, cur *past) bool {
	if len(s.Fields) > 0 && !(p.dynamic && cur.dynamic) {
		return false
	}
	if len(s.notFields) > 0 {
		if !p.dynamic && !cur.dynamic {
			return false
		}
		for _, f := range s.notFields {
			if p.values[f].ok && p.values[f] == cur.values[f] {
				return false
			}
		}
	}
	for _, op := range s.Different {
		v, ok := p.operand(op)
		u, ok2 := cur.operand(op)
		if s.Strict && !(ok && ok2) || ok && ok2 && v == u {
			return false
		}
	}
	return true
}
