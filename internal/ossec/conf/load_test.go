package conf

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"riposte"
	"riposte/internal/ossec"
)

// The commands of the specification's vectors.
const (
	cmdZ = "<command><name>z</name><executable>z.sh</executable><expect></expect><timeout_allowed>yes</timeout_allowed></command>\n"
	cmdF = "<command><name>fw</name><executable>fw.sh</executable><expect>srcip</expect><timeout_allowed>yes</timeout_allowed></command>\n"
	cmdA = "<command><name>a</name><executable>a.sh</executable><expect>srcip</expect></command>\n" // without timeout_allowed
)

// ar makes an <active-response> of "name value" pairs.
func ar(pairs ...string) string {
	var b strings.Builder
	b.WriteString("<active-response>")
	for _, p := range pairs {
		name, value, _ := strings.Cut(p, " ")
		fmt.Fprintf(&b, "<%s>%s</%s>", name, value, name)
	}
	b.WriteString("</active-response>\n")
	return b.String()
}

func conf(parts ...string) string {
	return "<ossec_config>\n" + strings.Join(parts, "") + "</ossec_config>\n"
}

// summary writes what was loaded and found: the responses as in ar.conf
// ("fw600"), then the findings as "severity code".
func summary(cfg *Config, findings []ossec.Finding) string {
	var out []string
	if cfg != nil {
		for _, p := range cfg.Responses {
			out = append(out, fmt.Sprintf("%s%d", p.Command.Name, p.Timeout/time.Second))
		}
	}
	for _, f := range findings {
		out = append(out, f.Severity.String()+" "+f.Code)
	}
	return strings.Join(out, ", ")
}

// TestLoad is the specification's table 8.1. Column real says what OSSEC and
// Wazuh 4 do; where riposte differs, why says the reason. When wazuh is empty
// it is as ossec.
func TestLoad(t *testing.T) {
	const (
		page     = "the seed page calls such a response stateful"
		strict   = "what it seems to say is not what the real systems do; better to stop at it than to block for ever or elsewhere"
		trimmed  = "white space around a value cannot be meant"
		harmless = "it can only mean one thing"
	)
	level7 := ar("command fw", "location local", "level 7", "timeout 600")
	for _, tt := range []struct {
		n            int
		src          string
		real         string
		ossec, wazuh string
		why          string
	}{
		{1, conf(cmdF, level7), "fw600", "fw600", "", ""},
		{2, conf(level7, cmdF), "1303", "fw600, warning defined-later", "", "the order of blocks says nothing about what is meant"},
		{3, conf("<command><name>a</name><executable>a.sh</executable></command>"), "O 1280, W ok", "warning no-expect", " ", "Wazuh's rule, with a warning in OSSEC's dialect"},
		{4, conf("<command><name>a</name><executable>a.sh</executable><expect /></command>"), "ok", "", " ", ""},
		{5, conf(cmdA, ar("command a", "location local", "level 7", "timeout 9")), "O 1305, W a0", "a9, warning timeout-unsaid", "", page},
		{6, conf(cmdA, ar("command qqqqqq", "location local", "level 7")), "1303", "error unknown-command", "", ""},
		{7, conf(cmdA, ar("command a", "location nowhere", "level 7")), "1302", "error bad-location", "", ""},
		{8, conf(cmdA, ar("command a", "location last", "level 7")), "ok = server", "error bad-location", "", strict},
		{9, conf(cmdA, ar("command a", "location defined-agent", "level 7")), "1304", "error no-agent", "", ""},
		{10, conf(cmdA, ar("command a", "location defined-agent", "agent_id 000", "level 7")), "O loads, W 1306", "a0, warning agent-server", "", "agent 000 is the server"},
		{10, conf(cmdA, ar("command a", "location defined-agent", "agent_id abc", "level 7")), "O loads, W 1306", "error bad-agent", "", strict},
		{11, conf(ar("repeated_offenders 30,60")), "ok", "", " ", ""},
		{12, conf(ar("disabled no")), "1281", "note no-response", "", "the stock block of an agent; the file may be an agent's"},
		{13, conf(ar("disabled yes")), "ok", "note responses-off", "", ""},
		{14, conf("<active-response/>"), "1230", "error empty-block", "", ""},
		{15, conf(cmdA, ar("command a", "location local", "level 21")), "1235", "error bad-value", "", ""},
		{15, conf(cmdA, ar("command a", "location local", "level  7")), "1235", "a0", "", trimmed},
		{16, conf(cmdA, ar("command a", "location local", "level ")), "ok, unset", "a0, warning empty-selector", "", ""},
		{17, conf(cmdF, ar("command fw", "location local", "level 7", "timeout abc")), "fw0", "error bad-timeout", "", strict},
		{17, conf(cmdF, ar("command fw", "location local", "level 7", "timeout 10m")), "fw10", "error bad-timeout", "", strict},
		{17, conf(cmdF, ar("command fw", "location local", "level 7", "timeout -5")), "fw-5", "error bad-timeout", "", strict},
		{18, conf(cmdA, ar("command a", "location local", "level 7", "disabled Yes")), "1235", "error bad-value, note disabled", "", ""},
		{19, conf(ar("disabled yes", "command nosuch", "location xyzzy")), "ok, dropped", "note disabled", "", ""},
		{20, conf("<command><name>a</name><executable>a.sh</executable><expect/><timeout_allowed>true</timeout_allowed></command>"), "1235", "error bad-value", "", ""},
		{20, conf("<command><name>a</name><executable>a.sh</executable><expect/><timeout_allowed>YES</timeout_allowed></command>"), "1235", "error bad-value", "", ""},
		{21, conf("<command><name>a</name><executable>a.sh</executable><expect/><extra_args>x  y</extra_args></command>"), "O 1230, W ok", "note other-dialect", " ", harmless},
		{22, conf(ar("disabled yes", "ca_store x.pem")), "O 1230, W ok", "note responses-off", "", harmless},
		{23, conf(ar("disabled no", "ca_verification yes")), "1230", "note no-response", "", "the stock block of a Wazuh agent"},
		{24, conf(cmdA, strings.Replace(cmdA, "a.sh", "b.sh", 1), ar("command a", "location local", "level 7")), "first used", "a0, warning same-name", "", ""},
		{25, conf(cmdA, ar("location nowhere", "location all", "command zz", "command a", "level 7")), "last wins", "a0, warning given-twice, warning given-twice", "", ""},
		{26, conf("<command><name> a </name><executable>a.sh</executable><expect/></command>", ar("command a", "location local", "level 7")), "1303", "a0", "", trimmed},
		{27, conf(cmdA, "<active‐response><command>a</command><location>local</location><level>7</level></active‐response>"), "1230", "error look-alike", "", ""},
		{28, conf("<command><name>!x</name><executable>a.sh</executable><expect/></command>"), "O ok, W 1235", " ", "error bad-name", ""},
		{29, conf(cmdF) + conf(level7), "ok", "fw600", "", ""},
		{30, `<?xml version="1.0"?>` + conf(cmdF, level7), "O ok, W syntax error", "fw600", "", harmless},
		{31, conf("<!-- a -- b -->", "<! x !>", strings.Replace(cmdF, "fw</name>", "f<!-- x -->w</name>", 1), level7), "ok", "fw600", "", ""},
		{32, conf("<command><name>a&lt;b</name><executable>a.sh</executable><expect/></command>", ar("command a&lt;b", "location local", "level 7")), "kept", "a&lt;b0", "", ""},
		{33, conf(cmdF, level7, level7), "twice", "fw600, warning same-response", "", "one answer is enough"},
		{34, conf(seed4), "1303", "error unknown-command, note comma-alternative, warning timeout-unsaid", "", ""},
		{35, conf(strings.Replace(seed4, "firewall-block", "firewall-drop", 1)), "O 1305, W firewall-drop0", "firewall-drop700, note comma-alternative, warning timeout-unsaid", "", page},
		{36, conf(strings.Replace(cmdA, "<expect>", "<foo>1</foo><expect>", 1)), "1230", "error unknown-element", "", ""},
	} {
		for _, d := range []ossec.Dialect{ossec.OSSEC, ossec.Wazuh} {
			want := strings.TrimSpace(tt.ossec)
			if d == ossec.Wazuh && tt.wazuh != "" {
				want = strings.TrimSpace(tt.wazuh)
			}
			got := summary(Parse("ossec.conf", []byte(tt.src), d))
			if got != want {
				t.Errorf("row %d in %s:\n got %s\nwant %s\nreal %s\n%s", tt.n, d, got, want, tt.real, tt.src)
			}
		}
	}
}

const seed4 = `<command>
<name>firewall-drop</name>
<executable>firewall-drop.sh</executable>
<expect>srcip</expect>
</command>
<active-response>
<command>firewall-block</command>
<location>all</location>
<rules_group>authentication_failed,authentication_failures</rules_group>
<timeout>700</timeout>
<repeated_offenders>30,60,120</repeated_offenders>
</active-response>
`

// one parses a configuration with the one response made of pairs.
func one(t *testing.T, d ossec.Dialect, pairs ...string) Response {
	t.Helper()
	cfg, findings := Parse("f", []byte(conf(cmdF, cmdZ, ar(pairs...))), d)
	if cfg == nil || len(cfg.Responses) != 1 {
		t.Fatalf("%v: %v", pairs, findings)
	}
	return cfg.Responses[0]
}

func TestPlaces(t *testing.T) {
	type P = riposte.Place
	for _, tt := range []struct {
		location, ids string
		want          P
		agents        string
	}{
		{"local", "", P{Local: true}, ""},
		{"LOCAL", "", P{Local: true}, ""},
		{"server", "", P{Server: true}, ""},
		{"analysisd", "", P{Server: true}, ""},
		{"analysis-server", "", P{Server: true}, ""},
		{"as", "", P{Server: true}, ""},
		{"all", "", P{All: true}, ""},
		{"any", "", P{All: true}, ""},
		{"local,all", "", P{Local: true, All: true}, ""},
		{"server local", "", P{Local: true, Server: true}, ""},
		{"defined-agent", "001", P{}, "001"},
		{"defined-agent", "7", P{}, "007"},
		{"defined-agent", "001, 12,1234,001", P{}, "001 012 1234"},
		{"local, defined-agent", "003", P{Local: true}, "003"},
		{"defined-agent", "000,004", P{Server: true}, "004"},
	} {
		pairs := []string{"command fw", "location " + tt.location, "level 7"}
		if tt.ids != "" {
			pairs = append(pairs, "agent_id "+tt.ids)
		}
		p := one(t, ossec.Wazuh, pairs...)
		if p.Place != tt.want || strings.Join(p.Agents, " ") != tt.agents {
			t.Errorf("%s %s: %+v %v", tt.location, tt.ids, p.Place, p.Agents)
		}
	}
}

func TestLadder(t *testing.T) {
	p := one(t, ossec.OSSEC, "command fw", "location all", "level 7", "timeout 700", "repeated_offenders 30, 60,120,240,480,960")
	if fmt.Sprint(p.Ladder) != "[30m0s 1h0m0s 2h0m0s 4h0m0s 8h0m0s 16h0m0s]" || p.Timeout != 700*time.Second {
		t.Error(p.Ladder, p.Timeout)
	}
	src := conf(cmdF, cmdZ, ar("command fw", "location local", "level 7", "timeout 60"), ar("command z", "location local", "level 7"),
		ar("command z", "location local", "level 8", "timeout 5", "repeated_offenders 1"), ar("repeated_offenders 10,20"), ar("repeated_offenders 5"))
	cfg, findings := Parse("f", []byte(src), ossec.Wazuh)
	if got := summary(cfg, findings); got != "fw60, z0, z5, warning given-twice" {
		t.Fatal(got)
	}
	want := "[10m0s 20m0s] [] [1m0s]"
	if got := fmt.Sprint(cfg.Responses[0].Ladder, cfg.Responses[1].Ladder, cfg.Responses[2].Ladder); got != want {
		t.Error(got)
	}
}
