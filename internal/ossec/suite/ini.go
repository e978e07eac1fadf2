// Package suite reads the test suites that OSSEC, Wazuh and riposte users keep
// for their rules, and runs them against a ruleset.
package suite

import (
	"fmt"
	"strings"

	"riposte/internal/ossec"
)

// Case is one test: a session of log lines and what the last one must come to.
type Case struct {
	File    string
	Line    int
	Section string
	Name    string
	Lines   []string
	Want    Want
	Negate  bool // the verdict must differ
	Exact   bool // Want is a real verdict: empty parts are wanted empty

	// Of a case in riposte's own format.
	Partial   bool     // only what is given is compared; "none" is none
	Fields    []Field  // that the event must have
	Alert     *bool    // whether an alert is to be written
	Responses []string // commands that must answer, all of them; "none"
	Never     []string // rules that the last event must not come to
	Only      string   // the dialect the case is for; "" for both
	events    []event  // what Lines stand for, when that is more than lines
	asked     bool
}

// Want is a verdict as suites write it; empty parts are compared like any
// other, so that a case with one can only be a negated one.
type Want struct {
	Rule    string `json:"rule"`
	Level   string `json:"level"`
	Decoder string `json:"decoder"`
}

func (w Want) String() string {
	return fmt.Sprintf("decoder %q, rule %q, level %q", w.Decoder, w.Rule, w.Level)
}

const maxINI = 16 << 20 // bytes of a suite file

// ParseINI reads a suite in the format of the real systems' own suites, the one
// of Python 2's ConfigParser (spec 9.3): in Wazuh the lines of a repeated or
// continued option make one session, in OSSEC the last of a repeated option
// counts and %% means %.
func ParseINI(file string, src []byte, d ossec.Dialect) ([]Case, []ossec.Finding) {
	if len(src) > maxINI {
		return nil, []ossec.Finding{{Severity: ossec.Error, Pos: ossec.Pos{File: file}, Code: "too-long", Message: fmt.Sprintf("the suite has %d bytes, %d is the most", len(src), maxINI)}}
	}
	p := &iniParser{file: file, d: d, sections: map[string]*iniSection{}}
	offset := 0
	for n, line := range strings.Split(string(src), "\n") {
		p.line(n+1, offset, line)
		offset += len(line) + 1
	}
	if len(p.findings) > 0 {
		return nil, p.findings // Python refuses such a file as a whole
	}
	var cases []Case
	for _, s := range p.order {
		cases = append(cases, s.cases(file)...)
	}
	return cases, nil
}

type iniParser struct {
	file     string
	d        ossec.Dialect
	sections map[string]*iniSection
	order    []*iniSection
	current  *iniSection
	option   *iniOption // that a line with leading space continues
	findings []ossec.Finding
}

type iniSection struct {
	name    string
	options []*iniOption // in the order of their first appearance
}

type iniOption struct {
	name  string
	line  int
	lines []string
}

func (s *iniSection) find(name string) *iniOption {
	for _, o := range s.options {
		if o.name == name {
			return o
		}
	}
	return nil
}

func (p *iniParser) fail(n, offset int, format string, args ...any) {
	p.findings = append(p.findings, ossec.Finding{
		Severity: ossec.Error, Pos: ossec.Pos{File: p.file, Offset: offset, Line: n, Col: 1},
		Code: "bad-suite", Message: fmt.Sprintf(format, args...),
	})
}

const iniSpace = " \t\r\n\v\f"

func (p *iniParser) line(n, offset int, line string) {
	trimmed := strings.Trim(line, iniSpace)
	if trimmed == "" || line[0] == '#' || line[0] == ';' {
		return
	}
	if line[0] == 'r' || line[0] == 'R' {
		if word, _, _ := strings.Cut(trimmed, " "); strings.EqualFold(word, "rem") {
			return
		}
	}
	if strings.IndexByte(iniSpace, line[0]) >= 0 && p.option != nil {
		p.option.lines = append(p.option.lines, p.unescape(trimmed))
		return
	}
	if line[0] == '[' {
		if end := strings.IndexByte(line, ']'); end > 1 {
			p.section(line[1:end])
			return
		}
	}
	if p.current == nil {
		p.fail(n, offset, "%q stands before the first [section]", trimmed)
		return
	}
	at := strings.IndexAny(line, "=:")
	if at <= 0 || strings.IndexByte(iniSpace, line[0]) >= 0 {
		p.fail(n, offset, "%q is neither a [section] nor an option: expected name = value", trimmed)
		return
	}
	p.setOption(n, strings.ToLower(strings.TrimRight(line[:at], iniSpace)), line[at+1:])
}

func (p *iniParser) section(name string) {
	s := p.sections[name]
	if s == nil {
		s = &iniSection{name: name}
		p.sections[name] = s
		p.order = append(p.order, s)
	}
	p.current, p.option = s, nil
}

// unescape reads %% as %, as Python 3 does; Python 2 leaves it.
func (p *iniParser) unescape(s string) string {
	if p.d == ossec.OSSEC {
		return strings.ReplaceAll(s, "%%", "%")
	}
	return s
}

func (p *iniParser) setOption(n int, name, value string) {
	value = strings.TrimLeft(value, iniSpace)
	if i := strings.IndexByte(value, ';'); i > 0 && strings.IndexByte(iniSpace, value[i-1]) >= 0 {
		value = value[:i]
	}
	value = strings.Trim(value, iniSpace)
	if value == `""` {
		value = ""
	}
	value = p.unescape(value)
	o := p.current.find(name)
	switch {
	case o == nil:
		o = &iniOption{name: name, line: n, lines: []string{value}}
		p.current.options = append(p.current.options, o)
	case p.d == ossec.Wazuh:
		o.lines = append(o.lines, value)
	default:
		o.lines = []string{value}
	}
	p.option = o
}

// cases makes the tests of a section.
func (s *iniSection) cases(file string) []Case {
	value := func(name string) string {
		if o := s.find(name); o != nil {
			return strings.Join(o.lines, "\n")
		}
		return ""
	}
	want := Want{Rule: value("rule"), Level: value("alert"), Decoder: value("decoder")}
	var out []Case
	for _, o := range s.options {
		if strings.HasPrefix(o.name, "log ") {
			out = append(out, Case{
				File: file, Line: o.line, Section: s.name, Name: o.name, Lines: o.lines,
				Want: want, Negate: strings.HasSuffix(o.name, "fail"),
			})
		}
	}
	return out
}
