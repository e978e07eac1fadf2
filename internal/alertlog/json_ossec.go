package alertlog

import (
	"strings"

	"riposte"
)

// ossec writes the members of an alert as OSSEC 4 does (spec rules-engine.md
// 7.4). A dynamic field whose name is that of a fixed member in any case is
// written with "field_" before it: a reader could not tell it from the real one.
func (o *object) ossec(a *riposte.Alert) {
	o.rule(&a.Rule)
	o.text("id", a.ID)
	o.number("TimeStamp", a.Time.UnixMilli())
	o.text("decoder", a.Decoder.Name)
	o.text("decoder_parent", a.Decoder.Parent)
	for _, name := range [...]string{"action", "protocol", "srcip", "srcport", "srcuser", "dstip", "dstport", "dstuser"} {
		o.text(name, static(a, name))
	}
	o.text("location", a.Location)
	if !a.Rule.NoFullLog {
		o.record("full_log", a.FullLog)
	}
	if len(a.Previous) > 1 {
		o.text("previous_output", a.Previous[1])
	} else {
		o.text("previous_output", a.Diff)
	}
	if file := static(a, "filename"); file != "" {
		o.open("SyscheckFile")
		o.text("path", file)
		o.close()
	}
	o.text("hostname", a.Hostname)
	o.text("program_name", a.Program)
	o.text("status", static(a, "status"))
	o.text("url", static(a, "url"))
	data := static(a, "data")
	if data == "" {
		data = static(a, "extra_data") // one slot in OSSEC
	}
	o.text("data", data)
	o.text("systemname", static(a, "system_name"))
	for i := range a.Fields {
		if f := &a.Fields[i]; f.Dynamic && f.Value != "" && firstOf(a, i) {
			o.dynamic(f)
		}
	}
	o.open("decoder_desc")
	if a.Decoder.Accumulate {
		o.number("accumulate", 1)
	}
	o.text("parent", a.Decoder.Parent)
	o.text("name", a.Decoder.Name)
	o.text("ftscomment", a.Decoder.FTSComment)
	o.close()
	name, ip := agentOf(a)
	o.text("agent_name", name)
	o.text("agentip", ip)
	o.key("timestamp")
	o.enc.at(a.Time)
	o.dst = append(append(append(o.dst, '"'), o.enc.day...), '"')
	o.text("logfile", place(a.Location))
}

func (o *object) ossecTail(r *riposte.Rule) {
	o.text("group", r.Groups)
	o.key("groups")
	var room [48]listed
	o.groups(listGroups(room[:0], r.Groups), -1)
	o.close()
}

func (o *object) dynamic(f *riposte.Field) {
	prefix := ""
	if reserved(f.Name) {
		prefix = "field_"
	}
	o.field(prefix, f.Name)
	o.string(f.Value)
}

// reserved reports whether a reader that ignores case could take a name for that
// of a fixed member.
func reserved(name string) bool {
	for _, s := range staticFields {
		if strings.EqualFold(s, name) {
			return true
		}
	}
	for _, m := range ossecMembers {
		if strings.EqualFold(m, name) {
			return true
		}
	}
	return strings.EqualFold("systemname", name)
}

// firstOf reports whether no earlier dynamic field has the name of field i.
func firstOf(a *riposte.Alert, i int) bool {
	for j := range i {
		if f := &a.Fields[j]; f.Dynamic && f.Value != "" && f.Name == a.Fields[i].Name {
			return false
		}
	}
	return true
}

// agentOf is the name and the address that OSSEC reads out of the location
// "(name) address->path", or the host name when it has no such prefix.
func agentOf(a *riposte.Alert) (name, ip string) {
	rest, ok := strings.CutPrefix(a.Location, "(")
	if !ok {
		return a.Hostname, ""
	}
	name, rest, _ = strings.Cut(rest, ") ")
	ip, _, _ = strings.Cut(rest, "->")
	return name, ip
}
