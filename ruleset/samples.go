package ruleset

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Case is one sample: a short session of events and what the last of them must
// and must not give. Every case starts with an engine that has seen nothing.
type Case struct {
	File string
	Line int // of the first event
	Name string
	Only string // the dialect the case is for, "" for both

	Events []SampleEvent
	Want   Want
	Not    []int // rules that the last event must not give
}

// SampleEvent is one or more equal events.
type SampleEvent struct {
	Text     string
	Times    int
	After    time.Duration // the time that passes before them
	Location string        // "" for a log test's
	Channel  bool          // a Windows event: {"Message":…,"Event":"<xml>"}
}

// Want is what the last event of a case must give. A rule of 0 is none, a
// decoder of "-" is none, a field without value must be absent or empty.
type Want struct {
	Set     bool
	Rule    int
	Level   int
	Decoder string
	Fields  []Field
}

// Field is an expected field.
type Field struct{ Name, Value string }

// ParseSamples reads a file of samples. docs/rules.md describes the form:
//
//	# name of the case
//	@ /var/log/auth.log
//	+ 30s
//	8> Dec  1 00:00:00 host sshd[1]: ...
//	= 5712 10 sshd srcip=192.0.2.1 dstuser="a b"
//	! 5720 5763
//	wazuh
//
// A case ends at an empty line. "##" begins a remark.
func ParseSamples(name string, src []byte) ([]Case, error) {
	p := parser{file: name}
	for i, line := range strings.Split(string(src), "\n") {
		if err := p.line(i+1, strings.TrimSuffix(line, "\r")); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
		}
	}
	if err := p.end(); err != nil {
		return nil, fmt.Errorf("%s: at its end: %w", name, err)
	}
	return p.cases, nil
}

type parser struct {
	file     string
	cases    []Case
	cur      Case
	after    time.Duration
	location string
}

func (p *parser) line(n int, line string) error {
	switch {
	case strings.HasPrefix(line, "##"):
		return nil
	case strings.TrimSpace(line) == "":
		return p.end()
	case line[0] == '#':
		p.cur.Name = strings.TrimSpace(line[1:])
		return nil
	case line == Wazuh || line == OSSEC:
		p.cur.Only = line
		return nil
	}
	if count, text, ok := strings.Cut(line, ">"); ok {
		if e, ok := event(count); ok {
			if p.cur.Want.Set || p.cur.Not != nil {
				return fmt.Errorf("an event stands behind what was expected: end the case with an empty line first")
			}
			if p.cur.Line == 0 {
				p.cur.Line = n
			}
			e.Text, e.After, e.Location = strings.TrimPrefix(text, " "), p.after, p.location
			p.after = 0
			p.cur.Events = append(p.cur.Events, e)
			return nil
		}
	}
	rest := strings.TrimSpace(line[1:])
	var err error
	switch line[0] {
	case '@':
		p.location = rest
	case '+':
		p.after, err = time.ParseDuration(rest)
	case '=':
		p.cur.Want, err = want(rest)
	case '!':
		p.cur.Not, err = numbers(rest)
	default:
		err = fmt.Errorf("read %.40q: expected one of #, @, +, >, =, !, %s or %s", line, Wazuh, OSSEC)
	}
	return err
}

// event reads what may stand before ">": a number of times, "win" for a Windows
// event, or both, "8win".
func event(before string) (SampleEvent, bool) {
	count, channel := strings.CutSuffix(strings.TrimSpace(before), "win")
	if count == "" {
		return SampleEvent{Times: 1, Channel: channel}, true
	}
	n, err := strconv.Atoi(count)
	return SampleEvent{Times: n, Channel: channel}, err == nil && n > 0 && n <= 10000
}

func (p *parser) end() error {
	c := p.cur
	p.cur, p.after, p.location = Case{}, 0, ""
	switch {
	case len(c.Events) == 0 && !c.Want.Set && c.Not == nil:
		return nil
	case len(c.Events) == 0:
		return fmt.Errorf("the case has no event: expected a line that begins with >")
	case !c.Want.Set && c.Not == nil:
		return fmt.Errorf("the case expects nothing: expected a line that begins with = or !")
	}
	c.File = p.file
	p.cases = append(p.cases, c)
	return nil
}

// want reads "RULE LEVEL DECODER FIELD=VALUE…"; level and what follows may be
// left out.
func want(s string) (Want, error) {
	w := Want{Set: true, Level: -1}
	word, s, _ := strings.Cut(s, " ")
	var err error
	if word != "-" {
		if w.Rule, err = strconv.Atoi(word); err != nil {
			return w, fmt.Errorf("rule %q: expected a number or -", word)
		}
	}
	if word, s, _ = strings.Cut(strings.TrimSpace(s), " "); word != "" {
		if w.Level, err = strconv.Atoi(word); err != nil {
			return w, fmt.Errorf("level %q: expected a number", word)
		}
	}
	w.Decoder, s, _ = strings.Cut(strings.TrimSpace(s), " ")
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		name, rest, ok := strings.Cut(s, "=")
		if !ok {
			return w, fmt.Errorf("field %q: expected NAME=VALUE", s)
		}
		value := ""
		if strings.HasPrefix(rest, `"`) {
			q, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return w, fmt.Errorf("field %s: the quoted value has no end", name)
			}
			if value, err = strconv.Unquote(q); err != nil {
				return w, fmt.Errorf("field %s: %w", name, err)
			}
			s = rest[len(q):]
		} else {
			value, s, _ = strings.Cut(rest, " ")
		}
		w.Fields = append(w.Fields, Field{Name: name, Value: value})
	}
	return w, nil
}

func numbers(s string) ([]int, error) {
	var out []int
	for word := range strings.FieldsSeq(s) {
		n, err := strconv.Atoi(word)
		if err != nil {
			return nil, fmt.Errorf("rule %q: expected a number", word)
		}
		out = append(out, n)
	}
	if out == nil {
		return nil, fmt.Errorf("expected the numbers of rules")
	}
	return out, nil
}
