package syslog

import (
	"strings"
	"time"

	"riposte/internal/source/lines"
)

// Line turns a message as it was sent into a line as a log file would have it,
// which is what decoders read.
//
// The priority goes. A message of RFC 5424 gets a header of RFC 3164:
// "Nov 23 06:00:00 host app[procid]: message [structured data]". Anything else
// stays as it is, as with OSSEC, but for a time stamp of RFC 3339 at its
// beginning, which is rewritten too, since not all forms of it can be told
// later. Control characters are escaped, so that one message is one line.
//
// sender stands in for a host name and now for a time that RFC 5424 leaves out.
func Line(msg, sender string, now time.Time) string {
	msg = strings.TrimRight(msg, "\x00\r\n")
	rest, ok := priority(msg)
	if ok {
		if m, ok := parse5424(rest); ok {
			return lines.Escape(m.line(sender, now))
		}
	}
	if word, after, found := strings.Cut(rest, " "); found {
		if t, ok := stamp(word); ok {
			rest = t.Local().Format(time.Stamp) + " " + after
		}
	}
	return lines.Escape(rest)
}

// priority takes "<34>" off.
func priority(msg string) (rest string, ok bool) {
	if len(msg) < 3 || msg[0] != '<' {
		return msg, false
	}
	value := 0
	for i := 1; i < len(msg) && i < 5; i++ {
		switch c := msg[i]; {
		case c == '>' && i > 1 && value <= 191:
			return msg[i+1:], true
		case c < '0' || c > '9':
			return msg, false
		default:
			value = 10*value + int(c-'0')
		}
	}
	return msg, false
}

// message is a message of RFC 5424 behind its priority. What it left out with a
// "-" is empty.
type message struct {
	stamp  time.Time
	host   string
	app    string
	procid string
	msgid  string
	data   string // the structured data as written
	text   string
}

// parse5424 reads VERSION SP TIMESTAMP SP HOSTNAME SP APP-NAME SP PROCID SP MSGID
// SP STRUCTURED-DATA [SP MSG]. It is less strict about lengths than the RFC.
func parse5424(s string) (m message, ok bool) {
	if s, ok = strings.CutPrefix(s, "1 "); !ok {
		return m, false
	}
	var words [5]string
	for i := range words {
		if words[i], s, ok = strings.Cut(s, " "); !ok || !graphic(words[i]) {
			return m, false
		}
		if words[i] == "-" {
			words[i] = ""
		}
	}
	if words[0] != "" {
		if m.stamp, ok = stamp(words[0]); !ok {
			return m, false
		}
	}
	m.host, m.app, m.procid, m.msgid = words[1], words[2], words[3], words[4]
	n := structured(s)
	if n < 0 {
		return m, false
	}
	if n > 1 {
		m.data = s[:n]
	}
	if s = s[n:]; s != "" {
		if s[0] != ' ' {
			return m, false
		}
		m.text = strings.TrimPrefix(s[1:], "\ufeff")
	}
	return m, true
}

// graphic reports whether s is printable ASCII without spaces, and not empty.
func graphic(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != ""
}

// stamp reads a time of RFC 3339 as RFC 5424 has it: T and Z in capitals.
func stamp(s string) (time.Time, bool) {
	if len(s) < len("2006-01-02T15:04:05Z") || s[10] != 'T' {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	return t, err == nil
}

// structured returns the length of the structured data that s begins with, -1
// when it is malformed.
func structured(s string) int {
	if strings.HasPrefix(s, "-") {
		return 1
	}
	at := 0
	for at < len(s) && s[at] == '[' {
		n := element(s[at:])
		if n < 0 {
			return -1
		}
		at += n
	}
	if at == 0 {
		return -1
	}
	return at
}

// element returns the length of one [id name="value" …].
func element(s string) int {
	at := 1 + sdName(s[1:])
	if at == 1 {
		return -1
	}
	for at < len(s) && s[at] == ' ' {
		n := sdName(s[at+1:])
		at += 1 + n
		if n == 0 || !strings.HasPrefix(s[at:], `="`) {
			return -1
		}
		at += 2
		for at < len(s) && s[at] != '"' {
			if s[at] == ']' {
				return -1
			}
			if s[at] == '\\' && at+1 < len(s) && strings.IndexByte(`"\]`, s[at+1]) >= 0 {
				at++
			}
			at++
		}
		at++ // the closing quote
	}
	if at >= len(s) || s[at] != ']' {
		return -1
	}
	return at + 1
}

// sdName returns the length of the name that s begins with.
func sdName(s string) int {
	n := 0
	for n < len(s) && s[n] > ' ' && s[n] < 0x7f && strings.IndexByte(`="]`, s[n]) < 0 {
		n++
	}
	return n
}

// line writes the message with a header of RFC 3164. The structured data stands
// behind the text, whose beginning decoders look for.
func (m *message) line(sender string, now time.Time) string {
	if m.stamp.IsZero() {
		m.stamp = now
	}
	if m.host == "" {
		m.host = sender
	}
	b := make([]byte, 0, len("Jan _2 15:04:05")+len(m.host)+len(m.app)+len(m.procid)+len(m.data)+len(m.text)+8)
	b = m.stamp.Local().AppendFormat(b, time.Stamp)
	b = append(b, ' ')
	b = append(b, m.host...)
	if m.app != "" {
		b = append(b, ' ')
		b = append(b, m.app...)
		if number(m.procid) {
			b = append(b, '[')
			b = append(b, m.procid...)
			b = append(b, ']')
		}
		b = append(b, ':')
	}
	for _, part := range []string{m.text, m.data} {
		if part != "" {
			b = append(b, ' ')
			b = append(b, part...)
		}
	}
	return string(b)
}

func number(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
