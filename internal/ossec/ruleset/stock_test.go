package ruleset

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"riposte/internal/ossec"
	"riposte/internal/ossec/conf"
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
		cfg, findings := conf.Load(dir+"/ossec/ossec-server.conf", d)
		if cfg == nil {
			t.Fatal(findings)
		}
		cfg.Rules = append(cfg.Rules, conf.RuleEntry{Kind: conf.DecoderFile, Path: "decoder.xml"})
		o, findings := FromConfig(dir+"/ossec", cfg)
		if ossec.Failed(findings) {
			t.Fatal(findings)
		}
		return o
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
			t.Errorf("the stock ruleset of %s: %s", d, f)
		}
		if set == nil {
			t.FailNow()
		}
		t.Logf("%s: %d decoders, %d rules, %d nodes, %d histories in %v", d, len(set.Decoders), len(set.Rules), set.Nodes(), len(set.Watches), time.Since(start))
		if len(set.Decoders) != decoders || len(set.Rules) != rules {
			t.Errorf("%s: %d decoders and %d rules, want %d and %d", d, len(set.Decoders), len(set.Rules), decoders, rules)
		}
	}
	f(ossec.Wazuh, 1575, 4511)
	f(ossec.OSSEC, 335, 1126)
}
