package suite

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"riposte/internal/ossec"
	"riposte/internal/ossec/conf"
	"riposte/internal/ossec/ruleset"
	"riposte/internal/ossec/xml"
)

// stockLists are the lists of Wazuh's stock configuration.
var stockLists = []string{
	"audit-keys", "amazon/aws-eventnames", "security-eventchannel",
	"malicious-ioc/malware-hashes", "malicious-ioc/malicious-ip", "malicious-ioc/malicious-domains",
}

// Stock reads the whole stock ruleset of a dialect from a directory of
// conformance data (its README describes it). With tests the ruleset is
// prepared as Wazuh's own runner does: the rules and decoders of the suite are
// loaded as well, and rule 60000 takes the events of the json decoder.
func Stock(dir string, d ossec.Dialect, tests bool) (ruleset.Options, error) {
	if d == ossec.OSSEC {
		return stockOSSEC(filepath.Join(dir, "ossec"))
	}
	return stockWazuh(filepath.Join(dir, "wazuh"), tests)
}

func stockOSSEC(dir string) (ruleset.Options, error) {
	name := filepath.Join(dir, "ossec-server.conf")
	data, err := os.ReadFile(name)
	if err != nil {
		return ruleset.Options{}, fmt.Errorf("read the stock configuration: %w", err)
	}
	nodes, err := xml.Parse(name, data, ossec.OSSEC)
	if err != nil {
		return ruleset.Options{}, fmt.Errorf("read the stock configuration: %w", err)
	}
	entries := []conf.RuleEntry{{Kind: conf.DecoderFile, Path: "decoder.xml"}}
	for _, n := range nodes {
		for _, section := range n.Children {
			if section.Name != "rules" {
				continue
			}
			for _, e := range section.Children {
				if e.Name == "include" {
					entries = append(entries, conf.RuleEntry{Kind: conf.RuleFile, Path: e.Text, Pos: e.Pos})
				}
			}
		}
	}
	return checked(ruleset.ReadFiles(dir, ossec.OSSEC, entries))
}

func stockWazuh(dir string, tests bool) (ruleset.Options, error) {
	entries := []conf.RuleEntry{
		{Kind: conf.DecoderDir, Path: "decoders"},
		{Kind: conf.RuleDir, Path: "rules"},
		{Kind: conf.RuleExclude, Path: "0215-policy_rules.xml"},
	}
	if tests {
		entries = append(entries,
			conf.RuleEntry{Kind: conf.DecoderDir, Path: "test-ruleset", Pattern: "decoders.xml$"},
			conf.RuleEntry{Kind: conf.RuleDir, Path: "test-ruleset", Pattern: "rules.xml$"})
	}
	o, err := checked(ruleset.ReadFiles(dir, ossec.Wazuh, entries))
	if err != nil {
		return o, err
	}
	for _, n := range stockLists {
		data, err := os.ReadFile(filepath.Join(dir, "lists", n))
		if err != nil {
			return o, fmt.Errorf("read a stock list: %w", err)
		}
		o.Lists = append(o.Lists, ruleset.List{Name: "etc/lists/" + n, Data: data})
	}
	if tests {
		i := slices.IndexFunc(o.Rules, func(s ruleset.Source) bool { return filepath.Base(s.Name) == "0575-win-base_rules.xml" })
		if i < 0 {
			return o, fmt.Errorf("no 0575-win-base_rules.xml in %s", dir)
		}
		o.Rules[i].Data = openRule60000(o.Rules[i].Data)
	}
	return o, nil
}

// openRule60000 lets Windows events come in as JSON.
func openRule60000(data []byte) []byte {
	head, rest, ok := bytes.Cut(data, []byte(`<rule id="60000"`))
	if !ok {
		return data
	}
	body, tail, _ := bytes.Cut(rest, []byte("</rule>"))
	body = bytes.Replace(body, []byte("<category>ossec</category>"), nil, 1)
	body = bytes.Replace(body, []byte("<decoded_as>windows_eventchannel<"), []byte("<decoded_as>json<"), 1)
	return slices.Concat(head, []byte(`<rule id="60000"`), body, []byte("</rule>"), tail)
}

func checked(o ruleset.Options, findings []ossec.Finding) (ruleset.Options, error) {
	for _, f := range findings {
		if f.Severity == ossec.Error {
			return o, f
		}
	}
	return o, nil
}
