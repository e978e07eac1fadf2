package response

import (
	"strings"
	"testing"

	"riposte"
	"riposte/internal/ossec"
	"riposte/internal/ossec/conf"
)

// An alert about a response is never answered, whatever a configuration binds
// to it: the answer's own log would call for the next one.
func TestNoAnswerToAnAnswer(t *testing.T) {
	for _, selector := range []string{"<level>1</level>", "<rules_id>651</rules_id>", "<rules_group>active_response</rules_group>"} {
		cfg, found := conf.Parse("ossec.conf", []byte(`<ossec_config>
<command><name>fw</name><executable>firewall-drop</executable><expect>srcip</expect><timeout_allowed>yes</timeout_allowed></command>
<active-response><command>fw</command><location>local</location>`+selector+`<timeout>60</timeout></active-response></ossec_config>`), ossec.Wazuh)
		if cfg == nil {
			t.Fatal(found)
		}
		p := New(cfg, ossec.Wazuh, new(IDs))
		a := &riposte.Alert{
			Rule:   riposte.Rule{ID: 651, Level: 3, Groups: "ossec,active_response,"},
			Fields: []riposte.Field{{Name: "srcip", Value: "198.51.100.7"}},
		}
		orders, skipped := p.Plan(a)
		if len(orders) != 0 || len(skipped) != 1 || !strings.Contains(skipped[0].Reason, "never end") {
			t.Errorf("%s: orders %v, skipped %v", selector, orders, skipped)
		}
		if p.Answers(&a.Rule) {
			t.Errorf("%s: the rule counts as answered", selector)
		}
	}
}
