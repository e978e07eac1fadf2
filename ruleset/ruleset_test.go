package ruleset_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"riposte"
	"riposte/internal/analysis"
	"riposte/internal/ossec"
	rules "riposte/internal/ossec/ruleset"
	"riposte/ruleset"
)

var dialects = []ossec.Dialect{ossec.Wazuh, ossec.OSSEC}

func sources(files []ruleset.File) []rules.Source {
	out := make([]rules.Source, len(files))
	for i, f := range files {
		out[i] = rules.Source(f)
	}
	return out
}

func load(t testing.TB, d ossec.Dialect) *rules.Set {
	t.Helper()
	dec, rul := ruleset.Files(d.String())
	set, findings := rules.Load(rules.Options{Dialect: d, Decoders: sources(dec), Rules: sources(rul)})
	for _, f := range findings {
		t.Errorf("%s: %s", d, f)
	}
	if set == nil {
		t.FailNow()
	}
	return set
}

func samples(t testing.TB) []ruleset.Case {
	t.Helper()
	var out []ruleset.Case
	for _, f := range ruleset.Samples() {
		cases, err := ruleset.ParseSamples(f.Name, f.Data)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, cases...)
	}
	return out
}

// Every file loads in its dialects without a remark.
func TestLoad(t *testing.T) {
	for _, d := range dialects {
		set := load(t, d)
		n := 0
		for range set.Rules {
			n++
		}
		t.Logf("%s: %d rules, %d decoders", d, n, len(set.Decoders))
	}
}

// Every sample gives what it says, in both dialects.
func TestSamples(t *testing.T) {
	for _, d := range dialects {
		b := newBench(load(t, d), d)
		n := 0
		for _, c := range samples(t) {
			if c.Only == "" || c.Only == d.String() {
				n++
				b.run(t, c)
			}
		}
		t.Logf("%s: %d cases", d, n)
	}
}

// bench runs cases one after the other. Building an engine takes longer than
// most cases, so one serves them all: a day passes between two cases, which no
// correlation spans, and each has a location of its own, which every first-time
// key holds.
type bench struct {
	d      ossec.Dialect
	engine *analysis.Engine
	now    time.Time
	cases  int
}

func newBench(set *rules.Set, d ossec.Dialect) *bench {
	return &bench{d: d, engine: analysis.New(set, analysis.Options{Host: "test"}), now: time.Date(2026, time.November, 23, 6, 0, 0, 0, time.UTC)}
}

// feed judges the events of a case and returns the last verdict.
func (b *bench) feed(events []ruleset.SampleEvent) analysis.Verdict {
	b.cases++
	b.now = b.now.Add(24 * time.Hour)
	var v analysis.Verdict
	for _, s := range events {
		b.now = b.now.Add(s.After)
		for range s.Times {
			ev := riposte.Event{Time: b.now, Location: fmt.Sprintf("case%d", b.cases), Text: s.Text}
			if s.Location != "" {
				ev.Location = s.Location
			}
			if s.Channel {
				ev.Format = riposte.FormatEventChannel
			}
			v = b.engine.Test(&ev, false)
			b.now = b.now.Add(time.Second / 10)
		}
	}
	return v
}

func (b *bench) run(t *testing.T, c ruleset.Case) {
	t.Helper()
	v := b.feed(c.Events)
	got, level := 0, 0
	if v.Rule != nil {
		got, level = v.Rule.ID, v.Rule.Level
	}
	where := fmt.Sprintf("%s:%d: %s", c.File, c.Line, b.d)
	if slices.Contains(c.Not, got) {
		t.Errorf("%s: rule %d fires on %q", where, got, c.Events[len(c.Events)-1].Text)
	}
	if !c.Want.Set {
		return
	}
	w := c.Want
	if got != w.Rule || w.Level >= 0 && level != w.Level {
		t.Errorf("%s: rule %d level %d, expected %d level %d: %q\nlog: %q decoder %q fields %v", where, got, level, w.Rule, w.Level,
			c.Events[len(c.Events)-1].Text, v.Log, v.Record.Decoder.Name, v.Record.Fields)
		return
	}
	if dec := v.Record.Decoder.Name; w.Decoder != "" && w.Decoder != "-" && dec != w.Decoder || w.Decoder == "-" && dec != "" {
		t.Errorf("%s: decoder %q, expected %s: %q", where, dec, w.Decoder, v.Log)
	}
	for _, f := range w.Fields {
		if value, _ := v.Record.Field(f.Name); value != f.Value {
			t.Errorf("%s: field %s is %q, expected %q: %q", where, f.Name, value, f.Value, v.Log)
		}
	}
}

// Each rule that can alert has a sample that fires it and one that misses it.
func TestEveryRuleHasSamples(t *testing.T) {
	for _, d := range dialects {
		fires, misses := map[int]bool{}, map[int]bool{}
		for _, c := range samples(t) {
			if c.Only != "" && c.Only != d.String() {
				continue
			}
			fires[c.Want.Rule] = true
			for _, id := range c.Not {
				misses[id] = true
			}
		}
		set := load(t, d)
		for _, r := range set.Rules {
			delete(fires, 0)
			if !r.NoAlert && !fires[r.ID] {
				t.Errorf("%s: rule %d (%s) has no sample that fires it", d, r.ID, r.Description)
			}
			if !r.NoAlert && !misses[r.ID] {
				t.Errorf("%s: rule %d (%s) has no sample that nearly fires it", d, r.ID, r.Description)
			}
			delete(fires, r.ID)
			delete(misses, r.ID)
		}
		for id := range misses {
			t.Errorf("%s: a sample is about rule %d, which is not there", d, id)
		}
	}
}

var _ = os.Getenv
var _ = regexp.MustCompile
var _ = strings.Cut
