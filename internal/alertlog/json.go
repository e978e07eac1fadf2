package alertlog

import (
	"strings"

	"riposte"
	"riposte/internal/ossec"
)

// AppendJSON appends an alert as one line of alerts.json without its line
// break, in the layout of Wazuh 4 or of OSSEC. Times are written in the zone of
// a.Time. For many alerts there is Encoder.
func AppendJSON(dst []byte, a *riposte.Alert, d ossec.Dialect) []byte {
	e := Encoder{dialect: d}
	return e.JSON(dst, a)
}

// wazuh writes the members of an alert as Wazuh 4 does
// (spec rules-engine.md 7.2), in its order.
func (o *object) wazuh(a *riposte.Alert) {
	o.key("timestamp")
	o.enc.at(a.Time)
	milli := a.Time.Nanosecond() / 1e6
	o.dst = append(append(o.dst, '"'), o.enc.iso...)
	o.dst = append(o.dst, '.', byte('0'+milli/100), byte('0'+milli/10%10), byte('0'+milli%10))
	o.dst = append(append(o.dst, o.enc.offset...), '"')
	o.rule(&a.Rule)

	o.open("agent")
	if a.Agent.Local() {
		o.text("id", "000")
		if a.Agent.Name != "" {
			o.text("name", a.Agent.Name)
		} else {
			o.text("name", a.Manager)
		}
	} else {
		o.text("id", a.Agent.ID)
		o.text("name", a.Agent.Name)
	}
	if a.Agent.IP != "any" {
		o.text("ip", a.Agent.IP)
	}
	o.close()

	if a.Manager != "" {
		o.open("manager")
		o.text("name", a.Manager)
		o.close()
	}
	o.text("id", a.ID)
	if len(a.Previous) > 1 {
		o.key("previous_output")
		o.dst = append(o.dst, '"')
		for i, p := range a.Previous {
			if i > 0 {
				o.dst = append(o.dst, '\\', 'n')
			}
			o.line(p)
		}
		o.dst = append(o.dst, '"')
	}
	if !a.Rule.NoFullLog {
		o.record("full_log", a.FullLog)
	}
	if file := static(a, "filename"); file != "" {
		o.open("syscheck")
		o.text("path", file)
		o.close()
	}
	if a.Program != "" || a.Stamp != "" || a.Hostname != "" && bsdHeader(a.FullLog) {
		o.open("predecoder")
		o.text("program_name", a.Program)
		o.text("timestamp", a.Stamp)
		if bsdHeader(a.FullLog) {
			o.text("hostname", a.Hostname)
		}
		o.close()
	}
	o.open("decoder")
	if a.Decoder.Accumulate {
		o.number("accumulate", 1)
	}
	o.text("parent", a.Decoder.Parent)
	o.text("name", a.Decoder.Name)
	o.text("ftscomment", a.Decoder.FTSComment)
	o.close()
	o.data(a)
	o.text("previous_log", a.Diff)
	o.text("location", place(a.Location))
}

// ruleHead writes what stands in front of a rule's description.
func (o *object) ruleHead(r *riposte.Rule) {
	o.open("rule")
	o.number("level", int64(r.Level))
}

func (o *object) description(r *riposte.Rule) {
	if o.enc.dialect == ossec.OSSEC {
		o.text("comment", r.Description)
	} else {
		o.text("description", r.Description)
	}
}

// ruleMiddle writes what stands between a rule's description and its count.
func (o *object) ruleMiddle(r *riposte.Rule) {
	if o.enc.dialect == ossec.OSSEC {
		o.number("sidid", int64(r.ID))
	} else {
		o.quoted("id", int64(r.ID))
		o.techniques(r.MITRE)
	}
	o.infos(r)
	o.number("frequency", int64(r.Frequency))
}

// ruleTail writes what stands behind a rule's count.
func (o *object) ruleTail(r *riposte.Rule) {
	if o.enc.dialect == ossec.OSSEC {
		o.ossecTail(r)
	} else {
		o.wazuhTail(r)
	}
}

func (o *object) techniques(m []riposte.Technique) {
	if len(m) > 0 {
		o.open("mitre")
		o.list("id", len(m), true, func(i int) string { return m[i].ID })
		o.list("tactic", len(m), true, func(i int) string { return m[i].Tactic })
		o.list("technique", len(m), true, func(i int) string { return m[i].Name })
		o.close()
	}
}

func (o *object) wazuhTail(r *riposte.Rule) {
	o.key("mail")
	if r.Mail {
		o.dst = append(o.dst, "true"...)
	} else {
		o.dst = append(o.dst, "false"...)
	}
	var room [48]listed
	groups := listGroups(room[:0], r.Groups)
	o.key("groups")
	o.groups(groups, -1)
	var seen [len(groupLists)]bool
	for _, g := range groups {
		if l := g.list; l >= 0 && !seen[l] {
			seen[l] = true
			o.key(groupLists[l])
			o.groups(groups, l)
		}
	}
	o.close()
}

// infos writes the references of a rule: vulnerabilities as "cve", all others
// as "info".
func (o *object) infos(r *riposte.Rule) {
	for _, name := range [...]string{"cve", "info"} {
		some := false
		for i := range r.Info {
			if (r.Info[i].Kind == "cve") != (name == "cve") {
				continue
			}
			if some {
				o.dst = append(o.dst, ", "...)
			} else {
				o.key(name)
				o.dst = append(o.dst, '"')
				some = true
			}
			o.dst = appendStringPart(o.dst, r.Info[i].Text)
		}
		if some {
			o.dst = append(o.dst, '"')
		}
	}
}

// listed is a group and the compliance standard that it belongs to.
type listed struct {
	name string
	list int // in groupLists, -1: none
}

// listGroups cuts a group text into its groups.
func listGroups(dst []listed, text string) []listed {
	for text != "" {
		var g string
		if g, text = nextGroup(text); g != "" {
			dst = append(dst, listed{g, groupList(g)})
		}
	}
	return dst
}

// groups writes an array of the groups of one compliance standard, or of those
// that belong to none (-1).
func (o *object) groups(groups []listed, standard int) {
	o.dst = append(o.dst, '[')
	some := false
	for i := range groups {
		g := groups[i].name
		if groups[i].list != standard {
			continue
		}
		if standard >= 0 {
			g = g[len(groupLists[standard])+1:]
		}
		if some {
			o.dst = append(o.dst, ',')
		}
		some = true
		o.dst = appendString(o.dst, g)
	}
	o.dst = append(o.dst, ']')
}

// nextGroup cuts the first group off a group text.
func nextGroup(text string) (group, rest string) {
	group, rest, _ = strings.Cut(text, ",")
	return strings.TrimSpace(group), rest
}

// data writes the decoded fields, static ones first, if there are any.
func (o *object) data(a *riposte.Alert) {
	some := false
	for i := range a.Fields {
		f := &a.Fields[i]
		some = some || f.Value != "" && (f.Dynamic || isStatic(f.Name))
	}
	if !some {
		return
	}
	o.open("data")
	var values [len(staticFields)]string
	for i := len(a.Fields) - 1; i >= 0; i-- { // the first of a name counts
		if f := &a.Fields[i]; !f.Dynamic {
			if k := staticIndex(f.Name); k >= 0 {
				values[k] = f.Value
			}
		}
	}
	for k, v := range values {
		if v != "" {
			o.text(staticFields[k], v)
		}
	}
	if !o.nested(a) {
		o.members(a, 0, -1)
	}
	o.close()
}

// static returns the value of a static field, "" when it is not set.
func static(a *riposte.Alert, name string) string {
	for i := range a.Fields {
		if f := &a.Fields[i]; !f.Dynamic && f.Name == name {
			return f.Value
		}
	}
	return ""
}

// members writes the dynamic fields whose names begin with the first cut bytes
// of the name of field like (all of them for -1), nested at the dots of what
// follows. Where two fields claim one name, the first wins.
func (o *object) members(a *riposte.Alert, cut, like int) {
	for i := range a.Fields {
		f := &a.Fields[i]
		if !f.Dynamic || f.Value == "" || !within(a, i, cut, like) {
			continue
		}
		name, nested := segment(f.Name[cut:], dots(f.Name[:cut]))
		if o.claimed(a, i, cut, like, name) {
			continue
		}
		if !nested {
			o.value(i, name, f.Value)
			continue
		}
		o.field("", name)
		o.begin()
		o.members(a, cut+len(name)+1, i)
		o.close()
	}
}

// within reports whether field i has the first cut bytes of field like's name.
func within(a *riposte.Alert, i, cut, like int) bool {
	return like < 0 || len(a.Fields[i].Name) > cut && a.Fields[i].Name[:cut] == a.Fields[like].Name[:cut]
}

// claimed reports whether a static field or an earlier dynamic one has written
// the member name of the object that members is writing.
func (o *object) claimed(a *riposte.Alert, i, cut, like int, name string) bool {
	if cut == 0 && isStatic(name) && static(a, name) != "" {
		return true
	}
	for j := range i {
		f := &a.Fields[j]
		if !f.Dynamic || f.Value == "" || !within(a, j, cut, like) {
			continue
		}
		if n, _ := segment(f.Name[cut:], dots(f.Name[:cut])); n == name {
			return true
		}
	}
	return false
}

// segment returns the name of the member that stands for a dotted name, and
// whether that member is an object that holds the rest. Names that are nested
// too deeply or have an empty part are not divided further.
func segment(name string, depth int) (_ string, nested bool) {
	i := strings.IndexByte(name, '.')
	if i <= 0 || i == len(name)-1 || depth >= maxDepth-1 {
		return name, false
	}
	return name[:i], true
}

func dots(s string) int { return strings.Count(s, ".") }

// line writes a record as a part of a string that holds several records, one a
// line: line breaks within the record are shown, not made.
func (o *object) line(s string) {
	for start, i := 0, 0; ; i++ {
		i = special(s, i)
		if i == len(s) {
			o.dst = appendStringPart(o.dst, s[start:])
			return
		}
		switch s[i] {
		case '\n':
			o.dst = append(appendStringPart(o.dst, s[start:i]), `\\n`...)
		case '\r':
			o.dst = append(appendStringPart(o.dst, s[start:i]), `\\r`...)
		default:
			continue
		}
		start = i + 1
	}
}

// place is the location without the agent's prefix.
func place(location string) string {
	if strings.HasPrefix(location, "(") {
		if i := strings.Index(location, "->"); i >= 0 {
			return location[i+2:]
		}
	}
	return location
}

// bsdHeader reports whether a record begins as BSD syslog writes it,
// "Jan  2 03:04:05 host": only then does Wazuh trust the host name.
func bsdHeader(s string) bool {
	const form = "Aaa d9 99:99:99 x"
	if len(s) < len(form) {
		return false
	}
	for i := range len(form) {
		c, ok := s[i], false
		switch form[i] {
		case 'A':
			ok = c >= 'A' && c <= 'Z'
		case 'a':
			ok = c >= 'a' && c <= 'z'
		case 'd':
			ok = c == ' ' || c >= '0' && c <= '3'
		case '9':
			ok = c >= '0' && c <= '9'
		case 'x':
			ok = c > ' '
		default:
			ok = c == form[i]
		}
		if !ok {
			return false
		}
	}
	return true
}
