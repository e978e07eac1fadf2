package ruleset_test

import (
	"testing"

	"riposte"
	"riposte/internal/analysis"
	"riposte/internal/ossec"
	rules "riposte/internal/ossec/ruleset"
)

// What a server says of its agents is read by the stock rules of both systems,
// and by riposte's own, as what it is. OSSEC has no rule about removal.
func TestNoticesAreReadByStockRules(t *testing.T) {
	dir := conformance(t)
	for _, d := range dialects {
		stock := stockRules(t, dir, d)
		for name, set := range map[string]*rules.Set{"stock": stock, "built-in": load(t, d)} {
			engine := analysis.New(set, analysis.Options{Host: "test"})
			for _, x := range []struct {
				text string
				want int
			}{
				{"ossec: Agent started: 'web-01->10.0.0.9'.", 501},
				{"ossec: Agent started: 'web-01->10.0.0.9'.", 503},
				{"ossec: Agent disconnected: 'web-01-10.0.0.9'.", 504},
				{"ossec: Agent removed: 'web-01-any'.", 505},
			} {
				if name == "stock" && d == ossec.OSSEC && x.want == 505 {
					continue
				}
				e := riposte.Event{Time: noon, Location: d.String() + "-monitord", Text: x.text, Agent: riposte.Agent{ID: "001", Name: "web-01", IP: "10.0.0.9"}}
				if a := engine.Analyse(&e); a == nil || a.Rule.ID != x.want {
					t.Errorf("%s, %s: %+v, expected rule %d: %s", d, name, a, x.want, x.text)
				}
			}
		}
	}
}
