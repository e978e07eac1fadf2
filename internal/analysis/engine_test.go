package analysis

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"riposte"
	"riposte/internal/ossec"
	"riposte/internal/ossec/conf"
	"riposte/internal/ossec/ruleset"
)

// stock loads a whole stock ruleset, as package suite does; it stands here
// because suite imports this package.
func stock(t testing.TB, d ossec.Dialect) *ruleset.Set {
	t.Helper()
	dir := shared(t, "RIPOSTE_CONFORMANCE", "conformance")
	var entries []conf.RuleEntry
	if d == ossec.Wazuh {
		dir = filepath.Join(dir, "wazuh")
		entries = []conf.RuleEntry{{Kind: conf.DecoderDir, Path: "decoders"}, {Kind: conf.RuleDir, Path: "rules"}}
	} else {
		dir = filepath.Join(dir, "ossec")
		entries = []conf.RuleEntry{{Kind: conf.DecoderFile, Path: "decoder.xml"}}
		data, err := os.ReadFile(filepath.Join(dir, "ossec-server.conf"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			line = strings.TrimSpace(line)
			if name, ok := strings.CutPrefix(line, "<include>"); ok {
				entries = append(entries, conf.RuleEntry{Kind: conf.RuleFile, Path: strings.TrimSuffix(name, "</include>")})
			}
		}
	}
	o, findings := ruleset.ReadFiles(dir, d, entries)
	if ossec.Failed(findings) {
		t.Fatal(findings)
	}
	set, findings := ruleset.Load(o)
	if set == nil {
		t.Fatal(findings)
	}
	return set
}

// corpus returns all lines of the visible samples.
func corpus(t testing.TB) []string {
	t.Helper()
	dir := shared(t, "RIPOSTE_CONFORMANCE", "conformance")
	var out []string
	for _, d := range []string{"ossec", "wazuh"} {
		f, err := os.Open(filepath.Join(dir, d, "cases.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		s := bufio.NewScanner(f)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			var c struct{ Lines []string }
			if err := json.Unmarshal(s.Bytes(), &c); err != nil {
				t.Fatal(err)
			}
			out = append(out, c.Lines...)
		}
		if err := s.Err(); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return out
}

// stream makes n events of the corpus, with repeats so that correlations fire.
func stream(lines []string, n int, seed uint64) []riposte.Event {
	rng := rand.New(rand.NewPCG(seed, 1))
	at := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	out := make([]riposte.Event, 0, n)
	for len(out) < n {
		line := lines[rng.IntN(len(lines))]
		for range 1 + rng.IntN(12)*rng.IntN(2) {
			at = at.Add(time.Duration(rng.IntN(2000)) * time.Millisecond)
			ev := riposte.Event{Text: line, Location: "/var/log/x", Time: at}
			if rng.IntN(3) == 0 {
				ev.Agent = riposte.Agent{ID: "00" + string(rune('1'+rng.IntN(3))), Name: "web", IP: "10.0.0.9"}
			}
			out = append(out, ev)
		}
	}
	return out[:n]
}

func show(a *riposte.Alert) string {
	if a == nil {
		return "-"
	}
	return fmt.Sprintf("%+v", *a)
}

// TestWorkers: the number of workers does not change what is emitted.
func TestWorkers(t *testing.T) {
	lines := corpus(t)
	for _, d := range []ossec.Dialect{ossec.Wazuh, ossec.OSSEC} {
		set := stock(t, d)
		events := stream(lines, 6000, 7)
		var want []string
		for _, workers := range []int{1, 2, 5} {
			var got []string
			done := 0
			p := NewPipeline(New(set, Options{Host: "host", Live: true}), workers, func(alerts []*riposte.Alert, b *riposte.Batch) error {
				for _, a := range alerts {
					got = append(got, show(a))
				}
				if b != nil {
					done++
				}
				return nil
			})
			in := make(chan riposte.Batch)
			go func() {
				defer close(in)
				for i := 0; i < len(events); i += 700 {
					in <- riposte.Batch{Events: events[i:min(i+700, len(events))]}
				}
			}()
			if err := p.Run(context.Background(), in); err != nil {
				t.Fatal(err)
			}
			if done != 9 {
				t.Errorf("%d batches done, want 9", done)
			}
			if workers == 1 {
				want = got
				t.Logf("%s: %d alerts of %d events", d, len(want), len(events))
				continue
			}
			if len(got) != len(want) {
				t.Fatalf("%s: %d alerts with %d workers, %d with one", d, len(got), workers, len(want))
			}
			for i := range got {
				if got[i] != want[i] {
					t.Fatalf("%s: alert %d with %d workers is\n%s\nand with one\n%s", d, i, workers, got[i], want[i])
				}
			}
		}
	}
}

// TestTrace: the walk without short cuts comes to the same verdicts.
func TestTrace(t *testing.T) {
	lines := corpus(t)
	for _, d := range []ossec.Dialect{ossec.Wazuh, ossec.OSSEC} {
		set := stock(t, d)
		events := stream(lines, 3000, 3)
		fast, slow := New(set, Options{Host: "host"}), New(set, Options{Host: "host"})
		for i := range events {
			a, b := fast.Test(&events[i], false), slow.Test(&events[i], true)
			if a.Rule != b.Rule || a.Alert != b.Alert || a.Fired != b.Fired || show(a.Record) != show(b.Record) {
				t.Fatalf("%s event %d %q:\nfast %v %s\nslow %v %s", d, i, events[i].Text, a.Rule, show(a.Record), b.Rule, show(b.Record))
			}
		}
	}
}

// TestAllocations: judging an event that comes to no alert allocates nothing.
func TestAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	for _, d := range []ossec.Dialect{ossec.Wazuh, ossec.OSSEC} {
		set := stock(t, d)
		e, live := New(set, Options{Host: "host"}), New(set, Options{Host: "host", Live: true})
		var quiet []riposte.Event
		for _, line := range corpus(t) {
			ev := riposte.Event{Text: line, Location: "/var/log/x", Time: time.Unix(1795413627, 0)}
			v := e.Test(&ev, false)
			if (v.Rule == nil || v.Rule.Level == 0) && live.Fresh().Analyse(&ev) == nil {
				quiet = append(quiet, ev)
			}
		}
		if len(quiet) < 100 {
			t.Fatalf("only %d quiet lines", len(quiet))
		}
		e = live
		for range 3 { // memory grows to what the lines need
			for i := range quiet {
				e.Analyse(&quiet[i])
			}
		}
		n := testing.AllocsPerRun(5, func() {
			for i := range quiet {
				e.Analyse(&quiet[i])
			}
		})
		t.Logf("%s: %.0f allocations for %d events", d, n, len(quiet))
		if n > 0 {
			t.Errorf("%s: %.0f allocations for %d events without an alert", d, n, len(quiet))
		}
	}
}
