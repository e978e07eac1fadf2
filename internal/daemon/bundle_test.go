package daemon

import (
	"strings"
	"testing"
	"time"

	"riposte"
	"riposte/internal/fleet"
	"riposte/internal/ossec"
	"riposte/internal/ossec/conf"
	"riposte/internal/response"
)

// TestResponsesTravel: what a server's configuration answers on the host that saw
// it, an agent answers by the bundle, and nothing else.
func TestResponsesTravel(t *testing.T) {
	const text = `<ossec_config>
  <command><name>drop</name><executable>firewall-drop.sh</executable><expect>srcip</expect></command>
  <command><name>own</name><executable>own.sh</executable></command>
  <active-response><command>drop</command><location>local</location><level>10</level><rules_group>sshd|^web$</rules_group>
    <timeout>60</timeout><repeated_offenders>5,10</repeated_offenders></active-response>
  <active-response><command>own</command><location>local</location><rules_id>7, 8</rules_id></active-response>
  <active-response><command>drop</command><location>all</location><level>1</level></active-response>
</ossec_config>`
	made := 0
	for _, dialect := range []ossec.Dialect{ossec.OSSEC, ossec.Wazuh} {
		cfg, _ := conf.Parse("ossec.conf", []byte(text), dialect)
		if cfg == nil || len(cfg.Responses) != 3 {
			t.Fatalf("%v: %+v", dialect, cfg)
		}
		sent, err := fleet.Encode(fleet.Bundle{Responses: localResponses(cfg.Responses), Dialect: dialect.String()})
		if err != nil {
			t.Fatal(err)
		}
		var got fleet.Bundle
		if err := fleet.Decode(sent, &got); err != nil {
			t.Fatal(err)
		}
		there, d, err := bundleResponses(&got)
		if err != nil || d != dialect || len(there) != 2 {
			t.Fatalf("%v: %+v %v", dialect, there, err)
		}
		ids := &response.IDs{}
		server, agent := response.New(cfg, dialect, ids), response.New(&conf.Config{Responses: there}, d, ids)
		for _, rule := range []riposte.Rule{
			{ID: 1, Level: 12, Groups: "x,sshd,"}, {ID: 1, Level: 12, Groups: "mail,"}, {ID: 1, Level: 3, Groups: "sshd,"}, {ID: 8, Level: 3}, {ID: 9, Level: 3},
			{ID: 7, Level: 12, Groups: "sshd,"}, {ID: 7, Level: 12, Groups: "sshd,", NoAR: true},
		} {
			for _, fields := range [][]riposte.Field{nil, {{Name: "srcip", Value: "203.0.113.9"}}} {
				alert := &riposte.Alert{Time: time.Unix(1, 0), Rule: rule, Fields: fields}
				var want []riposte.Order
				all, _ := server.Plan(alert)
				for _, o := range all {
					if o.Place.Local {
						want = append(want, o)
					}
				}
				orders, _ := agent.Plan(alert)
				if len(orders) != len(want) {
					t.Fatalf("%v: rule %+v, %v: %d orders, the server would make %d", dialect, rule, fields, len(orders), len(want))
				}
				made += len(orders)
				for i, o := range orders {
					w := want[i]
					if o.Command.Name != w.Command.Name || o.Command.Executable != w.Command.Executable || o.Target != w.Target || o.Timeout != w.Timeout || len(o.Ladder) != len(w.Ladder) {
						t.Errorf("%v: rule %+v: %+v, the server would say %+v", dialect, rule, o, w)
					}
				}
			}
		}
	}
	if made < 10 {
		t.Errorf("only %d orders were compared", made)
	}
}

func TestBundleThatCannotBeUsed(t *testing.T) {
	drop := riposte.Command{Name: "drop", Executable: "firewall-drop.sh"}
	for _, x := range []struct {
		what   string
		bundle fleet.Bundle
		want   string
	}{
		{"no dialect", fleet.Bundle{Responses: []fleet.Response{{Command: drop, Level: 1}}}, "dialect"},
		{"no name", fleet.Bundle{Dialect: "wazuh", Responses: []fleet.Response{{Level: 1}}}, "expected a name"},
		{"a time below zero", fleet.Bundle{Dialect: "wazuh", Responses: []fleet.Response{{Command: drop, Level: 1, Timeout: -1}}}, "below zero"},
		{"a step of nothing", fleet.Bundle{Dialect: "wazuh", Responses: []fleet.Response{{Command: drop, Level: 1, Ladder: []time.Duration{0}}}}, "below zero"},
		{"a group that is no expression", fleet.Bundle{Dialect: "ossec", Responses: []fleet.Response{{Command: drop, Groups: []string{"(" + strings.Repeat("a", 1<<20)}}}}, "group"},
		{"an entry that is no address", fleet.Bundle{Allow: []string{"10.0.0.0/99"}}, "allow list"},
		{"a prefix of -1", fleet.Bundle{WidestV4: -1}, "widest"},
	} {
		if err := checkBundle(&x.bundle); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want words with %q", x.what, err, x.want)
		}
	}
	if err := checkBundle(&fleet.Bundle{}); err != nil {
		t.Errorf("the bundle of a server that knows of no responses: %v", err)
	}
	if rs, _, err := bundleResponses(&fleet.Bundle{Dialect: "wazuh", Responses: []fleet.Response{}}); rs == nil || len(rs) != 0 || err != nil {
		t.Errorf("a server without local responses: %v, %v", rs, err)
	}
}
