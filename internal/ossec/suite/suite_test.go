package suite

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"riposte/internal/analysis"
	"riposte/internal/ossec"
	"riposte/internal/ossec/ruleset"
)

func conformance(t testing.TB) string {
	dir := os.Getenv("RIPOSTE_CONFORMANCE")
	if dir == "" {
		dir = "../../../../shared/conformance"
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no conformance data: set RIPOSTE_CONFORMANCE")
	}
	return dir
}

func stockSet(t testing.TB, d ossec.Dialect) *ruleset.Set {
	t.Helper()
	o, err := Stock(conformance(t), d, true)
	if err != nil {
		t.Fatal(err)
	}
	set, findings := ruleset.Load(o)
	for _, f := range findings {
		if f.Severity == ossec.Error {
			t.Error(f)
		}
	}
	if set == nil {
		t.Fatal("not loaded")
	}
	return set
}

// TestConformance runs every visible case of both suites on the whole stock
// rulesets: from cases.jsonl, where the real verdict is, and from the .ini
// files.
func TestConformance(t *testing.T) {
	f := func(d ossec.Dialect, name string) {
		t.Helper()
		dir := filepath.Join(conformance(t), name)
		run := NewRunner(stockSet(t, d), analysis.Options{Host: "host"}, time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))
		src, err := os.ReadFile(filepath.Join(dir, "cases.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		cases, findings := ParseJSONL("cases.jsonl", src)
		if ossec.Failed(findings) {
			t.Fatal(findings)
		}
		r := run.Run(cases)
		for _, f := range r.Failures {
			t.Error(f)
		}
		t.Logf("%s cases.jsonl: %d passed, %d failed", name, r.Passed, r.Failed)
		stale := staleCases(t, src)
		files, err := filepath.Glob(filepath.Join(dir, "tests/*.ini"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no suites: %v", err)
		}
		var all []Case
		for _, file := range files {
			if strings.HasSuffix(file, "geoip.ini") {
				continue // as the real runner does: they need a database of places
			}
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cases, findings := ParseINI(filepath.Base(file), src, d)
			if ossec.Failed(findings) {
				t.Fatal(findings)
			}
			all = append(all, cases...)
		}
		r = run.Run(all)
		for _, f := range r.Failures {
			if !stale[f.File+f.Section+f.Case] {
				t.Error(f)
			}
		}
		t.Logf("%s tests/*.ini: %d passed, %d failed, %d of them by the real system too", name, r.Passed, r.Failed, len(stale))
		if r.Failed != len(stale) {
			t.Errorf("%s: %d cases fail, of which the real system fails %d", name, r.Failed, len(stale))
		}
	}
	f(ossec.Wazuh, "wazuh")
	f(ossec.OSSEC, "ossec")
}

// staleCases are the cases that the real system fails itself.
func staleCases(t *testing.T, src []byte) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for line := range bytes.Lines(src) {
		var c struct {
			File, Section, Case string
			Passes              bool `json:"real_system_passes"`
		}
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		if !c.Passes {
			out[c.File+c.Section+c.Case] = true
		}
	}
	return out
}
