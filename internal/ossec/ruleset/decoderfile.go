package ruleset

import (
	"strings"

	"riposte/internal/ossec"
	"riposte/internal/ossec/pattern"
	"riposte/internal/ossec/xml"
)

// decoderDraft is a decoder while its element is read.
type decoderDraft struct {
	dec     *Decoder
	node    *xml.Node
	exprs   map[string]*expr // by element name
	order   *xml.Node
	fts     *xml.Node
	parent  text
	comment text
}

// expr is an expression whose pieces may stand in several elements.
type expr struct {
	text
	syntax pattern.Syntax
	offset Offset
	negate bool
}

// decoderFile reads one decoder file.
func (l *loader) decoderFile(src Source) {
	for _, n := range l.read(src) {
		if !strings.EqualFold(n.Name, "decoder") {
			l.fail(n.Pos, "unknown-element", "a decoder file holds <decoder name=\"…\"> elements", "<%s> stands where a decoder is expected", n.Name)
			continue
		}
		if len(l.set.Decoders) >= maxDecoders {
			l.fail(n.Pos, "too-many", "", "more than %d decoders", maxDecoders)
			return
		}
		if d := l.readDecoder(n); d != nil {
			l.addDecoder(d)
		}
	}
}

func (l *loader) readDecoder(n *xml.Node) *decoderDraft {
	d := &decoderDraft{dec: &Decoder{Pos: n.Pos, Type: Syslog}, node: n, exprs: map[string]*expr{}}
	if len(n.Attrs) == 0 || !strings.EqualFold(n.Attrs[0].Name, "name") {
		l.fail(n.Pos, "no-name", `write <decoder name="…">`, "the first attribute of a decoder must be its name")
		return nil
	}
	d.dec.Given = n.Attrs[0].Value
	for i := range n.Attrs[1:] {
		if a := &n.Attrs[i+1]; !strings.EqualFold(a.Name, "status") {
			l.fail(a.Pos, "unknown-attribute", "a decoder has a name, nothing else", "the decoder %q has the unknown attribute %q", d.dec.Given, a.Name)
		}
	}
	before := len(l.findings)
	for _, c := range n.Children {
		l.decoderElement(d, c)
	}
	l.decoderExpressions(d)
	l.checkDecoder(d)
	if ossec.Failed(l.findings[before:]) {
		// The name stays known so that one mistake is one finding.
		l.names[d.dec.Given] = true
		if d.dec.Parent == "" {
			l.roots[d.dec.Given] = append(l.roots[d.dec.Given], d.dec)
		}
		return nil
	}
	return d
}

var decoderElements = []string{
	"parent", "program_name", "prematch", "regex", "order", "fts", "ftscomment", "type", "use_own_name",
	"plugin_decoder", "accumulate", "json_null_field", "json_array_structure",
	"program_name_pcre2", "prematch_pcre2", "pcre2",
}

func (l *loader) decoderElement(d *decoderDraft, c *xml.Node) {
	name := strings.ToLower(c.Name)
	if c.Name != "type" && name == "type" {
		name = "Type" // the one element whose case counts
	}
	switch name {
	case "program_name", "prematch", "regex":
		l.decoderExpr(d, c, name, true)
	case "program_name_pcre2", "prematch_pcre2", "pcre2":
		if l.wazuh() {
			l.unknownDecoderElement(d, c)
			return
		}
		l.decoderExpr(d, c, name, false)
	case "parent":
		d.parent.add(c)
		d.dec.Parent = d.parent.value
	case "order":
		d.order = c
	case "fts":
		d.fts = c
	case "ftscomment":
		d.comment.add(c)
		d.dec.FTSComment = d.comment.value
	case "type":
		t, ok := categoryNames[c.Text]
		if !ok {
			l.fail(c.At(0), "unknown-type", didYouMean(c.Text, sorted(categoryNames)), "%q is no type of a decoder", c.Text)
			return
		}
		d.dec.Type = t
	case "use_own_name":
		d.dec.OwnName = c.Text == "true"
	case "plugin_decoder":
		p, ok := pluginNames[c.Text]
		if !ok || p == JSON && !l.wazuh() {
			l.fail(c.At(0), "unknown-plugin", didYouMean(c.Text, sorted(pluginNames)), "%q is no plug-in decoder", c.Text)
			return
		}
		d.dec.Plugin = p
		for i := range c.Attrs {
			if a := &c.Attrs[i]; l.wazuh() && strings.EqualFold(a.Name, "offset") {
				d.dec.PluginOffset = l.offset(a)
			} else {
				l.unknownAttribute(a, "plugin_decoder")
			}
		}
	case "accumulate":
		d.dec.Accumulate = true
	case "json_null_field", "json_array_structure":
		if !l.wazuh() {
			l.unknownDecoderElement(d, c)
			return
		}
		l.jsonOption(d, c, name)
	default:
		l.unknownDecoderElement(d, c)
	}
}

func (l *loader) unknownDecoderElement(d *decoderDraft, c *xml.Node) {
	l.fail(c.Pos, "unknown-element", didYouMean(c.Name, decoderElements), "the decoder %q has the element <%s>, which %s does not know", d.dec.Given, c.Name, l.d)
}

func (l *loader) unknownAttribute(a *xml.Attr, element string) {
	l.fail(a.Pos, "unknown-attribute", "", "<%s> has the unknown attribute %q", element, a.Name)
}

func (l *loader) jsonOption(d *decoderDraft, c *xml.Node, name string) {
	switch {
	case name == "json_null_field" && c.Text == "discard":
		d.dec.NullDiscard = true
	case name == "json_array_structure" && c.Text == "csv":
		d.dec.CSV = true
	case c.Text == "string" || c.Text == "array":
	case name == "json_null_field" && c.Text == "empty":
		l.warn(c.At(0), "deprecated", "write string", "json_null_field=empty is deprecated and means string")
	default:
		l.warn(c.At(0), "bad-value", "", "%q is no value of %s; the default is taken", c.Text, name)
	}
}

func (l *loader) offset(a *xml.Attr) Offset {
	if o, ok := offsetNames[strings.ToLower(a.Value)]; ok {
		return o
	}
	l.unlike(a.At(0), "bad-offset", "write after_parent, after_prematch or after_regex", "%q is no offset", a.Value)
	return NoOffset
}

// decoderExpr takes one piece of an expression. typed elements have a type
// attribute in Wazuh.
func (l *loader) decoderExpr(d *decoderDraft, c *xml.Node, name string, typed bool) {
	e := d.exprs[name]
	first := e == nil
	if first {
		e = &expr{syntax: pattern.OSRegex}
		switch {
		case !typed:
			e.syntax = pattern.PCRE2
		case name == "program_name":
			e.syntax = pattern.OSMatch
		}
		d.exprs[name] = e
	}
	program := strings.HasPrefix(name, "program_name")
	for i := range c.Attrs {
		a := &c.Attrs[i]
		switch {
		case strings.EqualFold(a.Name, "offset") && !program:
			o := l.offset(a)
			if !first && o != NoOffset {
				l.fail(a.Pos, "late-offset", "give the offset in the first of them", "only the first <%s> of a decoder may have an offset", c.Name)
			} else {
				e.offset = o
			}
		case strings.EqualFold(a.Name, "type") && typed && l.wazuh():
			e.syntax = l.decoderSyntax(a, program)
		default:
			l.unknownAttribute(a, c.Name)
		}
	}
	e.add(c)
}

func (l *loader) decoderSyntax(a *xml.Attr, program bool) pattern.Syntax {
	switch strings.ToLower(a.Value) {
	case "pcre2":
		return pattern.PCRE2
	case "osregex":
		return pattern.OSRegex
	case "osmatch":
		if program {
			return pattern.OSMatch
		}
	}
	if program {
		l.warn(a.At(0), "bad-type", "write osmatch, osregex or pcre2", "%q is no expression type here; osmatch is taken", a.Value)
		return pattern.OSMatch
	}
	l.warn(a.At(0), "bad-type", "write osregex or pcre2", "%q is no expression type here; osregex is taken", a.Value)
	return pattern.OSRegex
}

// decoderExpressions compiles what was collected. Of two forms of one kind the
// plain one counts.
func (l *loader) decoderExpressions(d *decoderDraft) {
	choose := func(plain, pcre string) *expr {
		if e := d.exprs[plain]; e != nil {
			return e
		}
		return d.exprs[pcre]
	}
	limit := pick(l.wazuh(), 1023, 8192)
	tooLong := func(t *text, what string) bool {
		if len(t.value) <= limit {
			return false
		}
		l.fail(t.at(limit), "too-long", "", "the %s of the decoder %q is longer than %d bytes", what, d.dec.Given, limit)
		return true
	}
	tooLong(&d.parent, "parent")
	tooLong(&d.comment, "ftscomment")
	if e := choose("program_name", "program_name_pcre2"); e != nil && !tooLong(&e.text, "program_name") {
		d.dec.Program = l.compile(e.syntax, false, &e.text)
	}
	if e := choose("prematch", "prematch_pcre2"); e != nil && !tooLong(&e.text, "prematch") {
		d.dec.Prematch = l.compile(e.syntax, false, &e.text)
		d.dec.PrematchOffset = e.offset
	}
	if e := choose("regex", "pcre2"); e != nil && !tooLong(&e.text, "regex") {
		d.dec.Regex = l.compile(e.syntax, true, &e.text)
		d.dec.RegexText = e.text.value
		d.dec.RegexOffset = e.offset
	}
	if d.order != nil {
		d.dec.Order = l.orderList(d.order.Text)
		if len(d.dec.Order) > l.opt.Order {
			l.fail(d.order.Pos, "too-many", "", "the decoder %q has more than %d fields", d.dec.Given, l.opt.Order)
		}
	}
	if d.fts != nil {
		key, err := l.ftsKey(d.fts.Text, d.dec.Order)
		if err != nil {
			l.fail(d.fts.At(0), "bad-fts", "", "the fts of the decoder %q: %v", d.dec.Given, err)
		}
		d.dec.FTS = key
	}
}

// checkDecoder refuses what the real systems refuse.
func (l *loader) checkDecoder(d *decoderDraft) {
	dec := d.dec
	child := dec.Parent != ""
	prematch := d.exprs["prematch"] != nil || d.exprs["prematch_pcre2"] != nil
	program := d.exprs["program_name"] != nil || d.exprs["program_name_pcre2"] != nil
	regex := d.exprs["regex"] != nil || d.exprs["pcre2"] != nil
	bad := func(code, hint, format string, args ...any) {
		l.fail(d.node.Pos, code, hint, "the decoder %q "+format, append([]any{dec.Given}, args...)...)
	}
	if !child && !prematch && !program {
		bad("no-condition", "", "needs a parent, a prematch or a program_name")
	}
	if regex && d.order == nil {
		bad("no-order", "name the captures in <order>", "has a regex and no order")
	}
	if !regex && (d.order != nil || d.fts != nil) {
		bad("no-regex", "", "has an order or fts and no regex")
	}
	if dec.Plugin != NoPlugin && (regex || d.order != nil) {
		bad("plugin-and-regex", "", "has a plug-in and a regex or order")
	}
	if dec.PrematchOffset != NoOffset && (!child || dec.PrematchOffset != AfterParent) {
		bad("bad-offset", "a prematch offset is after_parent, and needs a parent", "has a prematch offset that cannot be")
	}
	switch dec.RegexOffset {
	case AfterParent:
		if !child {
			bad("bad-offset", "", "has the regex offset after_parent and no parent")
		}
	case AfterPrematch:
		if !child {
			dec.RegexOffset = AfterParent // the root's own prematch
		} else if !prematch {
			bad("bad-offset", "", "has the regex offset after_prematch and no prematch")
		}
	case AfterRegex:
		if !child || !regex {
			bad("bad-offset", "", "has the regex offset after_regex and no parent")
		}
	}
	switch {
	case dec.PluginOffset == AfterParent && !child:
		bad("bad-offset", "", "has the plug-in offset after_parent and no parent")
	case dec.PluginOffset == AfterPrematch && !prematch:
		bad("bad-offset", "", "has the plug-in offset after_prematch and no prematch")
	case dec.PluginOffset == AfterRegex:
		bad("bad-offset", "", "has the plug-in offset after_regex, which cannot be")
	}
}

// addDecoder puts a decoder into the tree.
func (l *loader) addDecoder(d *decoderDraft) {
	dec := d.dec
	l.names[dec.Given] = true
	dec.Name = dec.Given
	if dec.Parent == "" {
		l.roots[dec.Given] = append(l.roots[dec.Given], dec)
		if dec.Program != nil {
			l.set.Program = append(l.set.Program, dec)
		} else {
			l.set.Plain = append(l.set.Plain, dec)
		}
		l.keepDecoder(dec)
		return
	}
	parents := l.roots[dec.Parent]
	if len(parents) == 0 {
		hint := didYouMean(dec.Parent, sorted(l.roots))
		if l.names[dec.Parent] {
			hint = "a parent must be a root decoder: children have no children"
		}
		l.fail(d.parent.at(0), "unknown-parent", hint, "the decoder %q has the parent %q, and no root decoder of that name was read before", dec.Given, dec.Parent)
		return
	}
	for _, p := range parents {
		if !l.chain(d, p) {
			return
		}
		p.Children = append(p.Children, dec)
	}
	if !dec.OwnName {
		dec.Name = dec.Parent
	}
	l.keepDecoder(dec)
}

// chain links a child to its earlier siblings of the same name.
func (l *loader) chain(d *decoderDraft, parent *Decoder) bool {
	dec := d.dec
	var linked bool
	for _, s := range parent.Children {
		if s.Given != dec.Given {
			continue
		}
		linked = linked || s.Prematch != nil || s.Regex != nil
		if dec.Prematch != nil || dec.FTS != nil {
			l.fail(d.node.Pos, "bad-chain", "only the first decoder of a chain has a prematch or fts",
				"the decoder %q continues the one at %s and has a prematch or fts of its own", dec.Given, s.Pos)
			return false
		}
		plugin := l.wazuh() && s.Plugin != NoPlugin
		if s.Regex == nil && !plugin || dec.Regex == nil && (!l.wazuh() || dec.Plugin == NoPlugin) {
			l.fail(d.node.Pos, "bad-chain", "each decoder of a chain needs a regex",
				"the decoder %q continues the one at %s, and one of them has no regex", dec.Given, s.Pos)
			return false
		}
		s.Next = true
	}
	if dec.RegexOffset == AfterRegex && !linked {
		l.fail(d.node.Pos, "bad-offset", "after_regex continues an earlier decoder of the same name",
			"the decoder %q has the regex offset after_regex, and no earlier decoder of that name", dec.Given)
		return false
	}
	return true
}

func (l *loader) keepDecoder(dec *Decoder) {
	dec.Index = len(l.set.Decoders)
	l.set.Decoders = append(l.set.Decoders, dec)
}

// finishDecoders numbers the final names and adds the internal decoders.
func (l *loader) finishDecoders() {
	for _, dec := range l.set.Decoders {
		dec.ID = l.finalID(dec.Name)
	}
	for _, name := range internalDecoders[l.d] {
		l.names[name] = true
		id := l.finalID(name)
		if name == "windows_eventchannel" {
			l.set.events = &Decoder{Index: -1, ID: id, Name: name, Given: name, Type: Internal}
		}
	}
}

func (l *loader) finalID(name string) int {
	id, ok := l.finals[name]
	if !ok {
		id = len(l.finals) + 1
		l.finals[name] = id
	}
	return id
}
