package suite

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"riposte/internal/ossec"
)

// Field is a decoded field that a case wants, with its value.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Parse reads a suite in the format that its file name stands for: .ini is that
// of OSSEC and Wazuh, .jsonl one JSON object a line, everything else riposte's
// own.
func Parse(file string, src []byte, d ossec.Dialect) ([]Case, []ossec.Finding) {
	switch filepath.Ext(file) {
	case ".ini":
		return ParseINI(file, src, d)
	case ".jsonl":
		return ParseJSONL(file, src)
	}
	return ParseText(file, src)
}

// textKeys are the words that begin a line of a case.
var textKeys = []string{"log", "event", "wait", "location", "dialect", "decoder", "rule", "level", "alert", "field", "response", "never", "not"}

// event is one or more equal events of a session.
type event struct {
	text     string
	times    int
	wait     time.Duration // that passes before them
	location string        // "" for that of a log test
	channel  bool          // a Windows event: {"Message":…,"Event":"<xml>"}
}

// maxTimes bounds how often a case repeats an event.
const maxTimes = 100_000

// ParseText reads a suite in riposte's own format. A case is a run of lines
// "word: text", cases are parted by empty lines, # begins a comment:
//
//	# a root login that fails
//	log: Nov 23 08:00:00 web sshd[7]: Failed password for root from 203.0.113.7 port 22 ssh2
//	decoder: sshd
//	field srcip: 203.0.113.7
//	rule: 5716
//	level: 5
//	alert: yes
//	response: firewall-drop
//
// Several log lines make one session; what is wanted is wanted of the last.
// Only what is written is compared; "rule: none", "decoder: none" and
// "response: none" say that there is none. Each response names a command,
// "never: 5716 5720" names rules that it must not come to. "not: yes" turns the
// case round, "dialect: ossec" keeps it for one dialect.
//
// "log 8: …" stands for eight such lines, "event: {…}" for a Windows event as
// JSON, "wait: 30s" for time that passes, and "location: PATH" says where the
// following lines of the case were read.
func ParseText(file string, src []byte) ([]Case, []ossec.Finding) {
	p := &textParser{file: file}
	offset := 0
	for n, line := range strings.Split(string(src), "\n") {
		p.line(n+1, offset, strings.TrimSuffix(line, "\r"))
		offset += len(line) + 1
	}
	p.end()
	if len(p.findings) > 0 {
		return nil, p.findings
	}
	return p.cases, nil
}

type textParser struct {
	file     string
	cases    []Case
	current  *Case
	findings []ossec.Finding
	next     event // what was said of the next event
}

func (p *textParser) fail(n, offset int, hint, format string, args ...any) {
	p.findings = append(p.findings, ossec.Finding{
		Severity: ossec.Error, Pos: ossec.Pos{File: p.file, Offset: offset, Line: n, Col: 1},
		Code: "bad-suite", Message: fmt.Sprintf(format, args...), Hint: hint,
	})
}

// end finishes the current case.
func (p *textParser) end() {
	c := p.current
	p.current, p.next = nil, event{}
	switch {
	case c == nil:
	case len(c.Lines) == 0:
		p.fail(c.Line, 0, "begin the case with log: …", "a case without a log line")
	case !c.asked:
		p.fail(c.Line, 0, "say which decoder, rule or level is expected", "a case that expects nothing")
	default:
		p.cases = append(p.cases, *c)
	}
}

func (p *textParser) line(n, offset int, line string) {
	trimmed := strings.TrimSpace(line)
	if trimmed == "" {
		p.end()
		return
	}
	if trimmed[0] == '#' {
		return
	}
	word, text, ok := strings.Cut(line, ":")
	if !ok {
		p.fail(n, offset, "write word: text", "%.60q is no line of a case", trimmed)
		return
	}
	word, text = strings.TrimSpace(word), strings.TrimPrefix(text, " ")
	if p.current == nil {
		p.current = &Case{File: p.file, Line: n, Partial: true}
	}
	c := p.current
	if kind, count, _ := strings.Cut(word, " "); kind == "log" || kind == "event" {
		p.event(n, offset, kind, count, text)
		return
	}
	text = strings.TrimSpace(text)
	yes := func() bool {
		if text != "yes" && text != "no" {
			p.fail(n, offset, "write yes or no", "%s is %q", word, text)
		}
		return text == "yes"
	}
	name, isField := strings.CutPrefix(word, "field ")
	switch {
	case isField:
		c.Fields = append(c.Fields, Field{Name: strings.TrimSpace(name), Value: text})
	case word == "decoder":
		c.Want.Decoder = text
	case word == "rule":
		c.Want.Rule = text
	case word == "level":
		c.Want.Level = text
	case word == "alert":
		want := yes()
		c.Alert = &want
	case word == "response":
		c.Responses = append(c.Responses, text)
	case word == "never":
		c.Never = strings.Fields(text)
	case word == "not":
		c.Negate = yes()
		return
	case word == "wait":
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			p.fail(n, offset, "write 30s or 10m", "wait is %q", text)
		}
		p.next.wait = d
		return
	case word == "location":
		p.next.location = text
		return
	case word == "dialect":
		if _, err := ossec.ParseDialect(text); err != nil {
			p.fail(n, offset, "", "%v", err)
		}
		c.Only = text
		return
	default:
		hint := ""
		if near, ok := ossec.Nearest(word, textKeys); ok {
			hint = fmt.Sprintf("did you mean %s?", near)
		}
		p.fail(n, offset, hint, "%q is no word of a case", word)
		return
	}
	c.asked = true
}

// event adds "log: …", "log 8: …" or "event: …" to the case.
func (p *textParser) event(n, offset int, kind, count, text string) {
	e := p.next
	e.text, e.times, e.channel = text, 1, kind == "event"
	if count = strings.TrimSpace(count); count != "" {
		var err error
		if e.times, err = strconv.Atoi(count); err != nil || e.times < 1 || e.times > maxTimes {
			p.fail(n, offset, fmt.Sprintf("write a number from 1 to %d", maxTimes), "%q is no number of lines", count)
			return
		}
	}
	p.next.wait = 0
	p.current.Lines = append(p.current.Lines, text)
	p.current.events = append(p.current.events, e)
}
