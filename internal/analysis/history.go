package analysis

import (
	"hash/maphash"
	"math/bits"
	"slices"
	"strings"

	"riposte/internal/ossec/ruleset"
)

// history is what correlation rules search: the last events that had a final
// rule above level 0, in one list of all and in a list for each ruleset.Watch.
// It is bounded by the number of events, as in the real systems (spec 5.9.1),
// and by the text that they keep, so that long records cannot fill the memory.
type history struct {
	plan     *plan
	seed     maphash.Seed
	size     int
	capRules int // events in the list of one rule, 0: any (OSSEC: 128)
	events   ring[*past]
	lists    []*watched // by place in Set.Watches
	any      int        // the list of all events, -1
	bytes    int        // of text that the events keep
	free     []*past
}

// past is an event that is remembered.
type past struct {
	time     int64
	rule     int  // id of its final rule
	kept     bool // its strings are kept: some list wants it
	bytes    int  // of text that it keeps
	matched  int
	agent    string
	category ruleset.Category
	full     string
	log      string
	location string
	host     string
	slots    []string // those that it has, in their order
	has      uint32   // 1<<Slot
	values   []value  // of plan.compared
	dynamic  bool     // it has dynamic fields
	feeds    []feed
}

type value struct {
	text string
	ok   bool
}

// feed is a place of an event in a list.
type feed struct {
	list int
	pos  uint64
}

// watched is one list, newest last, with an index for each way of comparing
// that its searches use.
type watched struct {
	entries ring[*past]
	indexes []*index
	// OSSEC: for each level one past the newest entry marked with it or a
	// higher one. A search for that level ends there.
	stop [17]uint64
}

// index chains the entries of a list that are equal in what a search compares,
// so that a search looks at no others.
type index struct {
	keyed
	heads map[uint64]uint64 // hash → one past the newest entry
	links ring[link]        // parallel to the entries
}

type link struct {
	hash  uint64
	older uint64 // one past the next older entry of the chain, 0: none
	in    bool
}

// keyed says what a search wants equal.
type keyed struct {
	agent  bool
	kind   bool // the decoder's type (last-events search)
	same   []ruleset.Operand
	fields []int // places in plan.compared
	regex  *ruleset.Correlate
}

func (k *keyed) equal(o *keyed) bool {
	return k.agent == o.agent && k.kind == o.kind && slices.Equal(k.same, o.same) && slices.Equal(k.fields, o.fields) &&
		(k.regex == nil) == (o.regex == nil) && (k.regex == nil || k.regex.Regex == o.regex.Regex)
}

const (
	ossecRuleList = 128      // sid_prev_matched_max
	maxKept       = 64 << 20 // bytes of text, some times what memory_size usually comes to
)

func newHistory(p *plan, size int) *history {
	h := &history{plan: p, seed: maphash.MakeSeed(), size: max(size, 2048), any: -1}
	if !p.wazuh {
		h.capRules = ossecRuleList
	}
	for i, w := range p.set.Watches {
		l := &watched{}
		for _, k := range p.keys[i] {
			l.indexes = append(l.indexes, &index{keyed: k, heads: map[uint64]uint64{}})
		}
		h.lists = append(h.lists, l)
		if w.Kind == ruleset.ByAny {
			h.any = i
		}
	}
	return h
}

// hash digests what an event is to be equal in; false when it lacks a part,
// so that it equals none.
func (h *history) hash(k *keyed, e *past) (uint64, bool) {
	var m maphash.Hash
	m.SetSeed(h.seed)
	if k.agent {
		m.WriteString(e.agent)
		m.WriteByte(0)
	}
	if k.kind {
		m.WriteByte(byte(e.category))
	}
	for _, op := range k.same {
		v, ok := e.operand(op)
		if !ok {
			return 0, false
		}
		m.WriteString(v)
		m.WriteByte(0)
	}
	for _, f := range k.fields {
		if !e.values[f].ok {
			return 0, false
		}
		m.WriteString(e.values[f].text)
		m.WriteByte(0)
	}
	return m.Sum64(), true
}

// operand returns what two events are compared by.
func (e *past) operand(op ruleset.Operand) (string, bool) {
	switch op {
	case ruleset.OperandLocation:
		return e.location, true
	case ruleset.OperandHost:
		return e.host, true
	}
	if e.has&(1<<op) == 0 {
		return "", false
	}
	return e.slots[bits.OnesCount32(e.has&(1<<op-1))], true
}

// holds reports whether two events are equal in what the key says; the hash has
// said so already.
func (k *keyed) holds(a, b *past) bool {
	if k.agent && a.agent != b.agent || k.kind && a.category != b.category {
		return false
	}
	for _, op := range k.same {
		v, ok := a.operand(op)
		u, ok2 := b.operand(op)
		if !ok || !ok2 || v != u {
			return false
		}
	}
	for _, f := range k.fields {
		if !a.values[f].ok || a.values[f] != b.values[f] {
			return false
		}
	}
	return true
}

// add remembers an event under its final rule.
func (h *history) add(e *past, x *rule, now int64) {
	h.events.push(e)
	h.bytes += e.bytes
	if h.any >= 0 && e.kept {
		h.feed(h.any, e)
	}
	for _, w := range x.Feeds {
		if !e.kept {
			break // from before a reload, when nobody wanted it
		}
		h.feed(w, e)
		if h.capRules > 0 && h.plan.set.Watches[w].Kind == ruleset.BySID && h.lists[w].entries.len() > h.capRules {
			h.lists[w].drop()
		}
	}
	for h.bytes > maxKept && h.events.len() > 1 {
		h.forget(h.events.pop())
	}
	if h.events.len() <= h.size {
		return
	}
	for n := 0; h.events.len() > 0 && (n < 10 || now-h.events.front().time > int64(h.plan.set.Longest)); n++ {
		h.forget(h.events.pop())
	}
}

// feed appends an event to a list.
func (h *history) feed(w int, e *past) {
	l := h.lists[w]
	pos := l.entries.push(e)
	e.feeds = append(e.feeds, feed{w, pos})
	for _, x := range l.indexes {
		var k link
		if x.regex == nil || x.regex.Regex.Match(e.log) {
			k.hash, k.in = h.hash(&x.keyed, e)
		}
		if k.in {
			k.older = x.heads[k.hash]
			x.heads[k.hash] = pos + 1
		}
		x.links.push(k)
	}
	l.mark(pos, e.matched)
}

// mark notes that the entry at pos is marked with a level.
func (l *watched) mark(pos uint64, level int) {
	for i := min(level, len(l.stop)-1); i > 0; i-- {
		l.stop[i] = max(l.stop[i], pos+1)
	}
}

// drop removes the oldest entry of a list.
func (l *watched) drop() {
	pos := l.entries.first
	l.entries.pop()
	for _, x := range l.indexes {
		k := x.links.pop()
		if k.in && x.heads[k.hash] == pos+1 {
			delete(x.heads, k.hash)
		}
	}
}

// forget removes an event, the oldest of all, from the lists that it is in.
func (h *history) forget(e *past) {
	h.bytes -= e.bytes
	for _, f := range e.feeds {
		if l := h.lists[f.list]; l.entries.len() > 0 && l.entries.first == f.pos {
			l.drop()
		}
	}
	clear(e.slots)
	clear(e.values)
	*e = past{feeds: e.feeds[:0], values: e.values[:0], slots: e.slots[:0]}
	h.free = append(h.free, e)
}

// mark marks an event in every list that it is in.
func (h *history) mark(e *past, level int) {
	e.matched = level
	for _, f := range e.feeds {
		l := h.lists[f.list]
		if f.pos >= l.entries.first {
			l.mark(f.pos, level)
		}
	}
}

// view makes a past event of a record; its strings are still the record's.
func (h *history) view(e *past, r *record, now int64) {
	e.time, e.matched, e.agent, e.category = now, r.matched, r.agent, r.category
	e.full, e.log, e.location, e.host = r.full, r.log, r.location, r.host
	e.slots, e.has = e.slots[:0], r.has
	for left := r.has; left != 0; left &= left - 1 {
		e.slots = append(e.slots, r.slots[bits.TrailingZeros32(left)])
	}
	e.dynamic = len(r.fields) > 0
	e.values = e.values[:0]
	for _, f := range h.plan.compared {
		v, ok := r.field(f)
		e.values = append(e.values, value{v, ok})
	}
}

// fresh returns an empty past event.
func (h *history) fresh() *past {
	if n := len(h.free); n > 0 {
		e := h.free[n-1]
		h.free = h.free[:n-1]
		return e
	}
	return &past{}
}

// own makes the strings of a past event its own.
func (e *past) own(c *cloner) {
	if e.agent != localAgent {
		e.agent = strings.Clone(e.agent)
	}
	e.full, e.log, e.location, e.host = c.own(e.full), c.own(e.log), c.own(e.location), c.own(e.host)
	for i := range e.slots {
		e.slots[i] = c.own(e.slots[i])
	}
	for i := range e.values {
		e.values[i].text = c.own(e.values[i].text)
	}
}

// ring is a queue whose entries keep their numbers.
type ring[T any] struct {
	buf   []T // its length is a power of two
	first uint64
	next  uint64
}

func (q *ring[T]) len() int { return int(q.next - q.first) }

func (q *ring[T]) at(pos uint64) *T { return &q.buf[pos&uint64(len(q.buf)-1)] }

func (q *ring[T]) front() T { return *q.at(q.first) }

// push appends and returns the number of the new entry.
func (q *ring[T]) push(v T) uint64 {
	if q.len() == len(q.buf) {
		bigger := make([]T, max(8, 2*len(q.buf)))
		for p := q.first; p != q.next; p++ {
			bigger[p&uint64(len(bigger)-1)] = *q.at(p)
		}
		q.buf = bigger
	}
	pos := q.next
	q.next++
	*q.at(pos) = v
	return pos
}

func (q *ring[T]) pop() T {
	var zero T
	p := q.at(q.first)
	v := *p
	*p = zero
	q.first++
	return v
}
