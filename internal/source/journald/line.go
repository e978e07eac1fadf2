package journald

import (
	"strings"
	"time"

	"riposte/internal/source/lines"
)

// line writes an entry as the line that syslog would have written, which is
// what decoders read: "Nov 23 06:00:00 web1 sshd[42]: message". Control
// characters are escaped: a message with a newline in it stays one line, so
// nobody can forge a second one.
func (e *entry) line(host string, now time.Time) string {
	stamp := e.time
	if stamp.IsZero() {
		stamp = now
	}
	if e.host != "" {
		host = e.host
	}
	message := lines.Escape(e.message)
	program := word(e.program)
	b := make([]byte, 0, len("Jan _2 15:04:05")+len(host)+len(program)+len(e.pid)+len(message)+8)
	b = stamp.Local().AppendFormat(b, time.Stamp)
	b = append(b, ' ')
	b = append(b, word(host)...)
	b = append(b, ' ')
	if program != "" {
		b = append(b, program...)
		if number(e.pid) {
			b = append(b, '[')
			b = append(b, e.pid...)
			b = append(b, ']')
		}
		b = append(b, ": "...)
	}
	return string(append(b, message...))
}

// word makes one word of a name that a header is made of.
func word(s string) string {
	s = lines.Escape(s)
	if strings.IndexByte(s, ' ') < 0 {
		return s
	}
	return strings.ReplaceAll(s, " ", "_")
}
