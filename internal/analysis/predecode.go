package analysis

import (
	"strings"

	"riposte/internal/ossec"
)

// predecoder splits a record into header, host, program and rest.
type predecoder struct {
	wazuh bool
	host  string // of the analysing host, short
}

func newPredecoder(d ossec.Dialect, host string) predecoder {
	short, _, _ := strings.Cut(host, ".")
	return predecoder{wazuh: d == ossec.Wazuh, host: short}
}

// run fills full, log, prev, stamp, host, program and location of r.
func (p *predecoder) run(r *record) {
	text := r.event.Text
	if i := strings.IndexByte(text, 0); i >= 0 && p.wazuh {
		text = text[:i]
	}
	if !p.wazuh {
		text = withoutControls(r, text)
	}
	r.full, r.log = text, text
	t := text
	if len(t) > 2 && t[1] == 0xc3 && t[2] == 0xa4 {
		// The headers are looked for as if "ä" were one byte, but cut from
		// the text as it is.
		t = r.keep(t[:1], "a", t[3:])
	}
	if cut := p.header(t, len(text)+1); cut >= 0 {
		if p.wazuh {
			r.stamp = text[:min(cut-1, len(text))]
		}
		r.log = text[min(cut, len(text)):]
		p.names(r)
	} else {
		p.other(r, t)
	}
	p.place(r)
}

// withoutControls removes control bytes, as OSSEC does on reception.
func withoutControls(r *record, s string) string {
	i := firstControl(s)
	if i == len(s) {
		return s
	}
	start := len(r.buf)
	r.buf = append(r.buf, s[:i]...)
	for ; i < len(s); i++ {
		if c := s[i]; c >= 0x20 && c != 0x7f {
			r.buf = append(r.buf, c)
		}
	}
	return r.text(start)
}

// firstControl returns the place of the first control byte, len(s) if there is
// none. It looks at eight bytes at a time: a byte below 0x20 borrows from the
// top bit of its place when 0x20 is taken away, one of 0x7f is zero after an
// exclusive or.
func firstControl(s string) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(s); i += 8 {
		v := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		del := v ^ 0x7f7f7f7f7f7f7f7f
		if ((v-0x20*ones)&^v|(del-ones)&^del)&tops != 0 {
			break
		}
	}
	for i < len(s) && s[i] >= 0x20 && s[i] != 0x7f {
		i++
	}
	return i
}

// header returns where the text behind a syslog-like header begins, -1 when
// there is none. n is the length of the record and one, as the real systems
// count.
func (p *predecoder) header(t string, n int) int {
	if n > 17 && len(t) > 15 && t[3] == ' ' && t[6] == ' ' && t[9] == ':' && t[12] == ':' && t[15] == ' ' {
		return 16
	}
	if n <= 20 || len(t) < 20 {
		return -1
	}
	at := func(i int) byte {
		if i < len(t) {
			return t[i]
		}
		return 0
	}
	if n > 24 && t[4] == '-' && t[7] == '-' && t[10] == ' ' && t[13] == ':' && t[16] == ':' && t[19] == ',' {
		if p.wazuh {
			return 24
		}
		return 23
	}
	if n > 33 && t[4] == '-' && t[7] == '-' && t[10] == 'T' && t[13] == ':' && t[16] == ':' {
		if cut := p.isoHeader(at); cut >= 0 {
			return cut
		}
	}
	digit := isDigit(t[0])
	if n > 21 && digit && t[4] == ' ' && t[8] == ' ' && t[11] == ' ' && t[14] == ':' && t[17] == ':' && at(20) == ' ' {
		return 21
	}
	if !p.wazuh && digit && t[4] == ':' && t[7] == ':' && t[10] == '-' && t[13] == ':' && t[16] == ':' {
		return 20
	}
	if p.wazuh && n > 33 && digit && t[4] == '-' && t[7] == '-' && t[10] == ' ' && t[13] == ':' && t[16] == ':' && t[19] == '.' &&
		(at(26) == '+' || at(26) == '-') && at(31) == ' ' {
		return 32
	}
	return -1
}

// isoHeader measures an ISO 8601 header by its fraction and zone. Wazuh takes
// every fraction that has neither 3 nor 6 digits for one of 5.
func (p *predecoder) isoHeader(at func(int) byte) int {
	if at(22) == ':' && at(25) == ' ' {
		return 26
	}
	if p.wazuh {
		switch {
		case at(19) != '.':
			return -1
		case at(26) == ':':
			return 30
		case at(29) == ':':
			return 33
		}
		return 32
	}
	if at(19) == '.' || at(19) == ',' {
		for k := 24; k <= 29; k++ {
			if at(k) == ':' {
				return k + 3
			}
		}
	}
	return -1
}

// names takes host and program off what follows a syslog-like header.
func (p *predecoder) names(r *record) {
	s := r.log
	prev := byte(0) // the last byte of the header is overwritten in Wazuh
	if strings.HasPrefix(s, " ") {
		s = s[1:]
		prev = ' '
	}
	n := nameRun(s)
	switch {
	case strings.HasPrefix(s[n:], ": "):
		r.program, r.hasProg = s[:n], true
		s, prev = s[n+2:], ' '
		s, prev = p.solarisID(s, prev)
	case n == len(s) || s[n] != ' ':
	default:
		r.host, r.hasHost = s[:n], true
		s, prev = p.programName(r, s[n+1:])
	}
	r.log, r.prev = s, prev
}

// programName takes the program off what follows the host name.
func (p *predecoder) programName(r *record, s string) (string, byte) {
	n := nameRun(s)
	rest := s[n:]
	if rest == "" {
		return s, 0
	}
	end := -1 // of what belongs to the program, in rest
	switch rest[0] {
	case ':':
		if p.wazuh || strings.HasPrefix(rest, ": ") {
			end = 1
		}
	case '[':
		k := 1
		for k < len(rest) && isDigit(rest[k]) {
			k++
		}
		if k == 1 {
			break
		}
		switch tail := rest[k:]; {
		case strings.HasPrefix(tail, "]:") && (p.wazuh || strings.HasPrefix(tail, "]: ")):
			end = k + 2
		case strings.HasPrefix(tail, "] "):
			end = k + 1
		}
	case '|':
		return p.aixName(r, s, n)
	}
	if end < 0 {
		return s, 0
	}
	r.program, r.hasProg = s[:n], true
	// In Wazuh the byte behind the name is overwritten, which shows when the
	// log follows at once.
	prev := byte(0)
	if end > 1 {
		prev = rest[end-1]
	}
	s = rest[end:]
	if strings.HasPrefix(s, " ") {
		s, prev = s[1:], ' '
	}
	return p.solarisID(s, prev)
}

// aixName reads "facility|level:more program: text" with its oddities.
func (p *predecoder) aixName(r *record, s string, n int) (string, byte) {
	k := n + 1
	if k >= len(s) || s[k] < 'a' || s[k] > 'z' {
		return s, 0
	}
	k = alnumRun(s, k+1)
	if k >= len(s) || s[k] != ':' {
		return s, 0
	}
	k = alnumRun(s, k+1)
	if k >= len(s) || s[k] != ' ' {
		return s, 0
	}
	start := k + 1
	name := s[start:]
	m := nameRun(name)
	rest := name[m:]
	if strings.HasPrefix(rest, ": ") {
		r.program, r.hasProg = name[:m], true
		return p.solarisID(rest[2:], ' ')
	}
	if strings.HasPrefix(rest, "[") && len(rest) > 1 && isDigit(rest[1]) {
		d := 1
		for d < len(rest) && isDigit(rest[d]) {
			d++
		}
		r.program, r.hasProg = name[:m], true
		if strings.HasPrefix(rest[d:], "]: ") {
			return p.solarisID(rest[d+3:], ' ')
		}
		return s[:start+m], 0
	}
	r.program, r.hasProg = name, true
	return rest, 0
}

// solarisID takes "[ID 123 facility.level] " off.
func (p *predecoder) solarisID(s string, prev byte) (string, byte) {
	if !strings.HasPrefix(s, "[ID ") {
		return s, prev
	}
	if p.wazuh {
		if i := strings.IndexByte(s, ']'); i >= 0 {
			cut := min(i+2, len(s))
			return s[cut:], s[cut-1]
		}
		return s, prev
	}
	if i := strings.Index(s, "] "); i >= 0 {
		return s[i+2:], ' '
	}
	return s, prev
}

// other tries the headers that name neither host nor program.
func (p *predecoder) other(r *record, t string) {
	n := len(r.full) + 1
	at := func(i int) byte {
		if i < len(t) {
			return t[i]
		}
		return 0
	}
	cut, stampFrom, stampTo := -1, 0, 0
	switch {
	case n > 28 && t[3] == ' ' && t[7] == ' ' && t[10] == ' ' && t[13] == ':' && t[16] == ':' && t[19] == ' ' && t[24] == ' ' && at(26) == ' ': // xferlog
		cut, stampTo = 24, 24
		if p.wazuh {
			cut = 25
		}
	case n > 24 && t[2] == '/' && t[5] == '-' && t[8] == ':' && t[11] == ':' && t[14] == '.' && t[21] == ' ': // snort
		cut, stampTo = 23, 21
	case n > 26 && (n > 28 || !p.wazuh) && t[2] == '/' && t[5] == '/' && t[10] == '-' && t[13] == ':' && t[16] == ':' && t[19] == '.' && at(26) == ' ': // suricata
		cut, stampTo = 28, 26
	case n > 27 && t[0] == '[' && t[4] == ' ' && t[8] == ' ' && t[11] == ' ' && t[14] == ':' && t[17] == ':' && t[20] == ' ' && at(25) == ']': // apache
		cut, stampFrom, stampTo = 27, 1, 25
	case n > 26 && t[0] == '[' && t[1] == 'T' && t[5] == ' ' && t[10] == '.' && t[13] == '.' && t[16] == ' ' && t[19] == ':': // macOS ASL
		p.appleLog(r)
		return
	case n > 32 && t[0] == '1' && isDigit(t[1]) && isDigit(t[2]) && isDigit(t[3]) && t[10] == '.' && isDigit(t[13]) && t[14] == ' ' && (t[21] == ' ' || t[22] == ' '): // squid
		cut = 14
		for cut < len(r.full) && r.full[cut] == ' ' {
			cut++
		}
		stampTo = cut - 1
	default:
		return
	}
	if p.wazuh {
		r.stamp = r.full[stampFrom:min(stampTo, len(r.full))]
	}
	r.log = r.full[min(cut, len(r.full)):]
}

// appleLog reads "[Time …] [Facility …] [Sender x] [Message y] [Host z]".
func (p *predecoder) appleLog(r *record) {
	s := r.full[25:]
	r.log, r.prev = s, r.full[24]
	message := false
	for {
		i := strings.IndexByte(s, '[')
		if i < 0 {
			return
		}
		s = s[i+1:]
		value, ok := "", false
		switch {
		case strings.HasPrefix(s, "Sender ") && !r.hasProg:
			if value, ok = bracketed(s[len("Sender "):]); !ok {
				return
			}
			r.program, r.hasProg = value, true
			s = s[len("Sender ")+len(value):]
		case strings.HasPrefix(s, "Message ") && !message:
			if value, ok = bracketed(s[len("Message "):]); !ok {
				r.log, r.prev = s[len("Message "):], ' '
				return
			}
			message = true
			r.log, r.prev = value, ' '
			s = s[len("Message ")+len(value):]
		case strings.HasPrefix(s, "Host "):
			if value, ok = bracketed(s[len("Host "):]); ok {
				r.host, r.hasHost = value, true
			}
			return
		}
	}
}

func bracketed(s string) (string, bool) {
	i := strings.IndexByte(s, ']')
	if i < 0 {
		return "", false
	}
	return s[:i], true
}

// localAgent is the id of this host among the agents.
const localAgent = "000"

// place fills location, agent and host from where the event came from.
func (p *predecoder) place(r *record) {
	ev := r.event
	r.location, r.agent = ev.Location, localAgent
	if ev.Agent.Local() {
		if !r.hasHost {
			r.host = p.host
		}
		return
	}
	ip := ev.Agent.IP
	if ip == "" {
		ip = "any"
	}
	r.agent = ev.Agent.ID
	r.location = r.keep("(", ev.Agent.Name, ") ", ip, "->", ev.Location)
	r.host = ev.Agent.Name
	if !p.wazuh {
		r.host = r.location
	}
}

// isName reports whether a byte may stand in a host or program name.
func isName(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= '-' && c <= '9', c >= '@' && c <= 'Z':
		return true // '-' to '9' is - . / and the digits
	}
	return c == '_' || c == '(' || c == ')'
}

func nameRun(s string) int {
	i := 0
	for i < len(s) && isName(s[i]) {
		i++
	}
	return i
}

func alnumRun(s string, i int) int {
	for i < len(s) && (isDigit(s[i]) || lower(s[i]) >= 'a' && lower(s[i]) <= 'z') {
		i++
	}
	return i
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
