package suite

import (
	"fmt"
	"io"
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
	Negate  bool     `json:"negate,omitempty"`
	Lines   []string `json:"lines"`
	Want    Want     `json:"want"`
	Got     Want     `json:"got"`
}

// String is the failure on one line.
func (f Failure) String() string {
	where := f.File
	if f.Line > 0 {
		where += ":" + strconv.Itoa(f.Line)
	}
	where += " [" + f.Section + "] " + f.Case
	if f.Negate {
		return fmt.Sprintf("%s: got %s, which it must not be: %.200q", where, f.Got, f.Lines[len(f.Lines)-1])
	}
	return fmt.Sprintf("%s: got %s, want %s: %.200q", where, f.Got, f.Want, f.Lines[len(f.Lines)-1])
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
		got, ok := r.one(c)
		if ok {
			out.Passed++
			continue
		}
		out.Failed++
		out.Failures = append(out.Failures, Failure{
			File: c.File, Line: c.Line, Section: c.Section, Case: c.Name, Negate: c.Negate, Lines: c.Lines, Want: c.Want, Got: got,
		})
	}
	return out
}

// one runs a case; ok says whether it came out as wanted.
func (r *Runner) one(c *Case) (got Want, ok bool) {
	e := r.engine.Fresh()
	for _, line := range c.Lines {
		if strings.TrimSpace(line) == "" {
			continue
		}
		v := e.Test(&riposte.Event{Text: line, Location: "stdin", Time: r.now}, false)
		got = Want{Decoder: v.Record.Decoder.Name}
		if v.Rule != nil {
			got.Rule, got.Level = strconv.Itoa(v.Rule.ID), strconv.Itoa(v.Rule.Level)
		}
	}
	if c.Exact {
		return got, got == c.Want
	}
	return got, r.equal(got, c.Want) != c.Negate
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
