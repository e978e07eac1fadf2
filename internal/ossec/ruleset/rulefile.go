package ruleset

import (
	"strings"

	"riposte/internal/ossec"
	"riposte/internal/ossec/pattern"
	"riposte/internal/ossec/xml"
)

// ruleFile reads one rule file.
func (l *loader) ruleFile(src Source) {
	for _, g := range l.read(src) {
		if !strings.EqualFold(g.Name, "group") {
			l.fail(g.Pos, "unknown-element", "a rule file holds <group name=\"…\"> elements", "<%s> stands where a group of rules is expected", g.Name)
			continue
		}
		if len(g.Attrs) != 1 || !strings.EqualFold(g.Attrs[0].Name, "name") {
			l.fail(g.Pos, "no-name", `write <group name="…">`, "a group of rules has its name as only attribute")
			continue
		}
		l.groupText = g.Attrs[0].Value
		for _, n := range g.Children {
			if !strings.EqualFold(n.Name, "rule") {
				l.fail(n.Pos, "unknown-element", "a group holds <rule> elements", "<%s> stands where a rule is expected", n.Name)
				continue
			}
			if len(l.order) >= maxRules {
				l.fail(n.Pos, "too-many", "", "more than %d rules", maxRules)
				return
			}
			l.ruleElement(n)
		}
	}
}

// ruleElement reads one rule and puts it into the tree.
func (l *loader) ruleElement(n *xml.Node) {
	r := &ruleReader{loader: l, node: n, draft: &draft{rule: &Rule{}}}
	before := len(l.findings)
	ok := r.read()
	if ossec.Failed(l.findings[before:]) || !ok {
		l.broken[r.draft.id] = ossec.Failed(l.findings[before:])
		return
	}
	l.enter(r.draft)
}

// ruleReader reads one rule.
type ruleReader struct {
	*loader
	node    *xml.Node
	draft   *draft
	dropped bool  // Wazuh goes on without the rule
	log     *bool // what the options say, nil: nothing
	mail    *bool
}

// read returns false when the rule is to be dropped, which has been reported.
func (r *ruleReader) read() bool {
	d := r.draft
	d.exprs = map[string]*expr{}
	d.kind = map[Kind]Condition{}
	d.pos = r.node.Pos
	d.groups = r.groupText
	d.category = Syslog
	if !r.attributes() {
		return false
	}
	if len(r.node.Children) == 0 {
		r.fail(r.node.Pos, "empty-rule", "", "rule %d has no elements", d.id)
		return false
	}
	for _, c := range r.node.Children {
		r.element(c)
	}
	d.groupsID = r.groupID(d.groups)
	r.mitreForms()
	if d.description.pieces == nil && r.wazuh() {
		r.fail(r.node.Pos, "no-description", "add a <description>", "rule %d has no description", d.id)
	}
	level := d.level
	d.log = level >= r.opt.LogLevel
	d.mail = level >= r.opt.MailLevel
	if r.log != nil {
		d.log = *r.log
	}
	if r.mail != nil {
		d.mail = *r.mail
	}
	r.checkContext()
	r.loadLevel()
	// Compiled now so that what is wrong with an expression is found where it
	// stands; finish asks again and gets the same patterns.
	r.conditions(d)
	if d.matchedRegex.pieces != nil {
		r.compile(pattern.OSRegex, false, &d.matchedRegex.text)
	}
	return !r.dropped
}

// loadLevel sets the level by which siblings are ordered: level 0 comes before
// all others, rules without accuracy after them.
func (r *ruleReader) loadLevel() {
	d := r.draft
	d.load = d.level
	if d.load == 0 {
		d.load = 99
	}
	if d.accurate {
		d.load *= 100
	}
}

// checkContext refuses counting without anything to count.
func (r *ruleReader) checkContext() {
	d := r.draft
	counts := d.frequency > 0 || d.written > 0 && !r.wazuh()
	if !counts && d.context == nil || d.searches || d.diff != nil {
		return
	}
	pos, what := r.node.Pos, "frequency"
	if d.context != nil {
		pos, what = d.context.Pos, "<"+d.context.Name+">"
	}
	r.fail(pos, "context-without-match", "add if_matched_sid, if_matched_group or if_matched_regex",
		"rule %d has %s and does not say which events it is about", d.id, what)
}

// attributes reads the attributes of <rule>.
func (r *ruleReader) attributes() bool {
	d := r.draft
	d.id, d.level, d.accurate, d.timeframe = -1, -1, true, r.opt.Timeframe
	for i := range r.node.Attrs {
		a := &r.node.Attrs[i]
		switch strings.ToLower(a.Name) {
		case "id":
			if r.wazuh() && len(a.Value) > 6 {
				r.fail(a.At(0), "bad-number", "", "the rule id %q has more than 6 digits", a.Value)
				return false
			}
			d.id = r.digits(a, 6)
			r.draft.rule.Pos = r.node.Pos
		case "level":
			d.level = r.digits(a, 4)
			if d.level > 16 {
				r.fail(a.At(0), "bad-number", "levels go from 0 to 16", "the level %q is too high", a.Value)
			}
		case "maxsize":
			d.size, d.sizePos = r.digits(a, 4), a.At(0)
		case "timeframe":
			d.timeframe = r.digits(a, 5)
		case "frequency":
			d.written = r.digits(a, 4)
			d.frequency = d.written
			if r.wazuh() {
				if d.written < 2 || len(a.Value) > 4 {
					r.fail(a.At(0), "bad-number", "", "the frequency %q is not between 2 and 9999", a.Value)
				}
				d.frequency = max(0, d.written-2)
			}
		case "accuracy":
			d.accurate = r.digits(a, 4) != 0
		case "ignore":
			d.ignore = r.digits(a, 6)
		case "noalert":
			d.noAlert = true
			if r.wazuh() && a.Value != "1" {
				d.noAlert = false
				if a.Value != "0" {
					r.warn(a.At(0), "bad-value", "write 1 or 0", "noalert=%q means nothing", a.Value)
				}
			}
		case "overwrite":
			switch {
			case strings.EqualFold(a.Value, "yes"):
				d.overwrite, d.overwritePos = true, a.Pos
			case !strings.EqualFold(a.Value, "no"):
				r.fail(a.At(0), "bad-value", "write yes or no", "overwrite=%q means nothing", a.Value)
			}
		default:
			r.fail(a.Pos, "unknown-attribute", didYouMean(a.Name, []string{"id", "level", "maxsize", "timeframe", "frequency", "accuracy", "ignore", "noalert", "overwrite"}),
				"a rule has no attribute %q", a.Name)
		}
	}
	switch {
	case d.id < 0:
		r.fail(r.node.Pos, "no-id", `write <rule id="…" level="…">`, "a rule without an id")
		return false
	case d.level < 0:
		r.fail(r.node.Pos, "no-level", `write <rule id="…" level="…">`, "rule %d has no level", d.id)
		return false
	}
	return true
}

// digits reads the first n digits of an attribute, -1 when it is no number.
func (r *ruleReader) digits(a *xml.Attr, n int) int {
	v := 0
	for i := 0; i < len(a.Value); i++ {
		c := a.Value[i]
		if c < '0' || c > '9' {
			r.fail(a.At(i), "bad-number", "", "%s=%q is no number", a.Name, a.Value)
			return -1
		}
		if i < n {
			v = v*10 + int(c-'0')
		}
	}
	if a.Value == "" {
		r.fail(a.At(0), "bad-number", "", "%s is empty", a.Name)
		return -1
	}
	return v
}
