package suite

import (
	"fmt"
	"path/filepath"
	"strings"

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
var textKeys = []string{"log", "decoder", "rule", "level", "alert", "field", "response", "not"}

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
// "response: none" say that there is none. Each response names a command.
// "not: yes" turns the case round.
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
	p.current = nil
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
	if word == "log" {
		c.Lines = append(c.Lines, text)
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
	case word == "not":
		c.Negate = yes()
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
