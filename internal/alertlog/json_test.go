package alertlog

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"riposte"
	"riposte/internal/ossec"
)

func TestAppendJSON(t *testing.T) {
	f := func(name string, a *riposte.Alert, d ossec.Dialect, want string) {
		t.Helper()
		want = strings.ReplaceAll(strings.ReplaceAll(want, "\n", ""), "\t", "")
		got := string(AppendJSON(nil, a, d))
		if got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("%s: not JSON: %s", name, got)
		}
	}
	f("Wazuh, everything", sample(), ossec.Wazuh, `
{"timestamp":"2026-11-23T06:00:27.678+0100",
"rule":{"level":10,"description":"sshd: several failures","id":"5720",
"mitre":{"id":["T1110"],"tactic":["Credential Access"],"technique":["Brute Force"]},
"cve":"CVE-2026-1","info":"https://example.org/","frequency":8,"firedtimes":3,"mail":true,
"groups":["syslog","sshd","authentication_failures"],"pci_dss":["10.2.4","10.2.5"],"gdpr":["IV_35.7.d"]},
"agent":{"id":"005","name":"web-01","ip":"10.0.0.9"},"manager":{"name":"mgr"},"id":"1795413627.1",
"previous_output":"second\nfirst",
"full_log":"Dec 29 10:00:01 web1 sshd[42]: Failed password for root from 192.0.2.7 port 4242 ssh2",
"predecoder":{"program_name":"sshd","timestamp":"Dec 29 10:00:01","hostname":"web1"},
"decoder":{"parent":"sshd","name":"sshd","ftscomment":"First \"login\"."},
"data":{"srcip":"192.0.2.7","srcport":"4242","dstuser":"root","a":{"b":"1","c":{"d":"two"}},"z":[1,"x"]},
"previous_log":"before","location":"/var/log/auth.log"}`)
	f("OSSEC, everything", sample(), ossec.OSSEC, `
{"rule":{"level":10,"comment":"sshd: several failures","sidid":5720,"cve":"CVE-2026-1","info":"https://example.org/",
"frequency":8,"firedtimes":3,"group":"syslog,sshd,authentication_failures,pci_dss_10.2.4,pci_dss_10.2.5,gdpr_IV_35.7.d,",
"groups":["syslog","sshd","authentication_failures"]},
"id":"1795413627.1","TimeStamp":1795410027678,"decoder":"sshd","decoder_parent":"sshd","srcip":"192.0.2.7","srcport":"4242",
"dstuser":"root","location":"(web-01) 10.0.0.9->/var/log/auth.log",
"full_log":"Dec 29 10:00:01 web1 sshd[42]: Failed password for root from 192.0.2.7 port 4242 ssh2",
"previous_output":"first","hostname":"web1","program_name":"sshd","a.b":"1","z":"[1, \"x\"]","a.c.d":"two",
"a.b.e":"lost: a.b is no object","a":"lost: a is an object","field_srcip":"lost: a static field has the name",
"decoder_desc":{"parent":"sshd","name":"sshd","ftscomment":"First \"login\"."},
"agent_name":"web-01","agentip":"10.0.0.9","timestamp":"2026 Nov 23 06:00:27","logfile":"/var/log/auth.log"}`)
	bare := &riposte.Alert{ID: "1.2", Time: at, Rule: riposte.Rule{ID: 1002, Level: 2}, Manager: "mgr", Location: "stdin", FullLog: "x"}
	f("Wazuh, bare", bare, ossec.Wazuh, `
{"timestamp":"2026-11-23T06:00:27.678+0100","rule":{"level":2,"id":"1002","mail":false,"groups":[]},
"agent":{"id":"000","name":"mgr"},"manager":{"name":"mgr"},"id":"1.2","full_log":"x","decoder":{},"location":"stdin"}`)
	f("OSSEC, bare", bare, ossec.OSSEC, `
{"rule":{"level":2,"sidid":1002,"groups":[]},"id":"1.2","TimeStamp":1795410027678,"location":"stdin","full_log":"x",
"decoder_desc":{},"timestamp":"2026 Nov 23 06:00:27","logfile":"stdin"}`)

	a := &riposte.Alert{Time: at, Rule: riposte.Rule{ID: 1, NoFullLog: true}, FullLog: "Jan  2 03:04:05", Hostname: "h",
		Fields: []riposte.Field{{Name: "filename", Value: "/etc/passwd"}}, Previous: []string{"only one"}}
	f("file, no full log, one previous record", a, ossec.Wazuh, `
{"timestamp":"2026-11-23T06:00:27.678+0100","rule":{"id":"1","mail":false,"groups":[]},"agent":{"id":"000"},
"syscheck":{"path":"/etc/passwd"},"decoder":{}}`)
}

// Whatever a record, a user name or a field's name holds, the line stays one
// line of valid JSON in valid UTF-8 without control characters, and says what
// the alert says.
func TestHostileJSON(t *testing.T) {
	for _, h := range hostile {
		for _, d := range []ossec.Dialect{ossec.Wazuh, ossec.OSSEC} {
			checkJSON(t, hostileAlert(h), d)
		}
	}
}

func hostileAlert(h string) *riposte.Alert {
	a := sample()
	a.FullLog, a.Hostname, a.Program, a.Stamp, a.Location, a.Diff = h, h, h, h, h, h
	a.Rule.Description = "user " + h
	a.Previous = []string{h, "x", h}
	a.Fields = []riposte.Field{
		{Name: "srcuser", Value: h}, {Name: "url", Value: h}, {Name: "q", Value: h, Dynamic: true},
		{Name: h, Value: "v", Dynamic: true}, {Name: "p." + h + ".q", Value: "[" + h + "]", Dynamic: true},
		{Name: "r", Value: `["` + h + `"]`, Dynamic: true},
	}
	return a
}

func checkJSON(t *testing.T, a *riposte.Alert, d ossec.Dialect) {
	t.Helper()
	out := AppendJSON(nil, a, d)
	if !json.Valid(out) || !utf8.Valid(out) {
		t.Fatalf("%s: not valid JSON in UTF-8: %q", d, out)
	}
	for _, r := range string(out) {
		if r < 0x20 || r == 0x7f || r >= 0x80 && hidden(r) {
			t.Fatalf("%s: control character %U in %q", d, r, out)
		}
	}
	b, err := Parse(out)
	if err != nil {
		t.Fatalf("%s: %v\n%s", d, err, out)
	}
	if b.Rule.ID != a.Rule.ID || b.Rule.Level != a.Rule.Level || utf8.ValidString(a.ID) && b.ID != a.ID {
		t.Fatalf("%s: rule %d level %d id %s were read as %d, %d, %s", d, a.Rule.ID, a.Rule.Level, a.ID, b.Rule.ID, b.Rule.Level, b.ID)
	}
	if again := AppendJSON(nil, b, d); d == ossec.Wazuh {
		if c, err := Parse(again); err != nil || string(AppendJSON(nil, c, d)) != string(again) {
			t.Fatalf("reading and writing does not settle:\n%s\n%s (%v)", out, again, err)
		}
	}
}

func TestArrays(t *testing.T) {
	f := func(value, want string) {
		t.Helper()
		a := &riposte.Alert{Rule: riposte.Rule{ID: 1}, Fields: []riposte.Field{{Name: "v", Value: value, Dynamic: true}}}
		out := string(AppendJSON(nil, a, ossec.Wazuh))
		_, got, _ := strings.Cut(out, `"data":{"v":`)
		if got = strings.TrimSuffix(got, "}}"); got != want {
			t.Errorf("%q is written as %s, expected %s", value, got, want)
		}
	}
	f(`[]`, `[]`)
	f("[1,\n\t{\"a b\" : [ null ]} ]", `[1,{"a b":[null]}]`)
	f(`["a \" ] \\"]`, `["a \" ] \\"]`)
	f("[\"\u009b\u2028é\x7f\"]", `["\u009b\u2028é\u007f"]`)
	f("[\"\xff\"]", `"[\"\\xff\"]"`) // not UTF-8: a string
	f(`[1`, `"[1"`)
	f(`[1] x`, `"[1] x"`)
	f(strings.Repeat("[", 40)+strings.Repeat("]", 40), `"`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`"`)
}

// Names that are all dots, or nested thousands deep, stay within what readers
// of JSON accept.
func TestDeepNames(t *testing.T) {
	for _, name := range []string{".", "..", "a.", ".a", "a..b", strings.Repeat("a.", 20000) + "a", strings.Repeat(".", 50)} {
		a := &riposte.Alert{Time: at, ID: "1.1", Rule: riposte.Rule{ID: 1}, Fields: []riposte.Field{{Name: name, Value: "v", Dynamic: true}}}
		b, err := Parse(AppendJSON(nil, a, ossec.Wazuh))
		if err != nil {
			t.Fatalf("%.20q: %v", name, err)
		}
		if v, _ := b.Field(name); v != "v" {
			t.Errorf("%.20q: the field is gone: %.100v", name, b.Fields)
		}
	}
}

func TestAllocations(t *testing.T) {
	a := sample()
	a.Fields[4].Value = "no array" // the library that checks one may allocate
	buf := make([]byte, 0, 1<<16)
	for _, d := range []ossec.Dialect{ossec.Wazuh, ossec.OSSEC} {
		e := NewEncoder(d)
		if n := testing.AllocsPerRun(100, func() {
			e.JSON(buf, a)
			e.Text(buf, a)
		}); n != 0 {
			t.Errorf("%s: %v allocations an alert", d, n)
		}
	}
}

func BenchmarkJSON(b *testing.B) {
	a := sample()
	buf := make([]byte, 0, 1<<16)
	e := NewEncoder(ossec.Wazuh)
	b.ReportAllocs()
	for b.Loop() {
		buf = e.JSON(buf[:0], a)
	}
}

func BenchmarkText(b *testing.B) {
	a := sample()
	buf := make([]byte, 0, 1<<16)
	e := NewEncoder(ossec.Wazuh)
	b.ReportAllocs()
	for b.Loop() {
		buf = e.Text(buf[:0], a)
	}
}

func FuzzAppend(f *testing.F) {
	for _, h := range hostile {
		f.Add(h)
	}
	f.Fuzz(func(t *testing.T, h string) {
		a := hostileAlert(h)
		checkJSON(t, a, ossec.Wazuh)
		checkJSON(t, a, ossec.OSSEC)
		checkText(t, a, ossec.Wazuh)
		checkText(t, a, ossec.OSSEC)
	})
}
