package conf

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"riposte/internal/ossec"
	"riposte/internal/ossec/pattern"
)

// RuleID is one id of <rules_id>.
type RuleID struct {
	ID  int
	Pos ossec.Pos
	Len int
}

// Group is one alternative of <rules_group>.
type Group struct {
	Text    string
	Word    bool // a plain name, not an expression
	Pos     ossec.Pos
	Len     int // bytes in the file; 0 when the text does not stand there in one piece
	pattern *pattern.Pattern
}

// NewGroup returns the alternative that text is, as it would stand in a
// <rules_group> of the dialect. The error is the pattern's.
func NewGroup(text string, d ossec.Dialect) (Group, error) {
	p, err := pattern.Compile(pattern.OSRegex, d, text, false)
	if err != nil {
		return Group{}, err
	}
	return Group{Text: text, Word: word(text), pattern: p}, nil
}

// Match reports whether the group text of a rule, such as
// "syslog,sshd,authentication_failed,", satisfies the alternative: without
// case, anywhere in it.
func (g *Group) Match(groups string) bool { return g.pattern.Match(groups) }

// Bounds of the selectors.
const (
	maxRuleID  = 99_999_999
	maxLevel   = 16 // of rules
	levelRange = 20 // that the real systems take in <level>
	maxIDs     = 10_000
	maxTimeout = 10 * 365 * 24 * time.Hour
	maxLadder  = 1000
)

// selectors reads <level>, <rules_id> and <rules_group>.
func (r *reader) selectors(f fields, p *Response) {
	if v, ok := f.one("level"); ok {
		p.Level = r.responseLevel(v)
	}
	if v, ok := f.one("rules_id"); ok {
		p.IDs = r.ids(v)
	}
	if v, ok := f.one("rules_group"); ok {
		p.Groups = r.groups(v)
	}
	if !f.selects() {
		r.add(ossec.Finding{Severity: ossec.Warning, Pos: f.node.Pos, Len: 1 + len(f.node.Name), Code: "no-selector",
			Message: "this response is bound to no rule: it never fires and can only be run by hand",
			Hint:    "add <level>, <rules_id> or <rules_group>"})
	}
}

func (r *reader) responseLevel(v value) int {
	if v.text == "" {
		r.report(v, ossec.Warning, "empty-selector", "remove it", "<level> is empty, which is as if it were not there")
		return 0
	}
	n, ok := r.number(v, 0, levelRange, "a level")
	switch {
	case ok && n == 0:
		r.report(v, ossec.Warning, "empty-selector", "write 1 for every alert", "<level> 0 is as if it were not there, in OSSEC and Wazuh too")
	case ok && n > maxLevel:
		r.report(v, ossec.Warning, "never-fires", fmt.Sprintf("write %d or less", maxLevel), "no rule has a level of %d or more: levels end at %d", n, maxLevel)
	}
	return n
}

// ids reads a list of rule ids. The real systems stop reading, silently, at the
// first thing they do not expect.
func (r *reader) ids(v value) []RuleID {
	if v.text == "" {
		r.report(v, ossec.Warning, "empty-selector", "remove it", "<rules_id> is empty, which is as if it were not there")
		return nil
	}
	if mended, ok := numberList(v.text); ok {
		r.replace(v, ossec.Error, "bad-list", mended, "<rules_id> is %q, the ids must be separated by commas; OSSEC and Wazuh read only some of them", v.text)
		return nil
	}
	var out []RuleID
	for _, w := range v.split(",") {
		if w.text == "" && len(out) > 0 && w.from+len(w.text) >= v.from+len(v.text) {
			break // a comma at the end
		}
		n, err := strconv.Atoi(w.text)
		if !digits(w.text) || err != nil || n > maxRuleID || len(out) == maxIDs {
			r.badID(v, w)
			return nil
		}
		out = append(out, RuleID{ID: n, Pos: w.pos(0), Len: len(w.text)})
	}
	return out
}

func (r *reader) badID(v, w value) {
	if w.text == "" {
		r.report(v, ossec.Error, "bad-list", "remove a comma", "<rules_id> %q has a comma with nothing before it", v.text)
		return
	}
	f := w.finding(ossec.Error, "bad-list", "write rule ids separated by commas", "<rules_id> holds %q, which is not a rule id; OSSEC and Wazuh stop reading there", w.text)
	if low, high, ok := strings.Cut(w.text, "-"); ok && digits(strings.TrimSpace(low)) && digits(strings.TrimSpace(high)) {
		f.Message = fmt.Sprintf("<rules_id> holds the range %q; OSSEC and Wazuh read only %s", w.text, low)
		f.Hint = "write out each id"
	}
	r.add(f)
}

// numberList returns a list of numbers that is separated by something else than
// commas with commas.
func numberList(s string) (string, bool) {
	parts := strings.FieldsFunc(s, func(c rune) bool { return strings.ContainsRune(",;| \t\r\n", c) })
	for _, p := range parts {
		if !digits(p) {
			return "", false
		}
	}
	comma := strings.FieldsFunc(s, func(c rune) bool { return c == ',' })
	return strings.Join(parts, ","), len(parts) > len(comma)
}

// groups reads <rules_group>. '|' separates alternatives; so does a comma
// between plain names, which the real systems take literally.
func (r *reader) groups(v value) []Group {
	if v.text == "" {
		r.report(v, ossec.Warning, "empty-selector", "remove it, or write <level>1</level> for every alert",
			"<rules_group> is empty, which is as if it were not there; Wazuh would take every rule, OSSEC none")
		return nil
	}
	parts := v.split("|,")
	if plainNames(parts) {
		r.commas(v)
	} else {
		parts = v.split("|")
		if i := strings.IndexByte(v.text, ','); i >= 0 {
			r.add(ossec.Finding{Severity: ossec.Note, Pos: v.pos(i), Len: 1, Code: "comma-literal",
				Message: "the comma is part of the expression here, as in OSSEC and Wazuh, because not all of <rules_group> is plain names",
				Hint:    `use "|" between alternatives`})
		}
	}
	var out []Group
	for _, w := range parts {
		if w.text == "" {
			continue
		}
		p := r.compile(pattern.OSRegex, w)
		if p == nil {
			return nil
		}
		g := Group{Text: w.text, Word: word(w.text), Pos: w.pos(0), pattern: p}
		if e := w.edit(0, len(w.text), ""); e != nil {
			g.Len = e.Len
		}
		out = append(out, g)
	}
	if len(out) == 0 {
		r.report(v, ossec.Error, "bad-value", "write the names of groups", "<rules_group> %q names no group", v.text)
	}
	return out
}

// badPattern reports an expression that does not compile.
func (r *reader) badPattern(v value, err error) {
	f := v.finding(ossec.Error, "bad-pattern", "", "<%s> holds an expression that cannot be read: %v", v.node.Name, err)
	var e *pattern.Error
	if errors.As(err, &e) {
		f.Pos, f.Len = v.pos(min(e.Offset, len(v.text))), 1
		f.Message = fmt.Sprintf("<%s> holds an expression that cannot be read: %s", v.node.Name, e.Message)
	}
	r.add(f)
}

// commas notes that commas between names, or spaces around separators, make
// riposte read the text otherwise than the real systems.
func (r *reader) commas(v value) {
	mended := strings.Join(strings.FieldsFunc(v.text, func(c rune) bool { return strings.ContainsRune(",| \t\r\n", c) }), "|")
	trimmed := strings.Trim(v.text, ",| \t\r\n")
	i := strings.IndexAny(trimmed, ", \t\r\n")
	if i < 0 {
		return
	}
	i += strings.Index(v.text, trimmed)
	what := "comma"
	if v.text[i] != ',' {
		what = "space"
	}
	f := ossec.Finding{Severity: ossec.Note, Pos: v.pos(i), Len: 1, Code: "comma-alternative",
		Message: fmt.Sprintf("riposte reads this as %s; OSSEC and Wazuh take the %s literally, so there the block would hardly ever fire", orList(strings.Split(mended, "|")), what),
		Hint:    "write " + mended}
	f.Fix = v.edit(0, len(v.text), mended)
	r.add(f)
}

// orList writes alternatives in words.
func orList(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// plainNames reports whether every part is a plain name or empty.
func plainNames(parts []value) bool {
	for _, p := range parts {
		if p.text != "" && !word(p.text) {
			return false
		}
	}
	return true
}

// word reports whether s means itself in OS_Regex and could be a group's name.
func word(s string) bool { return !strings.ContainsAny(s, `\^$()*+ `+"\t\r\n") }

// timeout reads a number of seconds. The real systems read the digits at the
// start of whatever stands there.
func (r *reader) timeout(v value) time.Duration {
	switch {
	case v.text == "":
		r.report(v, ossec.Warning, "empty-timeout", "remove it", "<timeout> is empty: the response is never undone")
		return 0
	case digits(v.text):
		n, err := strconv.Atoi(v.text)
		if err != nil || n > int(maxTimeout/time.Second) {
			r.report(v, ossec.Error, "bad-timeout", "remove <timeout> for a response that is never undone", "<timeout> %s is longer than ten years", v.text)
			return 0
		}
		return time.Duration(n) * time.Second
	}
	if d, err := time.ParseDuration(strings.ReplaceAll(v.text, " ", "")); err == nil && d > 0 && d%time.Second == 0 && d <= maxTimeout {
		r.replace(v, ossec.Error, "bad-timeout", strconv.Itoa(int(d/time.Second)),
			"<timeout> is %q, it must be a number of seconds; OSSEC and Wazuh read only the digits at its start", v.text)
		return d
	}
	r.report(v, ossec.Error, "bad-timeout", "write a number of seconds, such as 600",
		"<timeout> is %q, it must be a number of seconds; OSSEC and Wazuh read only the digits at its start, or 0, which never ends", v.text)
	return 0
}

// offenders reads the ladder of <repeated_offenders>: minutes.
func (r *reader) offenders(v value) []time.Duration {
	const hint = "write minutes separated by commas, such as 30,60,120"
	if v.text == "" {
		r.report(v, ossec.Warning, "empty-ladder", "remove it", "<repeated_offenders> is empty")
		return nil
	}
	if mended, ok := numberList(v.text); ok {
		r.replace(v, ossec.Error, "bad-ladder", mended, "<repeated_offenders> is %q, the minutes must be separated by commas", v.text)
		return nil
	}
	parts := v.split(",")
	var out []time.Duration
	for _, w := range parts {
		n, err := strconv.Atoi(w.text)
		switch {
		case w.text == "":
			r.report(v, ossec.Error, "bad-ladder", "remove a comma", "<repeated_offenders> %q has a comma too many", v.text)
			return nil
		case !digits(w.text) || err != nil || n > int(min(maxTimeout/time.Minute, math.MaxInt32)):
			r.report(w, ossec.Error, "bad-ladder", hint, "<repeated_offenders> holds %q, which is not a number of minutes", w.text)
			return nil
		case n == 0:
			r.report(w, ossec.Error, "bad-ladder", hint, "<repeated_offenders> holds 0; OSSEC and Wazuh stop reading there")
			return nil
		case len(out) == maxLadder:
			r.report(w, ossec.Error, "bad-ladder", "", "<repeated_offenders> has more than %d steps", maxLadder)
			return nil
		}
		out = append(out, time.Duration(n)*time.Minute)
	}
	if len(out) > 5 {
		r.report(parts[5], ossec.Note, "long-ladder", "", "OSSEC and Wazuh read only the first five steps; riposte reads all %d", len(out))
	}
	return out
}
