package lines

import "strings"

// Escape writes each control character as # and three octal digits, as rsyslog
// does, so that one message stays one line whatever its sender put into it.
func Escape(s string) string {
	n := 0
	for i := 0; i < len(s); i++ {
		if control(s[i]) {
			n++
		}
	}
	if n == 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 3*n)
	for i := 0; i < len(s); i++ {
		c := s[i]
		if control(c) {
			b.WriteByte('#')
			b.WriteByte('0' + c>>6)
			b.WriteByte('0' + c>>3&7)
			b.WriteByte('0' + c&7)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func control(c byte) bool { return c < 0x20 || c == 0x7f }
