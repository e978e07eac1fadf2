package analysis

import (
	"time"
	"unsafe"

	"riposte"
	"riposte/internal/ossec/ruleset"
)

// record is an event as it is understood. Its strings point into the event's
// text or into the record's own buffer; both are reused, so what outlives the
// record is cloned.
type record struct {
	event    *riposte.Event
	time     time.Time
	full     string // the record
	log      string // what is left of it for expressions
	prev     byte   // the byte in front of log, 0 at the start
	program  string
	hasProg  bool
	host     string
	hasHost  bool // the record's header named one
	stamp    string
	location string // with OSSEC's agent prefix
	agent    string // id

	decoder  *ruleset.Decoder // nil: none
	category ruleset.Category
	slots    [ruleset.SlotCount]string
	has      uint32                   // 1<<Slot
	order    [ruleset.SlotCount]uint8 // the slots in the order of their first extraction
	norder   int
	fields   []field   // dynamic ones
	byIndex  []indexed // OSSEC: dynamic captures by their place in the order

	ref     *rule // OSSECAlert: the rule that the record is about
	picks   []pick
	dropped bool // not to be judged (live firewall rule)
	later   bool // static conditions must wait for the accumulator

	matched  int // highest level of a correlation that this event completed
	previous []string
	diff     string
	fired    int

	buf []byte
}

// field is a dynamic field.
type field struct {
	name  string
	value string
	id    int32 // in Set.Fields, -1: nobody asks for it
}

// indexed is a dynamic capture of OSSEC, kept by its place in the order.
type indexed struct {
	place int
	value string
}

// pick is a rule whose stateless conditions hold, and where what stands below
// it in the tree ends among the picks.
type pick struct {
	node *node
	end  int32
}

// reset prepares the record for an event.
func (r *record) reset(ev *riposte.Event) {
	r.event = ev
	r.time = ev.Time
	r.full, r.log, r.program, r.host, r.stamp, r.location = "", "", "", "", "", ""
	r.prev, r.hasProg, r.hasHost = 0, false, false
	r.decoder, r.category = nil, ruleset.Syslog
	r.has, r.norder = 0, 0
	r.fields, r.byIndex, r.picks = r.fields[:0], r.byIndex[:0], r.picks[:0]
	r.ref, r.dropped, r.later = nil, false, false
	r.matched, r.previous, r.diff, r.fired = 0, nil, "", 0
	// Strings of the event before may still be in use (an alert being
	// written), never those of the record: they are cloned.
	r.buf = r.buf[:0]
}

// release lets go of the event: a record that waits for its next one must not
// keep a source's buffer in memory.
func (r *record) release() {
	clear(r.fields)
	clear(r.byIndex)
	*r = record{fields: r.fields[:0], byIndex: r.byIndex[:0], picks: r.picks[:0], buf: r.buf[:0]}
}

// set fills a slot.
func (r *record) set(s ruleset.Slot, v string) {
	if r.has&(1<<s) == 0 {
		r.has |= 1 << s
		r.order[r.norder] = uint8(s)
		r.norder++
	}
	r.slots[s] = v
}

func (r *record) slot(s ruleset.Slot) (string, bool) {
	return r.slots[s], r.has&(1<<s) != 0
}

// decoderID is that of the decoder that owns the record, 0: none.
func (r *record) decoderID() int32 {
	if r.decoder == nil {
		return 0
	}
	return int32(r.decoder.ID)
}

// text makes what was appended to buf since start a string without copying it.
// Later appends may move buf but never change what is there.
func (r *record) text(start int) string {
	b := r.buf[start:]
	if len(b) == 0 {
		return ""
	}
	return unsafe.String(&b[0], len(b))
}

// keep copies a string into the record's buffer.
func (r *record) keep(parts ...string) string {
	start := len(r.buf)
	for _, p := range parts {
		r.buf = append(r.buf, p...)
	}
	return r.text(start)
}

// field returns the first dynamic field with the given number.
func (r *record) field(id int) (string, bool) {
	for i := range r.fields {
		if r.fields[i].id == int32(id) {
			return r.fields[i].value, true
		}
	}
	return "", false
}

// named returns the first dynamic field of a name, ignoring ASCII case.
func (r *record) named(name string) (string, bool) {
	for i := range r.fields {
		if equalFold(r.fields[i].name, name) {
			return r.fields[i].value, true
		}
	}
	return "", false
}

func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
