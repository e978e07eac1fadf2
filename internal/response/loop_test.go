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

// Nor is one by any rule about the log of responses, which riposte itself
// writes: a rule of the operator's own need not be of that group.
func TestNoAnswerToTheOwnLog(t *testing.T) {
	cfg, found := conf.Parse("ossec.conf", []byte(`<ossec_config>
<command><name>fw</name><executable>firewall-drop</executable><expect>srcip</expect><timeout_allowed>yes</timeout_allowed></command>
<active-response><command>fw</command><location>local</location><level>1</level><timeout>60</timeout></active-response></ossec_config>`), ossec.Wazuh)
	if cfg == nil {
		t.Fatal(found)
	}
	p := New(cfg, ossec.Wazuh, new(IDs))
	for location, answered := range map[string]bool{
		"/var/log/riposte/active-responses.log":                   false,
		"/var/ossec/logs/active-responses.log":                    false,
		"(web-01) 10.0.0.9->/var/ossec/logs/active-responses.log": false,
		`C:\ProgramData\riposte\log\active-responses.log`:         false,
		"/var/log/inactive-responses.log":                         true,
		"/var/log/auth.log":                                       true,
		"active-responses.log":                                    true, // no path of a file
		"":                                                        true,
	} {
		orders, skipped := p.Plan(&riposte.Alert{
			Rule: riposte.Rule{ID: 100100, Level: 10, Groups: "local,"}, Location: location,
			Fields: []riposte.Field{{Name: "srcip", Value: "198.51.100.7"}},
		})
		if len(orders) == 1 != answered || len(skipped) == 1 == answered {
			t.Errorf("%s: orders %v, skipped %v", location, orders, skipped)
		}
	}
}
