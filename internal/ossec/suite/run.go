package suite

import (
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"riposte"
	"riposte/internal/analysis"
	"riposte/internal/ossec"
	"riposte/internal/ossec/ruleset"
)

// Result is what came of a suite.
type Result struct {
	Passed   int       `json:"passed"`
	Failed   int       `json:"failed"`
	Failures []Failure `json:"failures,omitempty"`
}

// Failure is one case that did not come out as wanted.
type Failure struct {
	File    string   `json:"file"`
	Line    int      `json:"line,omitempty"`
	Section string   `json:"section,omitempty"`
	Case    string   `json:"case,omitempty"`
	Lines   []string `json:"lines"`
	Reason  string   `json:"reason"` // what was got and what was wanted
}

// String is the failure on one line.
func (f Failure) String() string {
	where := f.File
	if f.Line > 0 {
		where += ":" + strconv.Itoa(f.Line)
	}
	if f.Section != "" || f.Case != "" {
		where += " [" + f.Section + "] " + f.Case
	}
	return fmt.Sprintf("%s: %s: %.200q", where, f.Reason, f.Lines[len(f.Lines)-1])
}

// Write prints one line a failure and the counts last.
func (r *Result) Write(w io.Writer) error {
	for _, f := range r.Failures {
		if _, err := fmt.Fprintln(w, f); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%d passed, %d failed\n", r.Passed, r.Failed)
	return err
}

// Runner runs cases against a ruleset, each in a session of its own.
type Runner struct {
	dialect ossec.Dialect
	engine  *analysis.Engine // of which each session is a fresh copy
	now     time.Time

	// Responses names the commands that answer an alert. Nil: cases that want
	// responses fail.
	Responses func(*riposte.Alert) []string
}

// NewRunner returns a runner. Events are read at the time now.
func NewRunner(set *ruleset.Set, o analysis.Options, now time.Time) *Runner {
	return &Runner{dialect: set.Dialect, engine: analysis.New(set, o), now: now}
}

// Run runs the cases and adds them up.
func (r *Runner) Run(cases []Case) Result {
	var out Result
	for i := range cases {
		c := &cases[i]
		if c.Only != "" && c.Only != r.dialect.String() {
			continue
		}
		reason := r.one(c)
		if reason == "" {
			out.Passed++
			continue
		}
		out.Failed++
		out.Failures = append(out.Failures, Failure{
			File: c.File, Line: c.Line, Section: c.Section, Case: c.Name, Lines: c.Lines, Reason: reason,
		})
	}
	return out
}

// one runs a case and says what is wrong, nothing when it came out as wanted.
func (r *Runner) one(c *Case) string {
	e := r.engine.Fresh()
	var v analysis.Verdict
	var got Want
	for ev := range r.events(c) {
		v = e.Test(&ev, false)
		got = Want{Decoder: v.Record.Decoder.Name}
		if v.Rule != nil {
			got.Rule, got.Level = strconv.Itoa(v.Rule.ID), strconv.Itoa(v.Rule.Level)
		}
	}
	var wrong string
	switch {
	case c.Partial:
		wrong = r.partial(c, got, &v)
	case c.Exact && got != c.Want, !c.Exact && !r.equal(got, c.Want):
		wrong = fmt.Sprintf("got %s, want %s", got, c.Want)
	}
	switch {
	case !c.Negate:
		return wrong
	case wrong == "":
		return fmt.Sprintf("got %s, which it must not be", got)
	}
	return ""
}

// events are the events of a case's session.
func (r *Runner) events(c *Case) iter.Seq[riposte.Event] {
	return func(yield func(riposte.Event) bool) {
		events, now := c.events, r.now
		if events == nil {
			for _, line := range c.Lines {
				events = append(events, event{text: line, times: 1})
			}
		}
		for _, e := range events {
			now = now.Add(e.wait)
			ev := riposte.Event{Text: e.text, Location: "stdin", Time: now}
			if e.location != "" {
				ev.Location = e.location
			}
			if e.channel {
				ev.Format = riposte.FormatEventChannel
			}
			if strings.TrimSpace(e.text) == "" {
				continue
			}
			for range e.times {
				if !yield(ev) {
					return
				}
			}
		}
	}
}

// equal compares as the log test of the dialect does: a verdict with an empty
// part never counts as met.
func (r *Runner) equal(got, want Want) bool {
	if want.Rule == "" || want.Level == "" || want.Decoder == "" {
		return false
	}
	if r.dialect == ossec.OSSEC {
		return got.Rule == want.Rule && got.Level == want.Level && strings.EqualFold(got.Decoder, want.Decoder)
	}
	return got == want
}

// partial compares what a case of riposte's own format asks for.
func (r *Runner) partial(c *Case, got Want, v *analysis.Verdict) string {
	var wrong []string
	check := func(what, got, want string) {
		if want != "" && want != got && !(want == "none" && got == "") {
			wrong = append(wrong, fmt.Sprintf("%s is %s, want %s", what, orNone(got), want))
		}
	}
	check("decoder", got.Decoder, c.Want.Decoder)
	check("rule", got.Rule, c.Want.Rule)
	check("level", got.Level, c.Want.Level)
	if slices.Contains(c.Never, got.Rule) {
		wrong = append(wrong, fmt.Sprintf("rule is %s, which it must not be", got.Rule))
	}
	for _, f := range c.Fields {
		value := ""
		if v.Record != nil {
			value, _ = v.Record.Field(f.Name)
		}
		if value != f.Value {
			wrong = append(wrong, fmt.Sprintf("field %s is %q, want %q", f.Name, value, f.Value))
		}
	}
	if c.Alert != nil && *c.Alert != v.Alert {
		wrong = append(wrong, fmt.Sprintf("alert is %v, want %v", v.Alert, *c.Alert))
	}
	if len(c.Responses) > 0 {
		if w := r.responses(c, v); w != "" {
			wrong = append(wrong, w)
		}
	}
	return strings.Join(wrong, "; ")
}

func (r *Runner) responses(c *Case, v *analysis.Verdict) string {
	var got []string
	if v.Rule != nil && v.Rule.Level > 0 && !v.Ignored {
		if r.Responses == nil {
			return "responses are not known here: give the configuration"
		}
		got = r.Responses(v.Record)
	}
	want := slices.Clone(c.Responses)
	if slices.Equal(want, []string{"none"}) {
		want = nil
	}
	sort := func(s []string) []string { s = slices.Clone(s); slices.Sort(s); return slices.Compact(s) }
	if !slices.Equal(sort(got), sort(want)) {
		return fmt.Sprintf("responses are %s, want %s", orNone(strings.Join(sort(got), ", ")), orNone(strings.Join(sort(want), ", ")))
	}
	return ""
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
