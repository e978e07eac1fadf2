package riposte

import (
	"strings"
	"time"
)

// Alert is a rule that fired on an event, with everything that a response,
// a script or a reader of the alert log may ask about it. An alert owns its
// strings: none of them points into a source's buffer.
type Alert struct {
	ID       string    // "seconds.n", unique on the analysing host
	Number   uint64    // of the event that made it, if that has one: then the ID is made of it
	Time     time.Time // of the event's reception
	Rule     Rule
	Decoder  Decoder
	Agent    Agent  // where the event was recorded
	Manager  string // name of the analysing host
	Location string // the event's location with OSSEC's agent prefix, if any: "(web-01) 10.0.0.9->/var/log/auth.log"
	Hostname string // as pre-decoded, or the host's own
	Program  string // program_name as pre-decoded
	Stamp    string // the record's own time stamp, as text
	FullLog  string // the record
	Fields   []Field
	Previous []string // earlier records that a correlation rule counted, newest first
	Diff     string   // the former text of a check_diff rule
	Log      bool     // the alert is to be written to the alert log
	Raw      []byte   // the alert as another engine wrote it (JSON), when it came from there
}

// Rule is the part of a rule that an alert carries.
type Rule struct {
	ID          int
	Level       int    // 0 to 16
	Description string // with $(field) references resolved
	Groups      string // the rule's whole group text, "syslog,sshd,authentication_failed,"
	Frequency   int    // as written in the rule, 0 for rules that do not correlate
	Fired       int    // how often the rule was final since start, 0 when the rule does not count
	Mail        bool
	NoAR        bool // the rule is never to be answered (option no_ar)
	NoFullLog   bool
	MITRE       []Technique
	Info        []Info
}

// Technique is one MITRE ATT&CK technique; Tactic and Name may be empty.
type Technique struct{ ID, Tactic, Name string }

// Info is a reference given by a rule: Kind is text, link, cve or osvdb.
type Info struct{ Kind, Text string }

// Decoder names the decoder that owned the event.
type Decoder struct {
	Name       string // final name, "" when no decoder matched
	Parent     string // written parent, "" for a root
	FTSComment string
	Accumulate bool
}

// Field is one decoded field. Static fields carry their OSSEC names (srcip,
// dstuser, …), dynamic ones their name from the decoder.
type Field struct {
	Name    string
	Value   string
	Dynamic bool
}

// Field returns the value of the named field. Static fields are looked up by
// their exact name, dynamic ones ignoring case, the first of a name wins.
func (a *Alert) Field(name string) (string, bool) {
	for i := range a.Fields {
		f := &a.Fields[i]
		if f.Name == name || f.Dynamic && strings.EqualFold(f.Name, name) {
			return f.Value, true
		}
	}
	return "", false
}

// GroupList splits the rule's group text at its commas, empty parts left out.
func (r *Rule) GroupList() []string {
	var out []string
	for g := range strings.SplitSeq(r.Groups, ",") {
		if g = strings.TrimSpace(g); g != "" {
			out = append(out, g)
		}
	}
	return out
}
