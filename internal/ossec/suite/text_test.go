package suite

import (
	"strings"
	"testing"
	"time"

	"riposte"
	"riposte/internal/analysis"
	"riposte/internal/ossec/ruleset"
)

const smallRules = `<group name="syslog,"><rule id="1" level="0" noalert="1"><category>syslog</category><description>root</description></rule>
<rule id="5716" level="5"><decoded_as>sshd</decoded_as><match>Failed</match><description>failed</description></rule>
<rule id="5720" level="10" frequency="3" timeframe="60"><if_matched_sid>5716</if_matched_sid><same_source_ip /><description>many</description></rule></group>`

const smallDecoders = `<decoder name="sshd"><program_name>^sshd$</program_name></decoder>
<decoder name="sshd-ip"><parent>sshd</parent><regex>from (\S+) port</regex><order>srcip</order></decoder>`

func TestText(t *testing.T) {
	set, findings := ruleset.Load(ruleset.Options{
		Decoders: []ruleset.Source{{Name: "d.xml", Data: []byte(smallDecoders)}},
		Rules:    []ruleset.Source{{Name: "r.xml", Data: []byte(smallRules)}},
	})
	if set == nil {
		t.Fatal(findings)
	}
	run := NewRunner(set, analysis.Options{Host: "h"}, time.Unix(1795413627, 0))
	run.Responses = func(a *riposte.Alert) []string {
		if a.Rule.Level >= 10 {
			return []string{"firewall-drop", "host-deny"}
		}
		return nil
	}
	log := "log: Nov 23 08:00:00 web sshd[7]: Failed password for root from 203.0.113.7 port 22 ssh2\n"
	f := func(src, want string) {
		t.Helper()
		cases, findings := ParseText("t.test", []byte(src))
		if len(findings) > 0 {
			t.Errorf("%s: %v", src, findings)
			return
		}
		var got []string
		for _, x := range run.Run(cases).Failures {
			got = append(got, x.Reason)
		}
		if s := strings.Join(got, " | "); s != want {
			t.Errorf("%s:\n got %s\nwant %s", src, s, want)
		}
	}
	f(log+"decoder: sshd\nfield srcip: 203.0.113.7\nrule: 5716\nlevel: 5\nalert: yes\nresponse: none\n", "")
	f("# a comment\n"+log+"rule: 5716\r\n\n\n"+log+"rule: none", "rule is 5716, want none")
	f(log+log+log+"rule: 5720\nresponse: host-deny\nresponse: firewall-drop", "")
	f(log+log+log+"response: host-deny", "responses are firewall-drop, host-deny, want host-deny")
	f(log+"field srcip: 1.1.1.1\nlevel: 7", `level is 5, want 7; field srcip is "203.0.113.7", want "1.1.1.1"`)
	f(log+"rule: 5720\nnot: yes", "")
	f(log+"rule: 5716\nnot: yes", `got decoder "sshd", rule "5716", level "5", which it must not be`)
	twice := strings.Replace(log, "log:", "log 2:", 1)
	f(twice+"rule: 5716\nnever: 5720", "")
	f(strings.Replace(log, "log:", "log 3:", 1)+"rule: 5720\nnever: 1 5720", "rule is 5720, which it must not be")
	f(twice+"wait: 61s\n"+log+"rule: 5716", "")
	f(twice+"wait: 59s\n"+log+"rule: 5720", "")
	f("dialect: ossec\n"+log+"rule: 1", "")
	f("location: /var/log/x\n"+log+"rule: 5716", "")
	f("event: {}\nrule: none", "")
	f("log: nothing\ndecoder: none\nrule: none\nalert: no", "")

	bad := func(src, want string) {
		t.Helper()
		_, findings := ParseText("t.test", []byte(src))
		if len(findings) == 0 || !strings.HasPrefix(findings[0].String(), want) {
			t.Errorf("%q: %v, want %s", src, findings, want)
		}
	}
	bad("rule: 1", "t.test:1:1: error: a case without a log line")
	bad("log: x", "t.test:1:1: error: a case that expects nothing")
	bad("log: x\nrul: 1", `t.test:2:1: error: "rul" is no word of a case (did you mean rule?)`)
	bad("log: x\nalert: perhaps", `t.test:2:1: error: alert is "perhaps" (write yes or no)`)
	bad("log 0: x", `t.test:1:1: error: "0" is no number of lines`)
	bad("log: x\nwait: long", `t.test:2:1: error: wait is "long" (write 30s or 10m)`)
	bad("log: x\ndialect: perl", `t.test:2:1: error: unknown dialect "perl": expected wazuh or ossec`)
	bad("log: x\nnonsense", `t.test:2:1: error: "nonsense" is no line of a case`)
}
