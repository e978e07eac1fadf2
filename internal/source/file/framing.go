package file

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"riposte"
	"riposte/internal/source/lines"
)

// Framing says how lines become records. The zero value makes a record of
// every line that is not empty.
type Framing struct {
	Lines int                      // so many lines make a record
	Start func(line string) bool   // a line that matches begins a record
	End   func(line string) bool   // a line that matches ends a record
	All   func(record string) bool // a record that matches as far as it goes ends there, after maxAll lines at the latest
	Audit bool                     // the lines of one audit event, which carry its id, make a record
	Glue  string                   // stands between the lines of a record
	Wait  time.Duration            // how long a record waits for a next line; 0: five seconds. Lines alone waits for ever
}

func (f *Framing) plain() bool {
	return f.Lines <= 1 && f.Start == nil && f.End == nil && f.All == nil && !f.Audit
}

// maxAll bounds how often the beginning of a record is looked at again.
const maxAll = 1000

// timed reports whether only the next line, or time, ends a record.
func (f *Framing) timed() bool { return !f.plain() && f.Lines <= 1 }

func (f *Framing) wait() time.Duration {
	if f.Wait > 0 {
		return f.Wait
	}
	return 5 * time.Second
}

// ParseFormat reads a log_format of ossec.conf that a file can have. For
// multi-line-regex the caller adds Start, End or All and the Glue. The formats of
// single programs (apache, snort-fast, squid, …) are all a record a line.
func ParseFormat(text string) (riposte.Format, Framing, error) {
	name, count, counted := strings.Cut(strings.TrimSpace(text), ":")
	switch {
	case name == "json" && !counted:
		return riposte.FormatJSON, Framing{}, nil
	case name == "multi-line" && counted:
		n, err := strconv.Atoi(strings.TrimSpace(count))
		if err != nil || n < 1 || n > 1000 {
			return 0, Framing{}, fmt.Errorf("log_format %q: expected a number of lines from 1 to 1000 after the colon", text)
		}
		return riposte.FormatSyslog, Framing{Lines: n, Glue: " "}, nil
	case name == "audit" && !counted:
		return riposte.FormatSyslog, Framing{Audit: true, Glue: " "}, nil
	case !counted && plainFormats[name]:
		return riposte.FormatSyslog, Framing{}, nil
	}
	return 0, Framing{}, fmt.Errorf("log_format %q is none that a file can have", text)
}

var plainFormats = map[string]bool{
	"syslog": true, "multi-line-regex": true, "apache": true, "squid": true, "snort-full": true, "snort-fast": true,
	"iis": true, "nmapg": true, "mysql_log": true, "postgresql_log": true, "mssql_log": true, "djb-multilog": true,
	"ossecalert": true,
}

// record is one record of a file.
type record struct {
	text string
	end  int64 // offset in the file behind its last line
	cut  bool
}

// joiner makes records of several lines.
type joiner struct {
	framing Framing
	max     int
	text    []byte // the record as far as it goes
	count   int    // its lines
	key     string // of the audit event
	end     int64  // offset behind the last line taken
	cut     bool
}

// add takes the next line, which ends at offset end, and appends the records
// that it completes.
func (j *joiner) add(dst []record, l lines.Line, end int64) []record {
	f := &j.framing
	if f.Audit {
		key := auditKey(l.Text)
		if key == "" || key != j.key {
			dst = j.flush(dst)
		}
		j.key = key
	}
	if f.Start != nil && f.Start(l.Text) {
		dst = j.flush(dst)
	}
	j.take(l, end)
	if f.Lines > 0 && j.count >= f.Lines || f.End != nil && f.End(l.Text) || f.All != nil && (j.count >= maxAll || f.All(string(j.text))) {
		dst = j.flush(dst)
	}
	return dst
}

func (j *joiner) take(l lines.Line, end int64) {
	j.end = end
	if j.count == 0 && l.Text == "" && j.framing.Lines == 0 {
		return // only where lines are counted does an empty one begin a record
	}
	if j.count > 0 {
		j.text = append(j.text, j.framing.Glue...)
	}
	j.text = append(j.text, l.Text...)
	j.count++
	j.cut = j.cut || l.Cut
	if len(j.text) > j.max {
		j.text, j.cut = j.text[:j.max], true
	}
}

// flush appends the record as far as it goes.
func (j *joiner) flush(dst []record) []record {
	if len(j.text) > 0 {
		dst = append(dst, record{text: string(j.text), end: j.end, cut: j.cut})
	}
	j.text, j.count, j.cut = j.text[:0], 0, false
	return dst
}

// auditKey returns the id of an audit event, "1364481363.243:24287" in
// type=SYSCALL msg=audit(1364481363.243:24287): …
func auditKey(line string) string {
	_, rest, ok := strings.Cut(line, "msg=audit(")
	if !ok {
		return ""
	}
	key, _, ok := strings.Cut(rest, ")")
	if !ok {
		return ""
	}
	return key
}
