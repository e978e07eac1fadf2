package alertlog

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"unicode/utf8"
)

const hex = "0123456789abcdef"

// hidden reports whether a character beyond ASCII acts on a terminal or on a
// reader's eye instead of showing itself: C1 controls, line and paragraph
// separators, marks that turn the direction of writing, the byte order mark.
func hidden(r rune) bool {
	switch {
	case r < 0xa0:
		return r >= 0x80
	case r < 0x2000:
		return r == 0x061c
	}
	return r == 0x200e || r == 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0xfeff
}

const (
	eachByte = 0x0101010101010101
	topBits  = 0x80 * eachByte
)

// special returns the place of the first byte at or after i that is no printing
// ASCII character, len(s) if there is none. It looks at eight bytes at a time; of
// the bits that are set the lowest is always right.
func special(s string, i int) int {
	for ; i+8 <= len(s); i += 8 {
		if odd := unprinted(eight(s[i:i+8])) & topBits; odd != 0 {
			return i + bits.TrailingZeros64(odd)>>3
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c >= 0x7f {
			break
		}
	}
	return i
}

// unprinted sets the top bit of every byte that is no printing ASCII character,
// and perhaps of later ones if there is one: those below 0x20 borrow when it is
// taken away, 0x7f carries when one is added.
func unprinted(v uint64) uint64 { return (v - 0x20*eachByte) | v | (v + eachByte) }

// escaped is unprinted for what a JSON string does not show as it is, which are
// quotes and backslashes as well: zero after an exclusive or, they borrow.
func escaped(v uint64) uint64 {
	quote, back := v^'"'*eachByte, v^'\\'*eachByte
	return unprinted(v) | (quote - eachByte) | (back - eachByte)
}

// isPlain reports whether a JSON string shows s as it is. Most are like that, and
// short.
func isPlain(s string) bool {
	if len(s) < 8 {
		for i := range len(s) {
			if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
				return false
			}
		}
		return true
	}
	odd := escaped(eight(s[len(s)-8:]))
	for i := 0; i+8 < len(s); i += 8 {
		odd |= escaped(eight(s[i : i+8]))
	}
	return odd&topBits == 0
}

// appendString appends s as a JSON string, always valid JSON and valid UTF-8,
// without control characters.
func appendString(dst []byte, s string) []byte {
	return append(appendStringPart(append(dst, '"'), s), '"')
}

// appendStringPart appends s as a part of a JSON string.
func appendStringPart(dst []byte, s string) []byte {
	if len(s) < shortText && isPlain(s) {
		return append(dst, s...)
	}
	dst, _ = escape(dst, s)
	return dst
}

// shortText is the length in bytes up to which a look whether a text is plain is
// better than to see while it is copied.
const shortText = 256

// plainness says how much of a text must be escaped.
type plainness uint8

const (
	hiding plainness = iota // something that text must not show as it is
	quotes                  // nothing but quotes and backslashes, which only JSON escapes
	plain                   // nothing
)

// escape appends s as a part of a JSON string and tells how plain s is.
func escape(dst []byte, s string) (_ []byte, is plainness) {
	dst, i, is := appendPlain(dst, s, 0)
	start := i // s[:start] is appended
	for i < len(s) {
		is = hiding
		c := s[i]
		n := 1
		if c < utf8.RuneSelf {
			dst = append(dst, s[start:i]...)
			switch c {
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			start = i + 1
		} else {
			var escaped bool
			if dst, n, escaped = appendWide(dst, s, start, i, `\\x`); escaped {
				start = i + n
			}
		}
		if i += n; i == len(s) || s[i] >= utf8.RuneSelf {
			continue
		}
		dst = append(dst, s[start:i]...)
		dst, i, _ = appendPlain(dst, s, i)
		start = i
	}
	return append(dst, s[start:]...), is
}

// appendPlain appends s from i on to a JSON string up to the first byte that is
// neither printing ASCII nor a quote or backslash, at which it stops. Records that
// are JSON themselves have a quote every few bytes: eight bytes are copied at a
// time, wherever they begin, and what is behind a quote is copied again.
func appendPlain(dst []byte, s string, i int) (_ []byte, stop int, is plainness) {
	is = plain
	dst = slices.Grow(dst, 2*(len(s)-i)+8)
	out, n := dst[:cap(dst)], len(dst) // each byte of s takes two at most
	for i+8 <= len(s) {
		v := eight(s[i : i+8])
		binary.LittleEndian.PutUint64(out[n:], v)
		odd := escaped(v) & topBits
		if odd == 0 {
			i += 8
			n += 8
			continue
		}
		k := bits.TrailingZeros64(odd) >> 3
		i += k
		n += k
		c := s[i]
		if c != '"' && c != '\\' {
			return out[:n], i, is
		}
		is = quotes
		out[n], out[n+1] = '\\', c
		i++
		n += 2
	}
	for ; i < len(s); i++ {
		c := s[i]
		if c < 0x20 || c >= 0x7f {
			break
		}
		if c == '"' || c == '\\' {
			is = quotes
			out[n] = '\\'
			n++
		}
		out[n] = c
		n++
	}
	return out[:n], i, is
}

// eight returns eight bytes as a number, the first the lowest.
func eight(s string) uint64 {
	s = s[:8]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// appendWide sees to the character beyond ASCII at s[i], which is n bytes long. If
// it must be escaped, s[start:i] and its escape are appended, else nothing.
func appendWide(dst []byte, s string, start, i int, invalid string) (_ []byte, n int, escaped bool) {
	r, n := utf8.DecodeRuneInString(s[i:])
	switch {
	case r == utf8.RuneError && n == 1:
		dst = append(append(dst, s[start:i]...), invalid...)
		return append(dst, hex[s[i]>>4], hex[s[i]&15]), 1, true
	case hidden(r):
		return appendRune(append(dst, s[start:i]...), r), n, true
	}
	return dst, n, false
}

// appendRune appends a character of the basic plane as \uNNNN.
func appendRune(dst []byte, r rune) []byte {
	return append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}

// appendVisible appends s as a part of one line of text: whatever could end the
// line, move a terminal's cursor or hide text is written as an escape. Tabs and
// backslashes stay as they are.
func appendVisible(dst []byte, s string) []byte {
	start := 0
	for i := special(s, 0); i < len(s); i = special(s, i) {
		c := s[i]
		n := 1
		switch {
		case c == '\t':
		case c < utf8.RuneSelf:
			dst = append(dst, s[start:i]...)
			switch c {
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			default:
				dst = append(dst, '\\', 'x', hex[c>>4], hex[c&15])
			}
			start = i + 1
		default:
			var escaped bool
			if dst, n, escaped = appendWide(dst, s, start, i, `\x`); escaped {
				start = i + n
			}
		}
		i += n
	}
	return append(dst, s[start:]...)
}

// appendWord appends s as one word of a line whose words are parted by spaces,
// "-" for nothing.
func appendWord(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, '-')
	}
	for i, start := 0, 0; ; i++ {
		if i == len(s) {
			return appendVisible(dst, s[start:])
		}
		if c := s[i]; c == ' ' || c == '\t' {
			dst = appendVisible(dst, s[start:i])
			dst = append(dst, '\\', 'x', hex[c>>4], hex[c&15])
			start = i + 1
		}
	}
}
