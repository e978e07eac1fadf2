package ruleset

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"riposte/internal/ossec"
)

// conformance is the directory of the real systems' rulesets.
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

func sources(t testing.TB, patterns ...string) []Source {
	t.Helper()
	var out []Source
	for _, p := range patterns {
		names, err := filepath.Glob(p)
		if err != nil || len(names) == 0 {
			t.Fatalf("no files %s (%v)", p, err)
		}
		for _, n := range names {
			data, err := os.ReadFile(n)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, Source{Name: n, Data: data})
		}
	}
	return out
}

func stockOptions(t testing.TB, d ossec.Dialect) Options {
	dir := conformance(t)
	if d == ossec.OSSEC {
		return Options{
			Dialect: d, Decoders: sources(t, dir+"/ossec/decoder.xml"),
			Rules: sources(t, dir+"/ossec/rules/rules_config.xml", dir+"/ossec/rules/[a-qs-z]*.xml"),
		}
	}
	o := Options{Dialect: d, Decoders: sources(t, dir+"/wazuh/decoders/*.xml"), Rules: sources(t, dir+"/wazuh/rules/*.xml")}
	for _, n := range []string{
		"audit-keys", "amazon/aws-eventnames", "security-eventchannel",
		"malicious-ioc/malware-hashes", "malicious-ioc/malicious-ip", "malicious-ioc/malicious-domains",
	} {
		data, err := os.ReadFile(filepath.Join(dir, "wazuh/lists", n))
		if err != nil {
			t.Fatal(err)
		}
		o.Lists = append(o.Lists, List{Name: "etc/lists/" + n, Data: data})
	}
	return o
}

func TestStock(t *testing.T) {
	f := func(d ossec.Dialect, decoders, rules int) {
		t.Helper()
		start := time.Now()
		set, findings := Load(stockOptions(t, d))
		for _, f := range findings {
			t.Log(f)
		}
		if set == nil {
			t.Fatal("not loaded")
		}
		t.Logf("%s: %d decoders, %d rules, %d nodes, %d histories in %v", d, len(set.Decoders), len(set.Rules), set.Nodes(), len(set.Watches), time.Since(start))
		if len(set.Decoders) != decoders || len(set.Rules) != rules {
			t.Errorf("%s: %d decoders and %d rules, want %d and %d", d, len(set.Decoders), len(set.Rules), decoders, rules)
		}
	}
	f(ossec.Wazuh, 1575, 4511)
	f(ossec.OSSEC, 335, 1300)
}
