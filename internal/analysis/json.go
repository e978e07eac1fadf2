package analysis

import (
	"strings"

	"riposte/internal/ossec/ruleset"
)

// A JSON record is flattened while it is read: each value becomes a field
// whose name is the path of keys joined by dots. What is accepted is what the
// real system's reader accepts, which is more than JSON: raw control bytes in
// strings, odd numbers, anything after the first value (spec 3.7).

const (
	jsonDepth  = 1000 // nesting that is accepted
	knownNames = 8192 // field names that a worker remembers
	longName   = 256  // bytes of a name that is not remembered
)

// jsonSlots are the keys that fill slots instead of dynamic fields.
func jsonSlots() map[string]ruleset.Slot {
	return map[string]ruleset.Slot{
		"srcip": ruleset.SrcIP, "dstip": ruleset.DstIP, "dstport": ruleset.DstPort, "srcport": ruleset.SrcPort,
		"protocol": ruleset.Protocol, "action": ruleset.Action, "srcuser": ruleset.SrcUser, "dstuser": ruleset.DstUser,
		"id": ruleset.ID, "status": ruleset.Status, "url": ruleset.URL, "data": ruleset.Data,
		"extra_data": ruleset.ExtraData, "systemname": ruleset.SystemName,
	}
}

// jsonName is what is known of a key path.
type jsonName struct {
	name string
	id   int32     // in Set.Fields, -1
	slot int8      // -1: a dynamic field
	next *jsonName // what came behind it the last time: records of a kind have the same keys
}

// jsonReader flattens one record at a time.
type jsonReader struct {
	set   *ruleset.Set
	slots map[string]ruleset.Slot
	names map[string]*jsonName
	key   []byte // path of the value being read
	fold  []byte
	last  *jsonName // of the value before
	odd   jsonName  // the last path that is not worth remembering
	found []slotValue

	r       *record
	s       string
	i       int
	discard bool // null values are left out
	csv     bool // arrays are joined by commas
}

// slotValue is a value for a slot.
type slotValue struct {
	slot  ruleset.Slot
	value string
}

func newJSONReader(set *ruleset.Set) *jsonReader {
	return &jsonReader{set: set, slots: jsonSlots(), names: map[string]*jsonName{}, last: &jsonName{}}
}

// read flattens text into the fields of r. It does nothing when text does not
// begin with an object, and reports whether it did.
func (j *jsonReader) read(r *record, text string, d *ruleset.Decoder) bool {
	j.r, j.s, j.i = r, text, 0
	j.key, j.found = j.key[:0], j.found[:0]
	j.discard, j.csv = d.NullDiscard, d.CSV
	if strings.HasPrefix(text, "\xef\xbb\xbf") {
		j.i = 3
	}
	j.space()
	fields := len(r.fields)
	ok := j.peek() == '{' && j.object(1)
	if ok {
		for _, f := range j.found {
			r.set(f.slot, f.value)
		}
	} else {
		r.fields = r.fields[:fields]
	}
	j.r, j.s = nil, ""
	return ok
}

func (j *jsonReader) peek() byte {
	if j.i < len(j.s) {
		return j.s[j.i]
	}
	return 0
}

// space skips everything up to 0x20, as the real reader does.
func (j *jsonReader) space() {
	for j.i < len(j.s) && j.s[j.i] <= ' ' {
		j.i++
	}
}

func (j *jsonReader) take(c byte) bool {
	if j.peek() != c || j.i >= len(j.s) {
		return false
	}
	j.i++
	return true
}

func (j *jsonReader) word(w string) bool {
	if !strings.HasPrefix(j.s[j.i:], w) {
		return false
	}
	j.i += len(w)
	return true
}

// object reads an object whose members' keys are below the current path.
func (j *jsonReader) object(depth int) bool {
	if depth > jsonDepth {
		return false
	}
	j.i++ // {
	j.space()
	if j.take('}') {
		return true
	}
	base := len(j.key)
	for {
		j.space()
		name, ok := j.str()
		if !ok {
			return false
		}
		if base > 0 {
			j.key = append(j.key, '.')
		}
		j.key = append(j.key, name...)
		j.space()
		if !j.take(':') {
			return false
		}
		j.space()
		if !j.member(depth) {
			return false
		}
		j.key = j.key[:base]
		j.space()
		if j.take(',') {
			continue
		}
		return j.take('}')
	}
}

// member reads the value of the current path.
func (j *jsonReader) member(depth int) bool {
	switch c := j.peek(); {
	case c == '{':
		return j.object(depth + 1)
	case c == '[':
		start := len(j.r.buf)
		if j.csv {
			if !j.joined(depth + 1) {
				return false
			}
			if v := j.r.text(start); v != "" {
				j.add(v)
			}
			return true
		}
		if !j.printArray(depth+1, 0) {
			return false
		}
		j.add(j.r.text(start))
		return true
	case c == 'n' && j.word("null"):
		if !j.discard {
			j.add("null")
		}
		return true
	}
	v, ok := j.scalar()
	if ok {
		j.add(v)
	}
	return ok
}

// scalar reads a string, number, true or false as the text of a field.
func (j *jsonReader) scalar() (string, bool) {
	switch c := j.peek(); {
	case c == '"':
		return j.str()
	case c == '-' || isDigit(c):
		return j.number()
	case j.word("true"):
		return "true", true
	case j.word("false"):
		return "false", true
	}
	return "", false
}

// add stores a value under the current path.
func (j *jsonReader) add(value string) {
	n := j.last.next
	if n == nil || n.name != string(j.key) {
		if n = j.names[string(j.key)]; n == nil {
			n = j.learn()
		}
		if n != &j.odd {
			j.last.next = n
		}
	}
	if n != &j.odd {
		j.last = n
	}
	switch r := j.r; {
	case n.slot >= 0:
		j.found = append(j.found, slotValue{ruleset.Slot(n.slot), value})
	case len(r.fields) < j.set.MaxFields:
		r.fields = append(r.fields, field{n.name, value, n.id})
	}
}

// learn finds out about a path that was not met before.
func (j *jsonReader) learn() *jsonName {
	n := &j.odd
	*n = jsonName{slot: -1}
	if s, ok := j.slots[string(j.key)]; ok {
		n.slot = int8(s)
	}
	j.fold = j.fold[:0]
	for _, c := range j.key {
		j.fold = append(j.fold, lower(c))
	}
	n.id = int32(j.set.FieldIDBytes(j.fold))
	if len(j.names) >= knownNames || len(j.key) >= longName {
		start := len(j.r.buf)
		j.r.buf = append(j.r.buf, j.key...)
		n.name = j.r.text(start)
		return n
	}
	n.name = string(j.key)
	known := *n
	j.names[known.name] = &known
	return &known
}

// joined reads an array as its scalars with commas between.
func (j *jsonReader) joined(depth int) bool {
	if depth > jsonDepth {
		return false
	}
	j.i++ // [
	j.space()
	if j.take(']') {
		return true
	}
	for {
		j.space()
		plain := true
		switch c := j.peek(); {
		case c == '{' || c == '[':
			plain = false
			keep := len(j.r.buf)
			if !j.print(depth, 0) {
				return false
			}
			j.r.buf = j.r.buf[:keep]
		case c == 'n' && j.word("null"):
			j.r.buf = append(j.r.buf, "null"...)
		default:
			// The scalar may unescape into the same buffer: take it from there.
			keep := len(j.r.buf)
			v, ok := j.scalar()
			if !ok {
				return false
			}
			j.r.buf = append(j.r.buf[:keep], v...)
		}
		j.space()
		if j.take(',') {
			if plain {
				j.r.buf = append(j.r.buf, ',')
			}
			continue
		}
		return j.take(']')
	}
}
