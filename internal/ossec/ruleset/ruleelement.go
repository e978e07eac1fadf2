package ruleset

import (
	"strconv"
	"strings"

	"riposte/internal/ossec/pattern"
	"riposte/internal/ossec/xml"
)

const maxPiece = 2048 // bytes of one element's text, exclusive

// ruleWords are the elements of a rule that hold no expression, for
// suggestions.
var ruleWords = []string{
	"decoded_as", "category", "field", "srcip", "dstip", "if_sid", "if_group", "if_level", "if_matched_sid",
	"if_matched_group", "if_matched_regex", "time", "weekday", "compiled_rule", "list", "if_fts", "check_diff",
	"ignore", "check_if_ignored", "group", "description", "info", "cve", "options", "mitre", "global_frequency",
	"same_field", "not_same_field", "different_field", "match", "regex", "user", "url", "id", "status", "hostname",
	"program_name", "action", "extra_data", "same_source_ip", "same_id", "same_user", "different_url",
}

// element reads one child of a rule.
func (r *ruleReader) element(c *xml.Node) {
	d := r.draft
	if len(c.Text) >= maxPiece {
		r.fail(c.Pos, "too-long", "", "the text of <%s> has %d bytes, it must have fewer than %d", c.Name, len(c.Text), maxPiece)
		return
	}
	name := strings.ToLower(c.Name)
	if e, pcre, ok := r.loader.element(name); ok {
		r.expression(e, pcre, name, c)
		return
	}
	if r.contextElement(c, name) {
		return
	}
	switch name {
	case "decoded_as":
		d.decodedAs = c
		if !r.names[c.Text] {
			r.fail(c.At(0), "unknown-decoder", didYouMean(c.Text, sorted(r.names)), "no decoder has the name %q", c.Text)
		}
	case "category":
		k, ok := categoryNames[c.Text]
		if !ok {
			r.fail(c.At(0), "unknown-category", didYouMean(c.Text, sorted(categoryNames)), "%q is no category", c.Text)
			return
		}
		d.category = k
	case "field":
		r.field(c)
		return
	case "srcip", "dstip":
		r.address(c, name)
		return
	case "if_sid":
		d.ifSID.add(c)
	case "if_group":
		d.ifGroup.add(c)
	case "if_level":
		d.ifLevel.add(c)
		if _, err := strconv.Atoi(strings.TrimSpace(c.Text)); err != nil {
			r.fail(c.At(0), "bad-number", "", "if_level is %q, a number is expected", c.Text)
		}
	case "if_matched_sid":
		d.matchedSID.add(c)
		d.search, d.searches = BySID, true
		if _, err := strconv.Atoi(strings.TrimSpace(c.Text)); err != nil {
			r.unlike(c.At(0), "bad-number", "give one rule id", "if_matched_sid is %q, one number is expected", c.Text)
			r.dropped = true
		}
	case "if_matched_group":
		d.matchedGroup.add(c)
		if d.matchedSID.pieces == nil {
			d.search = ByGroup
		}
		d.searches = true
	case "if_matched_regex":
		d.matchedRegex.add(c)
		if d.matchedSID.pieces == nil && d.matchedGroup.pieces == nil {
			d.search = ByAny
		}
		d.searches = true
	case "time":
		h, err := parseHours(c.Text)
		if err != nil {
			r.fail(c.At(0), "bad-time", "", "%v", err)
		}
		d.hours = c
		d.kind[Hour] = Condition{Kind: Hour, Hours: h, Name: "time", Text: c.Text, Pos: c.Pos}
	case "weekday":
		w, err := parseWeekdays(c.Text)
		if err != nil {
			r.fail(c.At(0), "bad-weekday", "", "%v", err)
		}
		d.days = c
		d.kind[Weekday] = Condition{Kind: Weekday, Days: w, Name: "weekday", Text: c.Text, Pos: c.Pos}
	case "compiled_rule":
		k, ok := compiledNames[c.Text]
		if !ok {
			r.fail(c.At(0), "unknown-compiled-rule", didYouMean(c.Text, sorted(compiledNames)), "%q is no compiled rule", c.Text)
			return
		}
		d.compiled = c
		d.kind[CompiledRule] = Condition{Kind: CompiledRule, Compiled: k, Name: "compiled_rule", Text: c.Text, Pos: c.Pos}
	case "list":
		r.list(c)
		return
	case "if_fts":
		d.fts = c
		d.kind[FTS] = Condition{Kind: FTS, Name: "if_fts", Pos: c.Pos}
	case "check_diff":
		d.diff = c
		d.kind[Diff] = Condition{Kind: Diff, Name: "check_diff", Pos: c.Pos}
	case "ignore":
		d.ignoreKeys = r.ignoreKey(c)
	case "check_if_ignored":
		d.ignoreCheck = r.ignoreKey(c)
	case "group":
		t := c.Text
		if r.wazuh() {
			t = strings.ReplaceAll(t, "\n", "")
		}
		d.groups += t
	case "description":
		piece := *c
		piece.Text = strings.Replace(c.Text, "\n", " ", 1)
		d.description.add(&piece)
	case "info":
		r.info(c)
		return
	case "cve":
		d.info = append(d.info, Info{Kind: "cve", Text: c.Text})
	case "options":
		r.option(c)
	case "mitre":
		if !r.wazuh() {
			r.unknown(c)
			return
		}
		r.mitre(c)
		return
	default:
		r.unknown(c)
		return
	}
	r.plain(c)
}

func (r *ruleReader) unknown(c *xml.Node) {
	hint := didYouMean(c.Name, ruleWords)
	if hint == "" {
		hint = "remove it: " + r.d.String() + " does not know it"
	}
	r.fail(c.Pos, "unknown-element", hint, "rule %d has the unknown element <%s>", r.draft.id, c.Name)
}

// plain refuses attributes and children where none have a meaning.
func (r *ruleReader) plain(c *xml.Node) {
	for i := range c.Attrs {
		r.unknownAttribute(&c.Attrs[i], c.Name)
	}
	if len(c.Children) > 0 {
		r.fail(c.Children[0].Pos, "unknown-element", "", "<%s> has elements in it, a text is expected", c.Name)
	}
}

// expression takes one piece of an expression.
func (r *ruleReader) expression(e *textElement, pcre bool, name string, c *xml.Node) {
	x := r.draft.exprs[name]
	if x == nil {
		x = &expr{syntax: e.syntax}
		if pcre {
			x.syntax = pattern.PCRE2
		}
		r.draft.exprs[name] = x
	}
	r.typed(c, x, e.syntax)
	x.add(c)
}

// typed reads the attributes of an expression: Wazuh has type and negate.
func (r *ruleReader) typed(c *xml.Node, x *expr, byDefault pattern.Syntax) {
	for i := range c.Attrs {
		a := &c.Attrs[i]
		switch low := strings.ToLower(a.Name); {
		case low == "name" && strings.EqualFold(c.Name, "field"):
		case low == "type" && r.wazuh():
			switch strings.ToLower(a.Value) {
			case "osmatch":
				x.syntax = pattern.OSMatch
			case "osregex":
				x.syntax = pattern.OSRegex
			case "pcre2":
				x.syntax = pattern.PCRE2
			case "string":
				if byDefault == pattern.Exact {
					x.syntax = pattern.Exact
					break
				}
				fallthrough
			default:
				x.syntax = byDefault
				r.warn(a.At(0), "bad-type", "write osmatch, osregex or pcre2", "%q is no expression type; %s is taken", a.Value, byDefault)
			}
		case low == "negate" && r.wazuh():
			x.negate = strings.EqualFold(a.Value, "yes")
			if !x.negate && !strings.EqualFold(a.Value, "no") {
				r.warn(a.At(0), "bad-value", "write yes or no", "negate=%q means no", a.Value)
			}
		default:
			r.unknownAttribute(a, c.Name)
		}
	}
	if len(c.Children) > 0 {
		r.fail(c.Children[0].Pos, "unknown-element", "", "<%s> has elements in it, an expression is expected", c.Name)
	}
}

// staticFields are the names that Wazuh refuses as dynamic fields.
var staticFields = map[string]bool{
	"srcip": true, "dstip": true, "srcgeoip": true, "dstgeoip": true, "srcport": true, "dstport": true, "user": true,
	"srcuser": true, "dstuser": true, "url": true, "id": true, "data": true, "extra_data": true, "status": true,
	"protocol": true, "system_name": true, "action": true,
}

func (r *ruleReader) field(c *xml.Node) {
	if len(c.Attrs) == 0 || !strings.EqualFold(c.Attrs[0].Name, "name") && !r.wazuh() {
		r.fail(c.Pos, "no-name", `write <field name="…">`, "rule %d has a field without a name", r.draft.id)
		return
	}
	name := ""
	for i := range c.Attrs {
		if strings.EqualFold(c.Attrs[i].Name, "name") {
			name = c.Attrs[i].Value
			if r.wazuh() && staticFields[name] {
				r.fail(c.Attrs[i].At(0), "static-field", "write <"+name+"> instead", "%q is a static field", name)
				return
			}
		}
	}
	if name == "" {
		r.fail(c.Pos, "no-name", `write <field name="…">`, "rule %d has a field without a name", r.draft.id)
		return
	}
	f := fieldExpr{expr: expr{syntax: pattern.OSRegex}, name: name, field: r.loader.field(name), pos: c.Pos}
	r.typed(c, &f.expr, pattern.OSRegex)
	f.add(c)
	r.draft.fields = append(r.draft.fields, f)
}

func (r *ruleReader) address(c *xml.Node, name string) {
	list := &r.draft.src
	if name == "dstip" {
		list = &r.draft.dst
	}
	if *list == nil {
		*list = &addressExpr{pos: c.Pos}
	}
	x := expr{syntax: pattern.OSMatch}
	r.typed(c, &x, pattern.OSMatch)
	(*list).negate = x.negate
	words := strings.FieldsFunc(c.Text, func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' })
	if len(words) != 1 {
		r.fail(c.At(0), "bad-address", "give one address or network in each element", "%q is no address or network", c.Text)
		return
	}
	if err := (*list).list.add(words[0], r.d); err != nil {
		r.fail(c.At(strings.Index(c.Text, words[0])), "bad-address", "", "%v", err)
	}
	if (*list).words != "" {
		(*list).words += ", "
	}
	(*list).words += words[0]
}
