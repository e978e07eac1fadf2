package analysis

import (
	"strconv"
	"strings"

	"riposte/internal/ossec"
	"riposte/internal/ossec/ruleset"
	"riposte/internal/ossec/xml"
)

// channelReader turns a Windows event, {"Message": "…", "Event": "<xml>"}, into
// the JSON that Wazuh makes of it and decodes that (spec 3.11). As in Wazuh the
// XML is read while it still has the escapes of JSON in it, so that values keep
// doubled backslashes.
type channelReader struct {
	system, data, extra members
	extraName           string
	message             string
}

// members is a JSON object that is being made.
type members struct{ list []member }

type member struct{ key, value string }

func (m *members) add(key, value string) { m.list = append(m.list, member{key, value}) }

func (m *members) get(key string) string {
	for i := range m.list {
		if m.list[i].key == key {
			return m.list[i].value
		}
	}
	return ""
}

// run decodes a Windows event.
func (c *channelReader) run(w *Worker, r *record) {
	*c = channelReader{system: members{c.system.list[:0]}, data: members{c.data.list[:0]}, extra: members{c.extra.list[:0]}}
	r.program, r.hasProg, r.stamp = "", false, ""
	w.program = nil
	r.decoder, r.category = w.plan.set.EventChannel(), ruleset.Internal
	event, message := topStrings(r.full)
	c.message = message
	nodes, err := xml.Parse("event", []byte(printed(event)), ossec.Wazuh)
	if err == nil {
		for _, n := range nodes {
			if n.Name == "Event" {
				c.event(n)
			}
		}
	}
	c.words()
	start := len(r.buf)
	r.buf = c.write(r.buf)
	r.full = r.text(start)
	r.log, r.prev = r.full, 0
	w.json.read(r, r.log, r.decoder)
}

// topStrings finds the values of Event and Message in the record's object.
func topStrings(s string) (event, message string) {
	var r record
	j := jsonReader{r: &r, s: s}
	j.space()
	if !j.take('{') {
		return "", ""
	}
	for {
		j.space()
		key, ok := j.str()
		if !ok {
			return event, message
		}
		key = strings.Clone(key)
		j.space()
		if !j.take(':') {
			return event, message
		}
		j.space()
		if j.peek() == '"' {
			v, ok := j.str()
			if !ok {
				return event, message
			}
			switch key {
			case "Event":
				event = v
			case "Message":
				message = v
			}
		} else if !j.print(1, 0) {
			return event, message
		}
		j.space()
		if !j.take(',') {
			return event, message
		}
	}
}

// printed is a string as JSON writes it, without the quotes.
func printed(s string) string {
	b := appendQuoted(nil, s)
	return string(b[1 : len(b)-1])
}

func (c *channelReader) event(n *xml.Node) {
	for _, section := range n.Children {
		switch section.Name {
		case "System":
			for _, e := range section.Children {
				c.systemElement(e)
			}
		case "EventData":
			for _, e := range section.Children {
				c.dataElement(e)
			}
		default:
			for _, e := range section.Children {
				c.extraName = lowerFirst(e.Name)
				for _, x := range e.Children {
					c.addText(&c.extra, lowerFirst(x.Name), x.Text)
				}
			}
		}
	}
}

func (c *channelReader) systemElement(e *xml.Node) {
	attr := func(name, key string) {
		if v, ok := e.Attr(name); ok {
			c.system.add(key, v)
		}
	}
	switch e.Name {
	case "Provider":
		attr("Name", "providerName")
		attr("Guid", "providerGuid")
		attr("EventSourceName", "eventSourceName")
	case "TimeCreated":
		attr("SystemTime", "systemTime")
	case "Execution":
		attr("ProcessID", "processID")
		attr("ThreadID", "threadID")
	case "Correlation":
	case "Security":
		for _, a := range e.Attrs {
			if a.Value == "UserID" {
				c.system.add("security userID", e.Text) // sic: the value is compared
			}
		}
	default:
		if e.Text != "" {
			c.system.add(lowerFirst(e.Name), e.Text)
		}
	}
}

func (c *channelReader) dataElement(e *xml.Node) {
	if e.Name != "Data" {
		c.addText(&c.data, lowerFirst(e.Name), e.Text)
		return
	}
	if len(e.Attrs) == 0 {
		for i := range c.data.list {
			if m := &c.data.list[i]; m.key == "data" {
				m.value += ", " + e.Text
				return
			}
		}
		if e.Text != "" {
			c.data.add("data", e.Text)
		}
		return
	}
	name, ok := e.Attr("Name")
	if !ok {
		return
	}
	c.addText(&c.data, lowerFirst(name), e.Text)
}

// addText adds a value that says something.
func (c *channelReader) addText(m *members, key, v string) {
	if v == "" || v == "-" || v == "(NULL)" {
		return
	}
	m.add(key, strings.TrimRight(v, " \t\r\n\v\f"))
}

// words adds what Wazuh says in words of the numbers in an event.
func (c *channelReader) words() {
	level, keywords := c.system.get("level"), c.system.get("keywords")
	if level != "" && keywords != "" {
		c.system.add("severityValue", severity(level, keywords))
	}
	if c.message != "" {
		c.system.add("message", strings.TrimRight(printed(c.message), " "))
	}
	n, _ := strconv.Atoi(strings.ReplaceAll(c.data.get("categoryId"), "%%", ""))
	if name, sub := auditCategory(n); name != "" {
		c.data.add("category", name)
		s, _ := strconv.Atoi(strings.ReplaceAll(c.data.get("subcategoryId"), "%%", ""))
		if text, ok := sub[s]; ok {
			c.data.add("subcategory", text)
		}
	}
	if raw := c.data.get("auditPolicyChanges"); raw != "" {
		var said []string
		for part := range strings.SplitSeq(raw, ",") {
			switch strings.TrimSpace(strings.ReplaceAll(part, "%%", "")) {
			case "8448":
				said = append(said, "Success removed")
			case "8449":
				said = append(said, "Success added")
			case "8450":
				said = append(said, "Failure removed")
			case "8451":
				said = append(said, "Failure added")
			}
		}
		for i := range c.data.list {
			if m := &c.data.list[i]; m.key == "auditPolicyChanges" {
				m.key = "auditPolicyChangesId"
			}
		}
		c.data.add("auditPolicyChanges", strings.Join(said, ", "))
	}
}

func severity(level, keywords string) string {
	switch level {
	case "1":
		return "CRITICAL"
	case "2":
		return "ERROR"
	case "3":
		return "WARNING"
	case "4":
		return "INFORMATION"
	case "5":
		return "VERBOSE"
	case "0":
		mask, _ := strconv.ParseUint(strings.TrimPrefix(keywords, "0x"), 16, 64)
		switch {
		case mask&0x10000000000000 != 0:
			return "AUDIT_FAILURE"
		case mask&0x20000000000000 != 0:
			return "AUDIT_SUCCESS"
		}
	}
	return "UNKNOWN"
}

// write appends {"win":{"system":{…},"eventdata":{…}}}.
func (c *channelReader) write(b []byte) []byte {
	b = append(b, `{"win":{"system":`...)
	b = c.system.write(b)
	if len(c.data.list) > 0 {
		b = append(b, `,"eventdata":`...)
		b = c.data.write(b)
	}
	if len(c.extra.list) > 0 {
		b = append(b, ',')
		b = appendQuoted(b, c.extraName)
		b = append(b, ':')
		b = c.extra.write(b)
	}
	return append(b, "}}"...)
}

func (m *members) write(b []byte) []byte {
	b = append(b, '{')
	for i, e := range m.list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendQuoted(b, e.key)
		b = append(b, ':')
		b = appendQuoted(b, e.value)
	}
	return append(b, '}')
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return string(lower(s[0])) + s[1:]
}
