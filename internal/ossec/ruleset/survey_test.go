package ruleset

import (
	"strings"
	"testing"

	"riposte/internal/ossec"
)

func TestSurvey(t *testing.T) {
	set, findings := Load(Options{
		Dialect: ossec.Wazuh,
		Decoders: []Source{{Name: "d.xml", Data: []byte(`
<decoder name="app"><program_name>^app$</program_name></decoder>
<decoder name="app-child"><parent>app</parent><prematch>^x</prematch><regex>^x from (\S+)</regex><order>srcip</order></decoder>
<decoder name="loose"><program_name>^loose$</program_name></decoder>
<decoder name="loose-child"><parent>loose</parent><regex>from (\S+) </regex><order>srcip</order></decoder>
`)}},
		Rules: []Source{{Name: "r.xml", Data: []byte(`
<group name="syslog,">
<rule id="1" level="0" noalert="1"><category>syslog</category><description>root</description></rule>
<rule id="100" level="3"><decoded_as>app</decoded_as><description>app</description></rule>
<rule id="101" level="3"><decoded_as>app-child</decoded_as><description>a renamed child</description></rule>
<rule id="102" level="9"><if_sid>100</if_sid><match>failed</match><description>failed</description></rule>
<rule id="103" level="5"><if_sid>100</if_sid><match>failed</match><user>bob</user><description>shadowed</description></rule>
<rule id="104" level="5"><if_sid>100</if_sid><match>other</match><description>other</description></rule>
<rule id="105" level="0" frequency="3" timeframe="60"><if_matched_sid>102</if_matched_sid><description>counts, level 0</description></rule>
</group>`)}},
	})
	if set == nil {
		t.Fatal(findings)
	}
	got := map[string][]string{}
	for _, f := range set.Survey() {
		got[f.Code] = append(got[f.Code], f.Message)
	}
	for code, words := range map[string][]string{
		"dead-rule":      {"rule 101", "rule 105"},
		"shadowed-rule":  {"rule 103"},
		"unsafe-decoder": {`"loose-child" reads srcip`},
	} {
		if len(got[code]) != len(words) {
			t.Errorf("%s: got %q, want %d", code, got[code], len(words))
			continue
		}
		for i, w := range words {
			if !strings.Contains(got[code][i], w) {
				t.Errorf("%s: got %q, want %q", code, got[code][i], w)
			}
		}
	}
}

func TestAnchored(t *testing.T) {
	for text, want := range map[string]bool{
		"^a": true, "a": false, "^a|^b": true, "^a|b": false, "(^a)|^b": true, `^a\|b`: true, "(?i)^a": true, "": false, "(a)": false, "^(a|b)": true,
	} {
		if got := anchored(text); got != want {
			t.Errorf("anchored(%q) = %v", text, got)
		}
	}
}
