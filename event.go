package riposte

import "time"

// Agent names the host on which an event was recorded. The zero value is the
// host that analyses: OSSEC's agent 000.
type Agent struct {
	ID   string `json:"id"`           // three digits or more, "000" (or "") for the analysing host
	Name string `json:"name"`         // as enrolled; host name for agent 000
	IP   string `json:"ip,omitempty"` // as enrolled or as last seen

	// Analyses: it judges the event, too, and answers what is for it alone.
	Analyses bool `json:"analyses,omitempty"`
}

// Local reports whether the agent is the analysing host itself.
func (a Agent) Local() bool { return a.ID == "" || a.ID == "000" }

// Event is one raw log record and where it came from.
//
// Text usually points into a large read buffer; whoever keeps an event beyond
// its batch must clone the strings it keeps.
type Event struct {
	Time     time.Time // reception, the only clock that analysis knows
	Agent    Agent     // zero: this host
	Location string    // as OSSEC writes it: a path, "journald", a sender's address, without agent prefix
	Format   Format    // how Text is to be read
	Text     string    // the record without its terminator; may hold any byte
	Cut      bool      // Text was longer than the source's limit and was cut
	Number   uint64    // unique on the analysing host and the same whenever the event is judged; 0: it has none
}

// Format says how the text of an event is to be read.
type Format uint8

// The formats that change how a record is pre-decoded. Every other log_format
// of ossec.conf only changes how a source collects lines.
const (
	FormatSyslog       Format = iota // a text line, with or without a syslog header
	FormatJSON                       // one JSON object
	FormatEventChannel               // a Windows event: {"Message":…,"Event":"<xml>"}
)

// Batch is a run of events from one source in their order, with the position
// from which that source resumes once all of them are dealt with.
type Batch struct {
	Source   string  // stable key, such as "file:/var/log/auth.log"
	Position string  // opaque to all but the source; "" when the source cannot resume
	Events   []Event // owned by the receiver
}
