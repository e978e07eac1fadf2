package alertlog

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"riposte"
	"riposte/internal/ossec"
)

func TestParse(t *testing.T) {
	f := func(name, line string, want *riposte.Alert) {
		t.Helper()
		a, err := Parse([]byte(line))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		if string(a.Raw) != strings.TrimSpace(line) {
			t.Errorf("%s: Raw is %s", name, a.Raw)
		}
		a.Raw = nil
		if d := cmp.Diff(want, a); d != "" {
			t.Errorf("%s: (-want +got)\n%s", name, d)
		}
	}
	zone := time.FixedZone("", 0)
	f("Wazuh 4, agent", `{"timestamp":"2026-01-02T03:04:05.678+0000","rule":{"level":5,"description":"sshd: authentication failed.","id":"5760",`+
		`"mitre":{"id":["T1110.001","T1021.004"],"tactic":["Credential Access","Lateral Movement"],"technique":["Password Guessing","SSH"]},`+
		`"firedtimes":2,"mail":false,"groups":["syslog","sshd","authentication_failed"],"gdpr":["IV_35.7.d"],"pci_dss":["10.2.4"]},`+
		`"agent":{"id":"007","name":"web01","ip":"10.0.0.9"},"manager":{"name":"mgr"},"id":"1795408700.80794","cluster":{"name":"w","node":"n1"},`+
		`"full_log":"Jan  2 03:04:05 web01 sshd[1]: Failed password for bob from 203.0.113.9 port 5 ssh2",`+
		`"predecoder":{"program_name":"sshd","timestamp":"Jan  2 03:04:05","hostname":"web01"},"decoder":{"parent":"sshd","name":"sshd"},`+
		`"data":{"srcip":"203.0.113.9","srcport":"5","dstuser":"bob"},"location":"/var/log/auth.log"}`+"\n",
		&riposte.Alert{
			ID: "1795408700.80794", Time: time.Date(2026, 1, 2, 3, 4, 5, 678e6, zone).UTC(),
			Rule: riposte.Rule{ID: 5760, Level: 5, Description: "sshd: authentication failed.", Fired: 2,
				Groups: "syslog,sshd,authentication_failed,pci_dss_10.2.4,gdpr_IV_35.7.d,",
				MITRE: []riposte.Technique{{ID: "T1110.001", Tactic: "Credential Access", Name: "Password Guessing"},
					{ID: "T1021.004", Tactic: "Lateral Movement", Name: "SSH"}}},
			Decoder: riposte.Decoder{Name: "sshd", Parent: "sshd"},
			Agent:   riposte.Agent{ID: "007", Name: "web01", IP: "10.0.0.9"}, Manager: "mgr",
			Location: "(web01) 10.0.0.9->/var/log/auth.log", Hostname: "web01", Program: "sshd", Stamp: "Jan  2 03:04:05",
			FullLog: "Jan  2 03:04:05 web01 sshd[1]: Failed password for bob from 203.0.113.9 port 5 ssh2",
			Fields:  []riposte.Field{{Name: "srcip", Value: "203.0.113.9"}, {Name: "srcport", Value: "5"}, {Name: "dstuser", Value: "bob"}},
		})
	f("Wazuh 3, event channel, no address of the agent", `{"timestamp":"2020-05-05T10:00:00.000-0300","rule":{"level":5,"description":"d","id":"60122",`+
		`"mitre":{"id":["T1531"],"tactics":["Impact"]},"mail":true,"groups":["windows"]},"agent":{"id":"003","name":"win"},"manager":{"name":"m"},"id":"9.9",`+
		`"decoder":{"name":"windows_eventchannel"},"data":{"win":{"system":{"eventID":"4625","level":0,"x":null},"eventdata":{"ipAddress":"::1","list":["a",1]}},"id":"1"},`+
		`"location":"EventChannel"}`,
		&riposte.Alert{
			ID: "9.9", Time: time.Date(2020, 5, 5, 13, 0, 0, 0, time.UTC).In(time.FixedZone("", -3*3600)),
			Rule: riposte.Rule{ID: 60122, Level: 5, Description: "d", Mail: true, NoFullLog: true, Groups: "windows,",
				MITRE: []riposte.Technique{{ID: "T1531", Tactic: "Impact"}}},
			Decoder: riposte.Decoder{Name: "windows_eventchannel"}, Agent: riposte.Agent{ID: "003", Name: "win"}, Manager: "m",
			Location: "(win) any->EventChannel", Hostname: "win",
			Fields: []riposte.Field{
				{Name: "win.system.eventID", Value: "4625", Dynamic: true}, {Name: "win.system.level", Value: "0", Dynamic: true},
				{Name: "win.system.x", Value: "", Dynamic: true}, {Name: "win.eventdata.ipAddress", Value: "::1", Dynamic: true},
				{Name: "win.eventdata.list", Value: `["a",1]`, Dynamic: true}, {Name: "id", Value: "1"},
			},
		})
	f("Wazuh, file integrity", `{"timestamp":"x","rule":{"id":"550","level":7,"groups":[]},"id":"100.5","full_log":"","agent":{"id":"000","name":"m"},`+
		`"syscheck":{"path":"/etc/passwd","event":"modified"},"location":"syscheck"}`,
		&riposte.Alert{
			ID: "100.5", Time: time.Unix(100, 0).UTC(), Rule: riposte.Rule{ID: 550, Level: 7}, Agent: riposte.Agent{ID: "000", Name: "m"},
			Location: "syscheck", Hostname: "m", Fields: []riposte.Field{{Name: "filename", Value: "/etc/passwd"}},
		})
	f("OSSEC, agent", `{"rule":{"level":5,"comment":"SSHD authentication failed.","sidid":5716,"firedtimes":1,"group":"syslog,sshd,authentication_failed,","groups":["syslog"]},`+
		`"id":"1795408700.2","TimeStamp":1795408700002,"decoder":"sshd","srcip":"203.0.113.9","dstuser":"bob","location":"(web01) 10.0.0.9->/var/log/auth.log",`+
		`"full_log":"l","hostname":"(web01) 10.0.0.9->/var/log/auth.log","program_name":"sshd","systemname":"s","extra":"dyn","agent_name":"web01","agentip":"10.0.0.9",`+
		`"timestamp":"2026 Nov 23 04:38:20","logfile":"/var/log/auth.log"}`,
		&riposte.Alert{
			ID: "1795408700.2", Time: time.UnixMilli(1795408700002).UTC(),
			Rule:    riposte.Rule{ID: 5716, Level: 5, Description: "SSHD authentication failed.", Fired: 1, Groups: "syslog,sshd,authentication_failed,"},
			Decoder: riposte.Decoder{Name: "sshd"}, Agent: riposte.Agent{ID: "?", Name: "web01", IP: "10.0.0.9"},
			Location: "(web01) 10.0.0.9->/var/log/auth.log", Hostname: "(web01) 10.0.0.9->/var/log/auth.log", Program: "sshd", FullLog: "l",
			Fields: []riposte.Field{{Name: "srcip", Value: "203.0.113.9"}, {Name: "dstuser", Value: "bob"},
				{Name: "system_name", Value: "s"}, {Name: "extra", Value: "dyn", Dynamic: true}},
		})
}

func TestParseRefuses(t *testing.T) {
	for _, line := range []string{
		"", "x", "[]", "{}", `{"rule":5}`, `{"rule":{}}`, `{"rule":{"id":"x"}}`, `{"rule":{"id":"1"}} {}`,
		`{"rule":{"id":"1"}`, `{"rule":{"id":"-1"}}`, `{"rule":null}`, "\x00", strings.Repeat("[", 1<<20),
		`{"rule":{"id":"1"},"data":` + strings.Repeat(`{"a":`, 1<<16) + "1" + strings.Repeat("}", 1<<16) + "}",
	} {
		if a, err := Parse([]byte(line)); err == nil {
			t.Errorf("%.40q was read as %+v", line, a)
		}
	}
}

// What is written is read back as it was, but for the fields that the layout
// has no room for.
func TestRoundTrip(t *testing.T) {
	want := sample()
	want.Fields = slices.Delete(want.Fields, 6, 10)
	want.Fields[4].Value = `[1,"x"]`
	got, err := Parse(AppendJSON(nil, want, ossec.Wazuh))
	if err != nil {
		t.Fatal(err)
	}
	want.Fields = []riposte.Field{want.Fields[1], want.Fields[2], want.Fields[0], want.Fields[3], want.Fields[5], want.Fields[4]}
	want.Rule.Info[1].Kind = "text"
	want.Log, got.Raw = false, nil
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); d != "" {
		t.Errorf("(-written +read)\n%s", d)
	}
	line := AppendJSON(nil, sample(), ossec.OSSEC)
	o, err := Parse(line)
	if err != nil {
		t.Fatal(err)
	}
	if o.Rule.ID != 5720 || o.Rule.Groups != sample().Rule.Groups || !o.Time.Equal(at) || o.Agent.Name != "web-01" || o.FullLog != sample().FullLog {
		t.Errorf("OSSEC: read as %+v", o)
	}
	if ip, _ := o.Field("srcip"); ip != "192.0.2.7" {
		t.Errorf("OSSEC: srcip is %q", ip)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(AppendJSON(nil, sample(), ossec.Wazuh))
	f.Add(AppendJSON(nil, sample(), ossec.OSSEC))
	f.Add([]byte(`{"rule":{"id":"1","groups":"g","mitre":{"id":"T1"}},"data":{"a":{"b":[1]},"a.b":2}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		a, err := Parse(line)
		if err != nil {
			return
		}
		checkJSON(t, a, ossec.Wazuh)
		checkText(t, a, ossec.OSSEC)
	})
}
