package response

import (
	"fmt"
	"strings"
	"testing"

	"riposte/internal/ossec"
)

var rules = []Rule{
	{1002, 2, "syslog,errors,", false}, {5710, 5, "syslog,sshd,authentication_failed,invalid_login,", false},
	{5712, 10, "syslog,sshd,authentication_failures,", false}, {5715, 3, "syslog,sshd,authentication_success,", false},
	{1001, 0, "syslog,", false}, {9000, 9, "syslog,quiet,", true},
}

func TestExplain(t *testing.T) {
	for _, tt := range []struct {
		response string
		d        ossec.Dialect
		want     string
		findings string
	}{
		{"command fw; location all; timeout 700; repeated_offenders 30,60,120; level 5; rules_group authentication_failed,authentication_failures", ossec.Wazuh,
			"fw on every host, for 700 s (then 30, 60, 120 min), when rule level ≥ 5 and group is authentication_failed or authentication_failures; 2 loaded rules qualify: 5710, 5712", ""},
		{"command fw; location all; timeout 700; level 5; rules_group authentication_failed", ossec.OSSEC,
			"fw on every host, for 700 s, when rule level ≥ 5, or group is authentication_failed; 2 loaded rules qualify: 5710, 5712", ""},
		{"command z; location local; rules_id 10005", ossec.Wazuh,
			"z on the host of the alert, once, when rule is 10005; can never fire: no loaded rule has id 10005",
			"note no-such-rule: no loaded rule has id 10005; this response can never fire"},
		{"command z; location server; rules_id 1002, 10005", ossec.Wazuh,
			"z on the server, once, when rule is 1002 or 10005; 1 loaded rule qualifies: 1002", "note no-such-rule: no loaded rule has id 10005"},
		{"command fw; location defined-agent; agent_id 001; rules_group authentificaiton_failed", ossec.Wazuh,
			"fw on agent 001, until it is undone by hand, when group is authentificaiton_failed; can never fire: no loaded rule has the group authentificaiton_failed",
			"warning no-such-group: no loaded rule has the group authentificaiton_failed; this response can never fire did you mean authentication_failed?"},
		{"command fw; location local,defined-agent; agent_id 001,002; rules_group sshd,$", ossec.Wazuh,
			"fw on the host of the alert and agents 001 and 002, until it is undone by hand, when group matches sshd,$; can never fire: no loaded rule has the group sshd,$",
			"warning no-such-group: no loaded rule has groups that match sshd,$; this response can never fire"},
		{"command fw; location local; level 15", ossec.Wazuh,
			"fw on the host of the alert, until it is undone by hand, when rule level ≥ 15; can never fire: there is no loaded rule of which that is true",
			"warning never-fires: this response can never fire: there is no loaded rule of which that is true"},
		{"command fw; location local; level 12; rules_group sshd", ossec.Wazuh,
			"fw on the host of the alert, until it is undone by hand, when rule level ≥ 12 and group is sshd; can never fire: there is no loaded rule of which that is true",
			"warning never-fires: this response can never fire: there is no loaded rule of which that is true"},
		{"command fw; location local; rules_group quiet", ossec.Wazuh,
			"fw on the host of the alert, until it is undone by hand, when group is quiet; can never fire: rule 9000 has the option no_ar",
			"warning never-fires: this response can never fire: rule 9000 has the option no_ar"},
		{"command fw; location local; rules_id 1001", ossec.Wazuh,
			"fw on the host of the alert, until it is undone by hand, when rule is 1001; can never fire: rule 1001 has level 0",
			"warning never-fires: this response can never fire: rule 1001 has level 0"},
		{"command own; location local", ossec.Wazuh,
			"own on the host of the alert, once, when it is run by hand; can never fire: it is bound to no rule", ""},
	} {
		got, findings := planner(t, tt.d, tt.response).Explain(rules)
		if len(got) != 1 || got[0].String() != tt.want {
			t.Errorf("%s:\n got %v\nwant %s", tt.response, got, tt.want)
		}
		var said []string
		for _, f := range findings {
			said = append(said, strings.TrimSpace(fmt.Sprintf("%s %s: %s %s", f.Severity, f.Code, f.Message, f.Hint)))
		}
		if strings.Join(said, "\n") != tt.findings {
			t.Errorf("%s:\n got %s\nwant %s", tt.response, strings.Join(said, "\n"), tt.findings)
		}
	}
	// Without rules nothing is said about them.
	got, findings := planner(t, ossec.Wazuh, "command z; location local; rules_id 10005").Explain(nil)
	if got[0].String() != "z on the host of the alert, once, when rule is 10005" || findings != nil {
		t.Error(got, findings)
	}
	var many []Rule
	for i := range 41 {
		many = append(many, Rule{5700 + i, 8, "x,", false})
	}
	got, _ = planner(t, ossec.Wazuh, "command z; location local; level 8").Explain(many)
	if !strings.HasSuffix(got[0].String(), "41 loaded rules qualify: 5700, 5701, 5702, 5703, 5704, 5705, 5706, 5707, …") {
		t.Error(got[0])
	}
}
