package response

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"riposte"
	"riposte/internal/ossec"
	"riposte/internal/ossec/conf"
)

// The commands of the specification's vectors.
const commands = `<ossec_config>
<command><name>z</name><executable>z.sh</executable><expect></expect><timeout_allowed>yes</timeout_allowed></command>
<command><name>fw</name><executable>fw.sh</executable><expect>srcip</expect><timeout_allowed>yes</timeout_allowed></command>
<command><name>da</name><executable>da.sh</executable><expect>user</expect><timeout_allowed>yes</timeout_allowed></command>
<command><name>fn</name><executable>fn.sh</executable><expect>filename</expect></command>
<command><name>own</name><executable>own.sh</executable></command>
<command><name>drop</name><executable>firewall-drop</executable></command>
`

// planner makes a planner of responses written as "name value; name value".
func planner(t *testing.T, d ossec.Dialect, responses ...string) *Planner {
	t.Helper()
	var b strings.Builder
	b.WriteString(commands)
	for _, r := range responses {
		b.WriteString("<active-response>")
		for pair := range strings.SplitSeq(r, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(pair), " ")
			fmt.Fprintf(&b, "<%s>%s</%s>", name, value, name)
		}
		b.WriteString("</active-response>\n")
	}
	b.WriteString("</ossec_config>")
	cfg, findings := conf.Parse("ossec.conf", []byte(b.String()), d)
	if cfg == nil {
		t.Fatal(findings)
	}
	return New(cfg, d, new(IDs))
}

// alert makes an alert of rule id with fields "name=value".
func alert(id, level int, groups string, fields ...string) *riposte.Alert {
	a := &riposte.Alert{Rule: riposte.Rule{ID: id, Level: level, Groups: groups}}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		a.Fields = append(a.Fields, riposte.Field{Name: name, Value: value, Dynamic: strings.ContainsAny(name, "._")})
	}
	return a
}

// ordered writes orders as "command target".
func ordered(orders []riposte.Order) string {
	var out []string
	for _, o := range orders {
		out = append(out, o.Command.Name+" "+o.Target.String())
	}
	return strings.Join(out, ", ")
}

// TestMatching is the specification's table 8.2. yes and no say which alerts
// are answered; wazuh is as ossec when empty.
func TestMatching(t *testing.T) {
	const law = "the seed page: rule in either group"
	a := func(id, level int, groups string) *riposte.Alert { return alert(id, level, groups) }
	for _, tt := range []struct {
		n            int
		response     string
		alerts       []*riposte.Alert
		ossec, wazuh string // y or n for each alert
		why          string // where riposte differs from the real systems
	}{
		{37, "level 7", []*riposte.Alert{a(1, 5, ""), a(1, 7, ""), a(1, 8, "")}, "nyy", "", ""},
		{38, "timeout 5", []*riposte.Alert{a(1, 5, ""), a(1, 8, "")}, "nn", "", ""},
		{39, "rules_group a_failed,a_failures", []*riposte.Alert{a(1, 5, "a_failed,"), a(1, 5, "a_failures,")}, "yy", "", law},
		{40, "rules_group a_failed,a_failures", []*riposte.Alert{a(1, 5, "x,a_failed,a_failures,")}, "y", "", ""},
		{41, "rules_group a_failed|a_failures", []*riposte.Alert{a(1, 5, "a_failed,"), a(1, 5, "a_failures,")}, "yy", "", ""},
		{42, "rules_group SSHD", []*riposte.Alert{a(1, 5, "sshd,")}, "y", "", ""},
		{43, "rules_group sshd$", []*riposte.Alert{a(1, 5, "syslog,sshd,")}, "n", "", ""},
		{43, "rules_group sshd,$", []*riposte.Alert{a(1, 5, "syslog,sshd,")}, "y", "", ""},
		{44, "level 8; rules_group a_failed", []*riposte.Alert{a(1, 5, "a_failed,"), a(1, 7, "other,"), a(1, 8, "other,"), a(1, 8, "a_failed,")}, "ynyy", "nnny", ""},
		{45, "level 8; rules_group g; rules_id 100", []*riposte.Alert{a(100, 3, "other,")}, "y", "", ""},
		{46, "rules_id 100100, 100108 ,100107", []*riposte.Alert{a(100100, 1, ""), a(100107, 1, ""), a(100108, 1, ""), a(100109, 1, "")}, "yyyn", "", "the list with an x in it is an error: conf's table"},
		{49, "rules_id 1", []*riposte.Alert{{Rule: riposte.Rule{ID: 1, Level: 5, NoAR: true}}}, "n", "", ""},
		{50, "rules_id 1", []*riposte.Alert{{Rule: riposte.Rule{ID: 1, Level: 5}, Log: false}}, "y", "", ""},
		{51, "rules_id 5716", []*riposte.Alert{a(5716, 5, ""), a(5720, 10, "")}, "yn", "", ""},
		{54, "rules_id 1", []*riposte.Alert{a(1, 0, "")}, "n", "", ""},
	} {
		for _, d := range []ossec.Dialect{ossec.OSSEC, ossec.Wazuh} {
			want := tt.ossec
			if d == ossec.Wazuh && tt.wazuh != "" {
				want = tt.wazuh
			}
			p := planner(t, d, "command z; location local; "+tt.response)
			got := ""
			for _, a := range tt.alerts {
				orders, skipped := p.Plan(a)
				unbound := p.Unbound(a)
				switch {
				case len(orders) == 1 && len(skipped)+len(unbound) == 0:
					got += "y"
				case len(orders) == 0 && len(skipped)+len(unbound) == 1:
					got += "n"
				default:
					got += "?"
				}
			}
			if got != want {
				t.Errorf("row %d in %s: %s, want %s (%s)", tt.n, d, got, want, tt.why)
			}
		}
	}
	// Row 52: two responses to one rule, both, in the order of the file.
	p := planner(t, ossec.Wazuh, "command fw; location local; level 7", "command z; location server; level 7")
	if orders, _ := p.Plan(alert(1, 7, "", "srcip=192.0.2.1")); ordered(orders) != "fw 192.0.2.1, z -" || orders[0].Alert != orders[1].Alert {
		t.Error(ordered(orders))
	}
}

// TestTargets is the specification's table 8.3 without its allow list, which
// is conf's, and what riposte adds.
func TestTargets(t *testing.T) {
	for _, tt := range []struct {
		n            int
		commands     string
		fields       []string
		ossec, wazuh string // orders; wazuh is as ossec when empty
		reason       string // of the first response that is skipped
		why          string // where riposte differs from the real systems
	}{
		{57, "fw", nil, "", "", "fw expects a source address, but the alert has none", "W sends it and the script fails"},
		{58, "z", []string{"srcip=192.0.2.1"}, "z -", "", "", ""},
		{59, "da", []string{"dstuser=bob"}, "da bob", "", "", ""},
		{60, "da", []string{"dstuser=b$x"}, "", "", `in field dstuser "b$x" holds a character that no user name has`, ""},
		{61, "fw z", []string{"srcip=1.2.3.4;id"}, "z -", "", `"1.2.3.4;id" is not an IP address`, "W sends neither"},
		{0, "fw", []string{"srcip=192.0.2.1", "dstuser=b$x"}, "fw 192.0.2.1", "", "", "W lets a bad user suppress it"},
		{62, "fw", []string{"srcip=::ffff:1.2.3.5"}, "fw 1.2.3.5", "", "", "W keeps the prefix and blocks IPv6"},
		{62, "fw", []string{"srcip=::FFFF:1.2.3.5"}, "fw 1.2.3.5", "", "", "O knows only lower case"},
		{63, "fw", []string{"srcip=2001:DB8::7"}, "fw 2001:db8::7", "", "", ""},
		{71, "fn", []string{"filename=/etc/my file;rm"}, "fn /etc/my file;rm", "", "", ""},
		{72, "da", []string{"dstuser=-", "srcuser=carol"}, "da carol", "", "", "W would act on the user -"},
		{0, "da", []string{"dstuser=-rf"}, "", "", "would be an option", "the real systems hand it to passwd"},
		{0, "fw", []string{"srcip=-"}, "", "", "the alert has none", ""},
		{0, "fw", []string{"srcip=evil.example"}, "", "", "is not an IP address", "the real systems hand names to iptables"},
		{0, "fw", []string{"srcip=0.0.0.0/0"}, "", "", "is not a single address", ""},
		{0, "fw", []string{"srcip=fe80::1%eth0"}, "", "", "zone", ""},
		{0, "fw", []string{"srcip=[2001:db8::1]"}, "fw 2001:db8::1", "", "", "the real systems refuse the brackets"},
		{0, "fw", []string{"src_ip=192.0.2.9"}, "fw 192.0.2.9", "", "", "the real systems know no src_ip"},
		{0, "fw", []string{"srcip=bad", "src_ip=192.0.2.9"}, "fw 192.0.2.9", "", "", ""},
		{0, "drop", []string{"win.eventdata.ipAddress=192.0.2.5", "srcip=192.0.2.6"}, "drop 192.0.2.6", "drop 192.0.2.5", "", ""},
		{0, "drop", []string{"win.eventdata.ipAddress=-", "win.eventdata.destinationIp=192.0.2.8"}, " ", "drop 192.0.2.8", "", ""},
		{0, "own", []string{"srcip=192.0.2.5"}, "own 192.0.2.5", "", "", ""},
		{0, "own", nil, "own -", "", "", "a script without expect is handed the whole alert"},
		{0, "drop", nil, "", "", "drop acts on a source address, but the alert has none (field ", ""},
	} {
		for _, d := range []ossec.Dialect{ossec.OSSEC, ossec.Wazuh} {
			want := tt.ossec
			if d == ossec.Wazuh && tt.wazuh != "" {
				want = tt.wazuh
			}
			var responses []string
			for c := range strings.FieldsSeq(tt.commands) {
				responses = append(responses, "command "+c+"; location local; level 1")
			}
			orders, skipped := planner(t, d, responses...).Plan(alert(1, 5, "", tt.fields...))
			if got := ordered(orders); got != strings.TrimSpace(want) {
				t.Errorf("row %d, %s %v in %s: %q, want %q (%s)", tt.n, tt.commands, tt.fields, d, got, want, tt.why)
			}
			if tt.reason != "" && (len(skipped) == 0 || !strings.Contains(skipped[0].Reason, tt.reason)) {
				t.Errorf("row %d, %s %v in %s: %v, want %s", tt.n, tt.commands, tt.fields, d, skipped, tt.reason)
			}
		}
	}
}

// TestPlaces is the specification's table 8.4: on which of the server (M), the
// alert's agent (5) and other agents (3, 4) a response runs. The real systems
// run each response either on the server or on agents; riposte runs it wherever
// its location says.
func TestPlaces(t *testing.T) {
	const (
		law   = "the seed page: on all systems"
		every = "several places are meant when several are written"
	)
	for _, tt := range []struct {
		n        int
		response string
		agent    string
		want     string
		why      string
	}{
		{73, "location local", "000", "M", ""},
		{74, "location local", "005", "5", ""},
		{75, "location server", "005", "M", ""},
		{76, "location all", "000", "M 3 4 5", law},
		{76, "location all", "005", "M 3 4 5", law},
		{78, "location defined-agent; agent_id 003", "005", "3", ""},
		{79, "location local,all", "000", "M 3 4 5", every},
		{79, "location local,all", "005", "M 3 4 5", every},
		{80, "location server,all", "005", "M 3 4 5", every},
		{81, "location local,defined-agent; agent_id 003", "005", "3 5", every},
		{84, "location local", "", "M", ""}, // syslog of a device
		{86, "location defined-agent; agent_id 4", "005", "4", "O compares the text"},
		{0, "location defined-agent; agent_id 003,4,003", "005", "3 4", "the real systems take no list"},
		{0, "location local,defined-agent; agent_id 003,005,004", "005", "3 4 5", every},
		{0, "location defined-agent; agent_id 000", "005", "M", "agent 000 is the server"},
	} {
		for _, d := range []ossec.Dialect{ossec.OSSEC, ossec.Wazuh} {
			a := alert(1, 5, "")
			a.Agent.ID = tt.agent
			orders, _ := planner(t, d, "command z; level 1; "+tt.response).Plan(a)
			if got := hosts(t, orders); got != tt.want {
				t.Errorf("row %d, %s from %s in %s: on %s, want %s (%s)", tt.n, tt.response, tt.agent, d, got, tt.want, tt.why)
			}
		}
	}
	// Rows 82 and 83: a disabled block has no effect on others, before or after.
	for _, blocks := range [][]string{
		{"command z; location local; level 1", "disabled yes; command z; location local; level 1"},
		{"disabled yes; command z; location local; level 1", "command z; location local; level 1"},
	} {
		if orders, _ := planner(t, ossec.OSSEC, blocks...).Plan(alert(1, 5, "")); len(orders) != 1 {
			t.Errorf("%v: %d orders", blocks, len(orders))
		}
	}
}

// hosts lists the hosts that carry out the orders, none of them twice.
func hosts(t *testing.T, orders []riposte.Order) string {
	var out []string
	for _, host := range []string{"000", "003", "004", "005"} {
		n := 0
		for _, o := range orders {
			from := o.Alert.Agent.ID
			if o.Alert.Agent.Local() {
				from = "000"
			}
			if o.Place.All || o.Place.Server && host == "000" || o.Place.Local && host == from || o.Place.Defined == host {
				n++
			}
		}
		if n > 1 {
			t.Errorf("host %s has %d orders", host, n)
		}
		if n > 0 {
			out = append(out, map[string]string{"000": "M", "003": "3", "004": "4", "005": "5"}[host])
		}
	}
	return strings.Join(out, " ")
}

func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := planner(t, ossec.Wazuh,
			"command fw; location all; rules_group a,b; timeout 700; repeated_offenders 30,60,120",
			"command fw; location all; level 5; timeout 900",
			"command fw; location server; level 5; timeout 10")
		a := alert(5712, 10, "b,", "srcip=192.0.2.1")
		a.Time = time.Now().Add(-time.Second)
		orders, skipped := p.Plan(a)
		if len(orders) != 2 || len(skipped) != 1 || skipped[0].Command != "fw" || skipped[0].Pos.Line != 9 || !strings.Contains(skipped[0].Reason, "earlier block") {
			t.Fatalf("%+v %+v", orders, skipped)
		}
		o := orders[0]
		if o.Timeout != 900*time.Second || o.Ladder != nil || !o.Stateful() || o.By != "rule 5712" || !o.Issued.Equal(time.Now()) ||
			!o.Received.Equal(a.Time) || o.Alert != a || o.Place != (riposte.Place{All: true}) || o.Command.Executable != "fw.sh" {
			t.Errorf("%+v", o)
		}
		if orders[0].ID >= orders[1].ID {
			t.Errorf("%s does not sort before %s", orders[0].ID, orders[1].ID)
		}
		orders, _ = planner(t, ossec.Wazuh, "command fw; location all; level 5; timeout 700; repeated_offenders 30,60").Plan(a)
		if fmt.Sprint(orders[0].Ladder) != "[30m0s 1h0m0s]" || orders[0].Timeout != 700*time.Second {
			t.Errorf("%+v", orders[0])
		}
	})
}

func TestIDs(t *testing.T) {
	var g IDs
	now := time.UnixMilli(1795408700123)
	last := ""
	for i := range 1000 {
		if i == 500 {
			now = now.Add(-time.Hour) // a clock that was set back
		}
		if i == 700 {
			now = now.Add(2 * time.Hour)
		}
		id := g.New(now)
		if len(id) != 26 || id <= last || strings.Trim(id, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") != "" {
			t.Fatalf("%s after %s", id, last)
		}
		last = id
	}
	// The time of a ULID is its first ten characters.
	if id := new(IDs).New(time.UnixMilli(1469918176385)); id[:10] != "01ARYZ6S41" {
		t.Error(id)
	}
	if a, b := new(IDs).New(now), new(IDs).New(now); a == b {
		t.Error("two hosts made the same id")
	}
}

func BenchmarkPlan(b *testing.B) {
	cfg, _ := conf.Parse("f", []byte(commands+`<active-response><command>fw</command><location>all</location><rules_group>authentication_failed,authentication_failures</rules_group></active-response>
	<active-response><command>z</command><location>server</location><rules_id>1002</rules_id></active-response>
	<active-response><command>fw</command><location>local</location><level>12</level></active-response></ossec_config>`), ossec.Wazuh)
	p := New(cfg, ossec.Wazuh, new(IDs))
	a := alert(5715, 3, "syslog,sshd,authentication_success,", "srcip=192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		p.Plan(a)
	}
}
