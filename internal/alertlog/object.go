package alertlog

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"
	"unsafe"
)

// object appends the members of one JSON object. The zero separator is written
// before the first member, a comma before each later one.
type object struct {
	dst []byte
	any bool // a member has been written
	enc *Encoder
}

// key begins a member whose name needs no escape.
func (o *object) key(name string) {
	if o.any {
		o.dst = append(o.dst, ',')
	}
	o.any = true
	o.dst = append(o.dst, '"')
	o.dst = append(o.dst, name...)
	o.dst = append(o.dst, '"', ':')
}

// field begins a member whose name is foreign text after a prefix of ours.
func (o *object) field(prefix, name string) {
	if o.any {
		o.dst = append(o.dst, ',')
	}
	o.any = true
	o.dst = append(append(o.dst, '"'), prefix...)
	o.dst = append(appendStringPart(o.dst, name), '"', ':')
}

// text writes a member unless its value is empty.
func (o *object) text(name, value string) {
	if value != "" {
		o.key(name)
		o.string(value)
	}
}

// string writes a value; a part of the record that is known to be plain needs no
// second look.
func (o *object) string(value string) {
	if o.enc.is == plain && o.enc.knows(value) {
		o.dst = append(append(append(o.dst, '"'), value...), '"')
		return
	}
	o.dst = appendString(o.dst, value)
}

// record writes the record itself, and notes how plain it is.
func (o *object) record(name, value string) {
	if value != "" {
		o.key(name)
		o.dst = append(o.dst, '"')
		o.dst, o.enc.is = escape(o.dst, value)
		o.dst = append(o.dst, '"')
		o.enc.record = value
	}
}

// number writes a member unless its value is 0.
func (o *object) number(name string, value int64) {
	if value != 0 {
		o.key(name)
		o.dst = strconv.AppendInt(o.dst, value, 10)
	}
}

// quoted writes a number as a string.
func (o *object) quoted(name string, value int64) {
	o.key(name)
	o.dst = append(strconv.AppendInt(append(o.dst, '"'), value, 10), '"')
}

func (o *object) open(name string) {
	o.key(name)
	o.begin()
}

func (o *object) begin() {
	o.dst = append(o.dst, '{')
	o.any = false
}

func (o *object) close() {
	o.dst = append(o.dst, '}')
	o.any = true
}

// list writes a member with the non-empty ones of n strings, and nothing when
// there are none. Repeated strings are written once when unique is set.
func (o *object) list(name string, n int, unique bool, value func(int) string) {
	some := false
values:
	for i := range n {
		v := value(i)
		if v == "" {
			continue
		}
		if unique {
			for j := range i {
				if value(j) == v {
					continue values
				}
			}
		}
		if some {
			o.dst = append(o.dst, ',')
		} else {
			o.key(name)
			o.dst = append(o.dst, '[')
			some = true
		}
		o.dst = appendString(o.dst, v)
	}
	if some {
		o.dst = append(o.dst, ']')
	}
}

// value writes the decoded field at a place: a string or, when it is the text of one, a JSON
// array.
func (o *object) value(i int, name, value string) {
	o.field("", name)
	if len(value) > 1 && value[0] == '[' {
		if dst, ok := appendArray(o.dst, value); ok {
			o.dst = dst
			return
		}
	}
	if o.enc.is == plain && o.enc.knows(value) || len(value) < shortText && isPlain(value) {
		o.enc.plain |= 1 << i
		o.dst = append(append(append(o.dst, '"'), value...), '"')
		return
	}
	o.dst = appendString(o.dst, value)
}

// appendArray appends the JSON array that text holds, on one line and without
// control characters; ok is false when text is not wholly a JSON array that
// every reader can be trusted with.
func appendArray(dst []byte, text string) (_ []byte, ok bool) {
	if !json.Valid(unsafe.Slice(unsafe.StringData(text), len(text))) || !utf8.ValidString(text) {
		return dst, false
	}
	start, depth := len(dst), 0
	quoted := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c >= utf8.RuneSelf: // only within strings
			r, n := utf8.DecodeRuneInString(text[i:])
			if hidden(r) {
				dst = appendRune(dst, r)
			} else {
				dst = append(dst, text[i:i+n]...)
			}
			i += n - 1
			continue
		case c == 0x7f:
			dst = appendRune(dst, rune(c))
			continue
		case quoted && c == '\\':
			dst = append(dst, c)
			i++
			c = text[i]
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			continue
		case c == '[' || c == '{':
			if depth++; depth > maxDepth {
				return dst[:start], false
			}
		case c == ']' || c == '}':
			depth--
		}
		dst = append(dst, c)
	}
	return dst, true
}
