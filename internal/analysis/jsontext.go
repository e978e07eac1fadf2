package analysis

import (
	"math"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf8"
)

// str reads a string; one without escapes is a part of the record.
func (j *jsonReader) str() (string, bool) {
	if !j.take('"') {
		return "", false
	}
	start := j.i
	j.i = quoteOrBackslash(j.s, start)
	switch {
	case j.i == len(j.s):
		return "", false
	case j.s[j.i] == '\\':
		return j.escaped(start)
	}
	j.i++
	return j.s[start : j.i-1], true
}

// quoteOrBackslash returns the place of the first of them at or after i, len(s)
// if there is none. Of the bits that are set for eight bytes the lowest is right.
func quoteOrBackslash(s string, i int) int {
	const each, top = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(s); i += 8 {
		t := s[i:][:8]
		v := uint64(t[0]) | uint64(t[1])<<8 | uint64(t[2])<<16 | uint64(t[3])<<24 |
			uint64(t[4])<<32 | uint64(t[5])<<40 | uint64(t[6])<<48 | uint64(t[7])<<56
		quote, back := v^'"'*each, v^'\\'*each
		if found := ((quote - each) | (back - each)) &^ v & top; found != 0 { // neither of them is beyond ASCII
			return i + bits.TrailingZeros64(found)>>3
		}
	}
	for i < len(s) && s[i] != '"' && s[i] != '\\' {
		i++
	}
	return i
}

// escaped reads the rest of a string that has escapes. A NUL ends the value,
// as it ends every text of the real system.
func (j *jsonReader) escaped(start int) (string, bool) {
	from := len(j.r.buf)
	b := append(j.r.buf, j.s[start:j.i]...)
	for j.i < len(j.s) {
		switch c := j.s[j.i]; c {
		case '"':
			j.i++
			j.r.buf = b
			v := j.r.text(from)
			if n := strings.IndexByte(v, 0); n >= 0 {
				v = v[:n]
			}
			return v, true
		case '\\':
			j.i++
			e := byte(0)
			if j.i < len(j.s) {
				e = j.s[j.i]
			}
			j.i++
			switch e {
			case 'b':
				b = append(b, '\b')
			case 'f':
				b = append(b, '\f')
			case 'n':
				b = append(b, '\n')
			case 'r':
				b = append(b, '\r')
			case 't':
				b = append(b, '\t')
			case '"', '\\', '/':
				b = append(b, e)
			case 'u':
				c, ok := j.codePoint()
				if !ok {
					return "", false
				}
				b = utf8.AppendRune(b, c)
			default:
				return "", false
			}
		default:
			from := j.i
			j.i = quoteOrBackslash(j.s, from)
			b = append(b, j.s[from:j.i]...)
		}
	}
	return "", false
}

// codePoint reads the four digits behind \u, and the second half of a pair.
func (j *jsonReader) codePoint() (rune, bool) {
	hi, ok := j.hex4()
	if !ok || hi >= 0xdc00 && hi <= 0xdfff {
		return 0, false
	}
	if hi < 0xd800 || hi > 0xdbff {
		return hi, true
	}
	if !j.word(`\u`) {
		return 0, false
	}
	lo, ok := j.hex4()
	if !ok || lo < 0xdc00 || lo > 0xdfff {
		return 0, false
	}
	return 0x10000 + (hi-0xd800)<<10 + (lo - 0xdc00), true
}

func (j *jsonReader) hex4() (rune, bool) {
	if len(j.s)-j.i < 4 {
		return 0, false
	}
	var v rune
	for k := range 4 {
		c := j.s[j.i+k]
		switch {
		case isDigit(c):
			v = v<<4 | rune(c-'0')
		case lower(c) >= 'a' && lower(c) <= 'f':
			v = v<<4 | rune(lower(c)-'a'+10)
		default:
			return 0, false
		}
	}
	j.i += 4
	return v, true
}

// number reads a number as the text of a field: a whole one of 32 bits as it
// is, any other with six decimals.
func (j *jsonReader) number() (string, bool) {
	if v, ok := j.smallNumber(); ok {
		return v, true
	}
	f, ok := j.float()
	if !ok {
		return "", false
	}
	start := len(j.r.buf)
	switch {
	case f == float64(saturated(f)):
		j.r.buf = strconv.AppendInt(j.r.buf, int64(saturated(f)), 10)
	case math.IsInf(f, 1):
		return "inf", true
	case math.IsInf(f, -1):
		return "-inf", true
	default:
		j.r.buf = strconv.AppendFloat(j.r.buf, f, 'f', 6, 64)
	}
	return j.r.text(start), true
}

// smallNumber takes a whole number of up to nine digits as it stands.
func (j *jsonReader) smallNumber() (string, bool) {
	k := j.i
	if k < len(j.s) && j.s[k] == '-' {
		k++
	}
	first := k
	for k < len(j.s) && k-first < 10 && isDigit(j.s[k]) {
		k++
	}
	n := k - first
	if n == 0 || n > 9 || j.s[first] == '0' && (n > 1 || first > j.i) {
		return "", false
	}
	if k < len(j.s) {
		switch j.s[k] {
		case '.', 'e', 'E', '+', '-':
			return "", false
		}
	}
	v := j.s[j.i:k]
	j.i = k
	return v, true
}

// float reads a number as C's strtod does: as much as makes sense, of at most
// 63 characters that numbers are made of.
func (j *jsonReader) float() (float64, bool) {
	s := j.s[j.i:]
	n := 0
	for n < len(s) && n < 63 && (isDigit(s[n]) || strings.IndexByte("+-eE.", s[n]) >= 0) {
		n++
	}
	s = s[:n]
	k := 0
	if k < n && (s[k] == '-' || s[k] == '+') {
		k++
	}
	digits := 0
	for k < n && isDigit(s[k]) {
		k++
		digits++
	}
	if k < n && s[k] == '.' {
		k++
		for k < n && isDigit(s[k]) {
			k++
			digits++
		}
	}
	if digits == 0 {
		return 0, false
	}
	if k < n && lower(s[k]) == 'e' {
		e := k + 1
		if e < n && (s[e] == '-' || s[e] == '+') {
			e++
		}
		if e < n && isDigit(s[e]) {
			for e < n && isDigit(s[e]) {
				e++
			}
			k = e
		}
	}
	f, _ := strconv.ParseFloat(s[:k], 64) // out of range: ±Inf, as in C
	j.i += k
	return f, true
}

func saturated(f float64) int32 {
	switch {
	case f >= math.MaxInt32:
		return math.MaxInt32
	case f <= math.MinInt32:
		return math.MinInt32
	}
	return int32(f)
}

// print reads any value and writes it to the record's buffer as the real
// system prints it: on one line, but objects over several.
func (j *jsonReader) print(depth, indent int) bool {
	switch c := j.peek(); {
	case c == '[':
		return j.printArray(depth+1, indent)
	case c == '{':
		return j.printObject(depth+1, indent+1)
	case c == '"':
		return j.printString()
	case c == '-' || isDigit(c):
		f, ok := j.float()
		if ok {
			j.r.buf = appendShortest(j.r.buf, f)
		}
		return ok
	}
	for _, w := range [...]string{"null", "true", "false"} {
		if j.word(w) {
			j.r.buf = append(j.r.buf, w...)
			return true
		}
	}
	return false
}

func (j *jsonReader) printArray(depth, indent int) bool {
	if depth > jsonDepth {
		return false
	}
	j.i++ // [
	j.r.buf = append(j.r.buf, '[')
	j.space()
	if j.take(']') {
		j.r.buf = append(j.r.buf, ']')
		return true
	}
	for {
		j.space()
		if !j.print(depth, indent+1) {
			return false
		}
		j.space()
		if j.take(',') {
			j.r.buf = append(j.r.buf, ", "...)
			continue
		}
		j.r.buf = append(j.r.buf, ']')
		return j.take(']')
	}
}

func (j *jsonReader) printObject(depth, indent int) bool {
	if depth > jsonDepth {
		return false
	}
	j.i++ // {
	j.r.buf = append(j.r.buf, "{\n"...)
	j.space()
	for !j.take('}') {
		j.tabs(indent)
		if !j.printString() {
			return false
		}
		j.space()
		if !j.take(':') {
			return false
		}
		j.r.buf = append(j.r.buf, ":\t"...)
		j.space()
		if !j.print(depth, indent) {
			return false
		}
		j.space()
		more := j.take(',')
		if more {
			j.r.buf = append(j.r.buf, ',')
			j.space()
		}
		j.r.buf = append(j.r.buf, '\n')
		if !more && j.peek() != '}' || more && j.peek() != '"' {
			return false
		}
	}
	j.tabs(indent - 1)
	j.r.buf = append(j.r.buf, '}')
	return true
}

func (j *jsonReader) tabs(n int) {
	for range n {
		j.r.buf = append(j.r.buf, '\t')
	}
}

// printString reads a string and writes it with the real system's escapes.
func (j *jsonReader) printString() bool {
	keep := len(j.r.buf)
	v, ok := j.str()
	if !ok {
		return false
	}
	if len(j.r.buf) > keep {
		// The value was unescaped into the buffer that is to be written to.
		j.fold = append(j.fold[:0], v...)
		j.r.buf = appendQuoted(j.r.buf[:keep], j.fold)
		return true
	}
	j.r.buf = appendQuoted(j.r.buf, v)
	return true
}

// appendQuoted writes a JSON string with no more escapes than JSON needs.
func appendQuoted[T string | []byte](b []byte, s T) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, `\b`...)
		case '\f':
			b = append(b, `\f`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			if c < 0x20 {
				b = append(b, `\u00`...)
				b = append(b, hex[c>>4], hex[c&15])
			} else {
				b = append(b, c)
			}
		}
	}
	return append(b, '"')
}

// appendShortest writes a number with 15 digits, or 17 where those are needed.
func appendShortest(b []byte, f float64) []byte {
	if math.IsInf(f, 0) {
		return append(b, "null"...)
	}
	if f == float64(saturated(f)) {
		return strconv.AppendInt(b, int64(saturated(f)), 10)
	}
	from := len(b)
	b = strconv.AppendFloat(b, f, 'g', 15, 64)
	if g, err := strconv.ParseFloat(string(b[from:]), 64); err == nil && g == f {
		return b
	}
	return strconv.AppendFloat(b[:from], f, 'g', 17, 64)
}
