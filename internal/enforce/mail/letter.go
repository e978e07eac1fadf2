package mail

import (
	"fmt"
	"strings"
	"time"

	"riposte/internal/enforce"
)

// The bounds on what of an alert is mailed, in bytes.
const (
	maxSubject = 180
	maxValue   = 2 << 10
	maxRecord  = 32 << 10
	maxEarlier = 20 // records
)

// letter is what is said to every recipient.
type letter struct {
	from, subject, body string
	date                time.Time
}

// write puts the alert in words. All that comes from a log is made visible, and
// every line of it is indented, so that none can pass for a line of riposte's.
func write(e *enforce.Effect, from, host string) *letter {
	l := &letter{from: from, date: time.Now()}
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-10s %s\n", name, enforce.OneLine(value, maxValue))
		}
	}
	fmt.Fprintf(&b, "Riposte on %s answers with the response %q.\n\n", enforce.OneLine(host, 200), enforce.OneLine(e.Command.Name, 200))
	a := e.Alert
	if a == nil {
		l.subject = subject("[riposte] %s: %s by hand", host, e.Command.Name)
		line("By", e.By)
		line("Target", e.Target.Value)
		l.body = b.String()
		return l
	}
	l.subject = subject("[riposte] %s: level %d, rule %d: %s", host, a.Rule.Level, a.Rule.ID, a.Rule.Description)
	line("Rule", fmt.Sprintf("%d, level %d: %s", a.Rule.ID, a.Rule.Level, a.Rule.Description))
	line("Groups", strings.Join(a.Rule.GroupList(), ", "))
	line("Time", a.Time.Format(time.RFC1123Z))
	line("Location", a.Location)
	line("Host", a.Hostname)
	if !a.Agent.Local() {
		line("Agent", fmt.Sprintf("%s %s %s", a.Agent.ID, a.Agent.Name, a.Agent.IP))
	}
	line("Alert", a.ID)
	line("Target", e.Target.Value)
	if len(a.Fields) > 0 {
		b.WriteString("\nFields\n")
		for _, f := range a.Fields {
			fmt.Fprintf(&b, "    %s: %s\n", enforce.OneLine(f.Name, 200), enforce.OneLine(f.Value, maxValue))
		}
	}
	b.WriteString("\nRecord\n")
	b.WriteString(indented(a.FullLog))
	if len(a.Previous) > 0 {
		b.WriteString("\nEarlier records\n")
		for i, p := range a.Previous {
			if i == maxEarlier {
				fmt.Fprintf(&b, "    … and %d more\n", len(a.Previous)-i)
				break
			}
			b.WriteString(indented(enforce.Cut(p, maxValue)))
		}
	}
	l.body = b.String()
	return l
}

// subject leaves nothing in a subject that a reader's program would decode
// (RFC 2047).
func subject(format string, a ...any) string {
	return strings.ReplaceAll(enforce.OneLine(fmt.Sprintf(format, a...), maxSubject), "=?", "= ?")
}

func indented(record string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(enforce.Visible(enforce.Cut(record, maxRecord)), "\n") {
		b.WriteString("    " + line + "\n")
	}
	return b.String()
}
