package conf

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"riposte/internal/ossec"
	"riposte/internal/ossec/pattern"
	"riposte/internal/ossec/xml"
)

// LocalFile is a <localfile>: a log that is followed, or a command that is run.
type LocalFile struct {
	Pos       ossec.Pos
	Format    string   // of <log_format>, in lower case, "multi-line" without its number
	Lines     int      // of a record of format multi-line
	Locations []string // as written: paths with wildcards and %Y-%m-%d, or a channel, or "journald"
	Exclude   []string // paths with wildcards that Locations is not to include

	// Of formats command and full_command.
	Command   string
	Alias     string        // stands for the command in events
	Frequency time.Duration // between two runs

	OnlyFuture bool          // start at the end; what stands in the log already is not read
	Age        time.Duration // files that were not changed for longer are left alone; 0: all
	Binaries   bool          // false: files that are not text are left alone (ignore_binaries)
	Labels     []Label       // added to records of format json
	Targets    []string      // sockets; riposte knows only "agent", itself
	Output     string        // out_format for target agent: a template with $(log), $(location), …
	Query      string        // of a Windows channel or of macOS
	Reconnect  time.Duration // of a Windows channel

	Multiline *Multiline
	Filters   []Filter // of journald, all must hold; several <localfile> of journald are alternatives
	Ignore    []Line   // records that match any are left out
	Restrict  []Line   // records that do not match all are left out
}

// Label is a field that is added to each record.
type Label struct{ Key, Value string }

// Multiline tells how records of several lines are put together.
type Multiline struct {
	Pattern *pattern.Pattern
	Text    string        // of the pattern
	Match   string        // what the pattern marks: "start", "all" or "end"
	Replace string        // what stands between lines: "no-replace", "none", "wspace" or "tab"
	Timeout time.Duration // after which an unfinished record is taken as it is
}

// Filter selects journal entries by a field.
type Filter struct {
	Field   string
	Pattern *pattern.Pattern
	Text    string
	Missing bool // an entry without the field passes (ignore_if_missing)
}

// Line selects records.
type Line struct {
	Pattern *pattern.Pattern
	Syntax  pattern.Syntax
	Text    string
}

// formats are the values of <log_format>.
var formats = []string{"syslog", "generic", "json", "snort-full", "snort-fast", "squid", "iis", "eventlog", "eventchannel",
	"mysql_log", "postgresql_log", "mssql_log", "apache", "nmapg", "command", "full_command", "djb-multilog", "multi-line",
	"multi-line-regex", "audit", "macos", "journald", "ossecalert"}

var localfileElements = []string{"location", "log_format", "command", "alias", "frequency", "exclude", "only-future-events",
	"target", "label", "out_format", "query", "filter", "multiline_regex", "ignore", "restrict", "ignore_binaries", "age",
	"reconnect_time", "diff_max_size", "check_all", "max-size"}

// localfile reads a <localfile>.
func (r *reader) localfile(n *xml.Node) {
	f := r.fields(n, ossec.Warning, localfileElements...)
	l := LocalFile{Pos: n.Pos, Binaries: true}
	if !r.format(f, &l) {
		return
	}
	for _, v := range f.all["location"] {
		l.Locations = append(l.Locations, r.locationList(v)...)
	}
	for _, v := range f.all["exclude"] {
		l.Exclude = append(l.Exclude, r.locationList(v)...)
	}
	if !r.commandLine(f, &l) {
		return
	}
	f.flag("only-future-events", &l.OnlyFuture)
	var ignore bool
	f.flag("ignore_binaries", &ignore)
	l.Binaries = !ignore
	r.durations(f, &l)
	f.text("query", &l.Query)
	for _, v := range f.all["label"] {
		if key, ok := v.node.Attr("key"); ok && key != "" {
			l.Labels = append(l.Labels, Label{key, v.text})
		} else {
			r.report(v, ossec.Warning, "no-label", `write <label key="name">value</label>`, "this <label> has no key")
		}
	}
	r.targets(f, &l)
	r.multiline(f, &l)
	r.filters(f, &l)
	l.Ignore = r.lines(f, "ignore")
	l.Restrict = r.lines(f, "restrict")
	r.cfg.LocalFiles = append(r.cfg.LocalFiles, l)
}

// format reads <log_format>.
func (r *reader) format(f fields, l *LocalFile) bool {
	v, ok := f.one("log_format")
	if !ok {
		if v, ok := f.one("location"); ok && v.text == "journald" {
			l.Format = "journald"
			return true
		}
		f.missing("log_format")
		return false
	}
	name, number, counted := strings.Cut(strings.ToLower(v.text), ":")
	if counted && strings.TrimSpace(name) == "multi-line" {
		number = strings.TrimSpace(number)
		n, err := strconv.Atoi(number)
		if err != nil || !digits(number) || n < 2 || n > 1000 {
			r.report(v, ossec.Error, "bad-value", "write multi-line:N with N from 2 to 1000", "<log_format> is %q, it must say how many lines a record has", v.text)
			return false
		}
		l.Format, l.Lines = "multi-line", n
		return true
	}
	l.Format, ok = r.pick(v, formats...)
	if l.Format == "multi-line" {
		r.report(v, ossec.Error, "bad-value", "write multi-line:N", "<log_format> multi-line must say how many lines a record has")
		return false
	}
	return ok
}

// locationList returns the paths of a location or exclude. A comma separates
// paths only where another one starts.
func (r *reader) locationList(v value) []string {
	if v.text == "" {
		r.report(v, ossec.Error, "bad-value", "give a path", "<%s> is empty", v.node.Name)
		return nil
	}
	var out []string
	start := 0
	for i := 0; i < len(v.text); i++ {
		if v.text[i] == ',' && strings.HasPrefix(strings.TrimLeft(v.text[i+1:], spaces), "/") {
			out = append(out, v.sub(start, i).text)
			start = i + 1
		}
	}
	return append(out, v.sub(start, len(v.text)).text)
}

// commandLine reads <command>, <alias> and <frequency> and checks that the
// block has what its format needs.
func (r *reader) commandLine(f fields, l *LocalFile) bool {
	l.Frequency = 360 * time.Second
	f.text("command", &l.Command)
	f.text("alias", &l.Alias)
	if v, ok := f.one("frequency"); ok {
		if n, ok := r.number(v, 1, 365*24*3600, "a number of seconds"); ok {
			l.Frequency = time.Duration(n) * time.Second
		}
	}
	switch {
	case l.Format == "command" || l.Format == "full_command":
		if l.Command == "" && len(l.Locations) == 1 { // OSSEC takes the command from there
			l.Command = l.Locations[0]
		}
		l.Locations = nil
		if l.Command == "" {
			f.missing("command")
			return false
		}
		if l.Alias == "" {
			l.Alias = l.Command
		}
	case len(l.Locations) == 0 && l.Format == "journald":
		l.Locations = []string{"journald"}
	case len(l.Locations) == 0 && l.Format == "macos":
		l.Locations = []string{"macos"}
	case len(l.Locations) == 0:
		if !f.has("location") {
			f.missing("location")
		}
		return false
	}
	return true
}

// durations reads the times with a unit: 10s, 5m, 2h, 1d.
func (r *reader) durations(f fields, l *LocalFile) {
	for name, target := range map[string]*time.Duration{"age": &l.Age, "reconnect_time": &l.Reconnect} {
		v, ok := f.one(name)
		if !ok {
			continue
		}
		d, ok := duration(v.text)
		if !ok {
			r.report(v, ossec.Error, "bad-value", "write a number with s, m, h or d, such as 5m", "<%s> is %q, which is not a time", name, v.text)
			continue
		}
		*target = d
	}
}

// duration reads a number with one unit; without a unit it is seconds.
func duration(s string) (time.Duration, bool) {
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	unit := time.Second
	if s != "" {
		if u, ok := units[s[len(s)-1]]; ok {
			unit, s = u, s[:len(s)-1]
		}
	}
	n, err := strconv.Atoi(s)
	if err != nil || !digits(s) || time.Duration(n) > maxTimeout/unit {
		return 0, false
	}
	return time.Duration(n) * unit, true
}

// targets reads <target> and <out_format>.
func (r *reader) targets(f fields, l *LocalFile) {
	for _, v := range f.all["target"] {
		for _, w := range v.words(", \t\r\n") {
			l.Targets = append(l.Targets, w.text)
			if w.text != "agent" {
				r.report(w, ossec.Warning, "unused", "", "riposte sends no records to sockets: target %s has no effect", w.text)
			}
		}
	}
	for _, v := range f.all["out_format"] {
		if target, ok := v.node.Attr("target"); !ok || target == "agent" || strings.Contains(target, "agent") {
			l.Output = v.text
		}
	}
}

// multiline reads <multiline_regex>.
func (r *reader) multiline(f fields, l *LocalFile) {
	v, ok := f.one("multiline_regex")
	if !ok {
		if l.Format == "multi-line-regex" {
			f.missing("multiline_regex")
		}
		return
	}
	m := &Multiline{Text: v.text, Match: "start", Replace: "no-replace", Timeout: 5 * time.Second}
	r.attribute(v.node, "match", &m.Match, "start", "all", "end")
	r.attribute(v.node, "replace", &m.Replace, "no-replace", "none", "wspace", "tab")
	if s, ok := v.node.Attr("timeout"); ok {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 120 {
			r.report(v, ossec.Error, "bad-value", "write a number from 1 to 120", "timeout is %q, it must be a number of seconds", s)
			return
		}
		m.Timeout = time.Duration(n) * time.Second
	}
	if m.Pattern = r.pcre(v); m.Pattern != nil {
		l.Multiline = m
	}
}

// attribute reads an attribute that is one of some words.
func (r *reader) attribute(n *xml.Node, name string, target *string, words ...string) {
	i := slices.IndexFunc(n.Attrs, func(a xml.Attr) bool { return a.Name == name })
	if i < 0 {
		return
	}
	a := &n.Attrs[i]
	if !slices.Contains(words, a.Value) {
		f := ossec.Finding{Severity: ossec.Error, Pos: a.ValuePos, Len: len(a.Value), Code: "bad-value",
			Message: fmt.Sprintf("%s of <%s> is %q, it must be one of %s", name, n.Name, a.Value, strings.Join(words, ", "))}
		if near, ok := ossec.Nearest(strings.ToLower(a.Value), words); ok {
			f.Hint = "write " + near
			f.Fix = &ossec.Edit{Offset: a.ValuePos.Offset, Len: len(a.Value), Text: near}
		}
		r.add(f)
		return
	}
	*target = a.Value
}

// filters reads journald's <filter>.
func (r *reader) filters(f fields, l *LocalFile) {
	for _, v := range f.all["filter"] {
		field, _ := v.node.Attr("field")
		if field == "" {
			r.report(v, ossec.Error, "no-field", `write <filter field="_SYSTEMD_UNIT">…</filter>`, "this <filter> has no field")
			continue
		}
		if !journalField(field) {
			r.report(v, ossec.Warning, "no-such-field", "such as _SYSTEMD_UNIT, PRIORITY, _COMM: journalctl -o verbose shows them",
				"no journal entry has a field %q: their names are capitals, digits and _", field)
		}
		missing := "no"
		r.attribute(v.node, "ignore_if_missing", &missing, "yes", "no")
		if p := r.pcre(v); p != nil {
			l.Filters = append(l.Filters, Filter{Field: field, Pattern: p, Text: v.text, Missing: missing == "yes"})
		}
	}
}

func journalField(name string) bool {
	return len(name) <= 64 && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

// lines reads <ignore> or <restrict>.
func (r *reader) lines(f fields, name string) []Line {
	var out []Line
	for _, v := range f.all[name] {
		kind := "pcre2"
		r.attribute(v.node, "type", &kind, "osregex", "osmatch", "pcre2")
		syntax := map[string]pattern.Syntax{"osregex": pattern.OSRegex, "osmatch": pattern.OSMatch, "pcre2": pattern.PCRE2}[kind]
		if p := r.compile(syntax, v); p != nil {
			out = append(out, Line{Pattern: p, Syntax: syntax, Text: v.text})
		}
	}
	return out
}

func (r *reader) pcre(v value) *pattern.Pattern { return r.compile(pattern.PCRE2, v) }

func (r *reader) compile(s pattern.Syntax, v value) *pattern.Pattern {
	p, err := pattern.Compile(s, r.dialect, v.text, false)
	if err != nil {
		r.badPattern(v, err)
		return nil
	}
	return p
}
