package ruleset

import (
	"slices"
	"strings"

	"riposte/internal/ossec/pattern"
	"riposte/internal/ossec/xml"
)

// contextElement reads the elements that compare the events of a correlation;
// false when it is none of them.
func (r *ruleReader) contextElement(c *xml.Node, name string) bool {
	d := r.draft
	mark := func() bool {
		if d.context == nil {
			d.context = c
		}
		r.plain(c)
		return true
	}
	switch name {
	case "same_agent", "not_same_agent":
		r.warn(c.Pos, "no-effect", "remove it", "<%s> has no effect", c.Name)
		return true
	case "global_frequency":
		if !r.wazuh() {
			return false
		}
		d.global = true
		return mark()
	case "same_field", "not_same_field", "different_field":
		if !r.wazuh() {
			return false
		}
		id := r.loader.field(c.Text)
		if name == "same_field" {
			d.sameFields = append(d.sameFields, id)
		} else {
			d.notFields = append(d.notFields, id)
		}
		return mark()
	}
	op, different, ok := r.relation(name)
	if !ok {
		return false
	}
	switch {
	case !r.wazuh() && strings.HasPrefix(name, "not_same_"):
		// OSSEC takes an earlier same_… back, no more.
		d.same = slices.DeleteFunc(d.same, func(o Operand) bool { return o == op })
		r.plain(c)
		return true
	case !r.wazuh() && name == "different_srcip":
		r.warn(c.Pos, "no-effect", "", "<different_srcip> has no effect in OSSEC")
	case different:
		d.different = addOperand(d.different, op)
	default:
		d.same = addOperand(d.same, op)
	}
	return mark()
}

func addOperand(list []Operand, op Operand) []Operand {
	if slices.Contains(list, op) {
		return list
	}
	return append(list, op)
}

// listFields are the names that a list's field attribute has for static fields.
var listFields = map[string]struct {
	kind  Kind
	slot  Slot
	wazuh bool
}{
	"srcip": {SlotText, SrcIP, false}, "srcport": {SlotText, SrcPort, false}, "dstip": {SlotText, DstIP, false},
	"dstport": {SlotText, DstPort, false}, "user": {User, 0, false}, "url": {SlotText, URL, false},
	"id": {SlotText, ID, false}, "hostname": {Host, 0, false}, "program_name": {Program, 0, false},
	"status": {SlotText, Status, false}, "action": {SlotText, Action, false},
	"protocol": {SlotText, Protocol, true}, "system_name": {SlotText, SystemName, true},
	"data": {SlotText, Data, true}, "extra_data": {SlotText, ExtraData, true},
}

func (r *ruleReader) list(c *xml.Node) {
	cond := Condition{Kind: InList, List: &Lookup{}, Name: "list", Text: c.Text, Pos: c.Pos}
	var fieldAttr *xml.Attr
	for i := range c.Attrs {
		a := &c.Attrs[i]
		switch strings.ToLower(a.Name) {
		case "field":
			fieldAttr = a
		case "lookup":
			mode, ok := lookupNames[a.Value]
			if !ok {
				r.fail(a.At(0), "unknown-lookup", didYouMean(a.Value, sorted(lookupNames)), "%q is no way to look up", a.Value)
			}
			cond.List.Mode = mode
		case "check_value":
			t := text{value: a.Value, pieces: []*xml.Node{c}, starts: []int{0}}
			cond.List.Check = r.compile(pattern.OSMatch, false, &t)
		default:
			r.unknownAttribute(a, "list")
		}
	}
	if fieldAttr == nil {
		r.fail(c.Pos, "no-field", `write <list field="…">`, "rule %d has a list without a field", r.draft.id)
		return
	}
	f, ok := listFields[fieldAttr.Value]
	switch {
	case ok && (!f.wazuh || r.wazuh()):
		cond.Of, cond.Slot = f.kind, f.slot
	case !r.wazuh():
		r.fail(fieldAttr.At(0), "unknown-field", didYouMean(fieldAttr.Value, sorted(listFields)), "%q is no field that a list can be asked for", fieldAttr.Value)
		return
	default:
		cond.Of, cond.Field = Field, r.loader.field(firstWord(fieldAttr.Value))
	}
	known, ok := r.lists[c.Text]
	if !ok {
		known, ok = r.lists[strings.TrimSuffix(c.Text, ".cdb")]
	}
	if !ok {
		hint := didYouMean(c.Text, sorted(r.lists))
		if r.wazuh() {
			r.warn(c.At(0), "unknown-list", hint, "rule %d is dropped: the list %q is not configured", r.draft.id, c.Text)
			r.dropped = true
		} else {
			r.warn(c.At(0), "unknown-list", hint, "rule %d never matches: the list %q is not configured", r.draft.id, c.Text)
		}
	}
	cond.List.list = known
	r.draft.lists = append(r.draft.lists, listElement{cond, c.Text})
	if len(r.draft.lists) > 2 {
		r.warn(c.Pos, "third-list", "split the rule", "rule %d has more than two lists; the real systems look only at the last two", r.draft.id)
	}
}

// ignoreWords are the names of <ignore> and <check_if_ignored>.
var ignoreWords = map[string]Slot{"user": DstUser, "srcip": SrcIP, "dstip": DstIP, "id": ID, "data": Data}

func (r *ruleReader) ignoreKey(c *xml.Node) *Key {
	k := &Key{}
	for _, name := range commaList(c.Text) {
		if !r.wazuh() {
			if err := k.addOSSEC(name); err != nil {
				r.fail(c.At(0), "bad-ignore", "", "%v", err)
			}
			continue
		}
		if slot, ok := ignoreWords[name]; ok {
			k.Slots |= 1 << slot
			continue
		}
		switch name {
		case "location":
			k.Location = true
		case "name":
			k.Name = true
		default:
			r.loader.field(name)
			k.Fields = append(k.Fields, name)
		}
	}
	return k
}

func (r *ruleReader) info(c *xml.Node) {
	kind := "text"
	for i := range c.Attrs {
		a := &c.Attrs[i]
		if !strings.EqualFold(a.Name, "type") {
			r.unknownAttribute(a, "info")
			continue
		}
		switch a.Value {
		case "text", "link", "cve", "osvdb":
			kind = a.Value
		default:
			r.fail(a.At(0), "bad-type", "write text, link, cve or osvdb", "%q is no type of info", a.Value)
		}
	}
	r.draft.info = append(r.draft.info, Info{Kind: kind, Text: c.Text})
}

func (r *ruleReader) option(c *xml.Node) {
	d := r.draft
	yes, no := true, false
	switch c.Text {
	case "alert_by_email":
		r.mail = &yes
	case "no_email_alert":
		r.mail = &no
		d.noCounter = false // sic
	case "log_alert":
		r.log = &yes
	case "no_log":
		r.log = &no
		d.noCounter = false // sic
	case "no_ar":
		d.noAR = true
	case "no_full_log":
		if !r.wazuh() {
			r.badOption(c)
		}
		d.noFullLog = true
	case "no_counter":
		if !r.wazuh() {
			r.badOption(c)
		}
		d.noCounter = true
	default:
		r.badOption(c)
	}
}

func (r *ruleReader) badOption(c *xml.Node) {
	known := []string{"alert_by_email", "no_email_alert", "log_alert", "no_log", "no_ar"}
	if r.wazuh() {
		known = append(known, "no_full_log", "no_counter")
	}
	r.fail(c.At(0), "unknown-option", didYouMean(c.Text, known), "%q is no option of a rule", c.Text)
}

// mitre reads one <mitre> block.
func (r *ruleReader) mitre(c *xml.Node) {
	var tactic, technique string
	pair := false
	for _, n := range c.Children {
		switch n.Name {
		case "id":
			r.technique(Technique{ID: n.Text})
		case "tacticID":
			tactic, pair = n.Text, true
		case "techniqueID":
			technique, pair = n.Text, true
		default:
			r.fail(n.Pos, "unknown-element", "write id, or tacticID and techniqueID", "<mitre> has the unknown element <%s>", n.Name)
		}
	}
	switch {
	case !pair:
		if len(c.Children) == 0 {
			r.warn(c.Pos, "empty-mitre", "", "<mitre> is empty")
		}
	case tactic == "" || technique == "":
		r.warn(c.Pos, "half-mitre", "give both", "<mitre> needs a tacticID and a techniqueID; it is dropped")
	default:
		r.technique(Technique{ID: technique, Tactic: tactic})
	}
	for i := range c.Attrs {
		r.unknownAttribute(&c.Attrs[i], "mitre")
	}
}

func (r *ruleReader) technique(t Technique) {
	if t.ID != "" && !slices.Contains(r.draft.mitre, t) {
		r.draft.mitre = append(r.draft.mitre, t)
	}
}

// mitreForms drops the older form where the newer one is used as well.
func (r *ruleReader) mitreForms() {
	newer := slices.ContainsFunc(r.draft.mitre, func(t Technique) bool { return t.Tactic != "" })
	if newer {
		r.draft.mitre = slices.DeleteFunc(r.draft.mitre, func(t Technique) bool { return t.Tactic == "" })
	}
}
