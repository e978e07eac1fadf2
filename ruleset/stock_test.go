package ruleset_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"riposte"
	"riposte/internal/alertlog"
	"riposte/internal/analysis"
	"riposte/internal/ossec"
	rules "riposte/internal/ossec/ruleset"
	"riposte/internal/ossec/suite"
)

// conformance finds the data of the real systems.
func conformance(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("RIPOSTE_CONFORMANCE")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "conformance")
	}
	if _, err := os.Stat(filepath.Join(dir, "README.md")); err != nil {
		t.Skipf("no data of the real systems (%v): set RIPOSTE_CONFORMANCE", err)
	}
	return dir
}

// The lines that riposte writes into active-responses.log are read by the stock
// decoders and rules of both systems, and by riposte's own, as what they are.
func TestResponsesAreReadByStockRules(t *testing.T) {
	dir := conformance(t)
	type line struct {
		executable string
		action     riposte.Action
		rule       int // in OSSEC; 50 more in Wazuh's JSON
	}
	for _, d := range dialects {
		stock := stockRules(t, dir, d)
		own := load(t, d)
		for _, l := range []line{
			{"firewall-drop.sh", riposte.Add, 601}, {"firewall-drop.sh", riposte.Delete, 602},
			{"host-deny.sh", riposte.Add, 603}, {"host-deny.sh", riposte.Delete, 604},
			{"route-null.sh", riposte.Add, 605}, {"route-null.sh", riposte.Delete, 606},
			{"disable-account.sh", riposte.Add, 607},
		} {
			want := l.rule
			if d == ossec.Wazuh {
				want += 50
			}
			r := alertlog.Response{Time: noon, Host: "web1", Action: l.action, Order: &riposte.Order{
				Command: riposte.Command{Name: "x", Executable: l.executable},
				Target:  riposte.Target{Kind: riposte.Address, Value: "203.0.113.9"},
				Alert: &riposte.Alert{ID: "1304756247.60385", Time: noon, Rule: riposte.Rule{ID: 5712, Level: 10},
					FullLog: `x "command":"delete" "data":{"srcip":"198.51.100.99"`, Fields: []riposte.Field{{Name: "srcip", Value: "203.0.113.9"}}},
			}}
			text := strings.TrimSuffix(string(alertlog.AppendResponse(nil, &r, d)), "\n")
			for name, set := range map[string]*rules.Set{"stock": stock, "built-in": own} {
				if d == ossec.OSSEC && name == "stock" && l.rule == 607 {
					continue // Wazuh's only
				}
				v := analysis.New(set, analysis.Options{Host: "test"}).Test(&riposte.Event{Time: noon, Location: "stdin", Text: text}, false)
				if v.Rule == nil || v.Rule.ID != want {
					t.Errorf("%s, %s: rule %s, expected %d: %s", d, name, ruleID(&v), want, text)
				}
				if ip, _ := v.Record.Field("srcip"); d == ossec.OSSEC && ip != "203.0.113.9" || name == "stock" && ip != "203.0.113.9" {
					t.Errorf("%s, %s: address %q is read from %s", d, name, ip, text)
				}
			}
			r.Failed = "203.0.113.9 is on the allow list"
			text = strings.TrimSuffix(string(alertlog.AppendResponse(nil, &r, d)), "\n")
			v := analysis.New(stock, analysis.Options{Host: "test"}).Test(&riposte.Event{Time: noon, Location: "stdin", Text: text}, false)
			if v.Rule != nil && strings.Contains(v.Rule.Groups, "active_response") {
				t.Errorf("%s: a failure is read as a response by rule %d: %s", d, v.Rule.ID, text)
			}
		}
	}
}

// Where riposte has a rule of the real systems' id, it mostly gives their
// verdict on their own samples. docs/rules.md says where it means to differ.
func TestAgreement(t *testing.T) {
	dir := conformance(t)
	for _, d := range dialects {
		set := load(t, d)
		file := filepath.Join(dir, d.String(), "cases.jsonl")
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all, findings := suite.Parse(file, src, d)
		for _, f := range findings {
			t.Fatal(f)
		}
		var cases []suite.Case
		for _, c := range all {
			id, err := strconv.Atoi(c.Want.Rule)
			if err != nil || c.Negate || strings.HasPrefix(c.File, "win") {
				continue // the suite's Windows events are JSON of its own making
			}
			if _, ok := set.Rule(id); ok {
				cases = append(cases, c)
			}
		}
		r := suite.NewRunner(set, analysis.Options{Host: "test"}, noon).Run(cases)
		t.Logf("%s: %d of %d cases about rules that are here", d, r.Passed, len(cases))
		if r.Passed*10 < len(cases)*9 {
			for _, f := range r.Failures {
				t.Log(f)
			}
			t.Errorf("%s: only %d of %d cases agree", d, r.Passed, len(cases))
		}
	}
}

// stockRules loads a real system's whole ruleset.
func stockRules(t *testing.T, dir string, d ossec.Dialect) *rules.Set {
	t.Helper()
	opts, err := suite.Stock(dir, d, false)
	if err != nil {
		t.Fatal(err)
	}
	set, findings := rules.Load(opts)
	if set == nil {
		t.Fatal(findings)
	}
	return set
}
