package alertlog

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"riposte"
	"riposte/internal/ossec"
)

func block() Response {
	return Response{
		Time: time.Date(2011, time.May, 7, 3, 17, 27, 0, time.FixedZone("CDT", -5*3600)), Host: "node01", Action: riposte.Add,
		Order: &riposte.Order{
			Command: riposte.Command{Name: "firewall-drop", Executable: "firewall-drop.sh", ExtraArgs: []string{"--zone", "dmz"}},
			Target:  riposte.Target{Kind: riposte.Address, Value: "203.0.113.9"},
			Alert: &riposte.Alert{ID: "1304756247.60385", Time: at, Rule: riposte.Rule{ID: 31151, Level: 10},
				Fields: []riposte.Field{{Name: "srcip", Value: "203.0.113.9"}}},
		},
	}
}

func TestAppendResponse(t *testing.T) {
	f := func(r Response, d ossec.Dialect, want string) {
		t.Helper()
		if got := string(AppendResponse(nil, &r, d)); got != want+"\n" {
			t.Errorf("got  %swant %s", got, want)
		}
	}
	r := block()
	f(r, ossec.OSSEC, "Sat May  7 03:17:27 CDT 2011 /var/ossec/active-response/bin/firewall-drop.sh add - 203.0.113.9 1304756247.60385 31151")
	f(r, ossec.Wazuh, `2011/05/07 03:17:27 active-response/bin/firewall-drop.sh: {"version":1,"origin":{"name":"node01","module":"wazuh-execd"},`+
		`"command":"add","parameters":{"extra_args":["--zone","dmz"],"alert":{"timestamp":"2026-11-23T06:00:27.678+0100",`+
		`"rule":{"level":10,"id":"31151","mail":false,"groups":[]},"agent":{"id":"000"},"id":"1304756247.60385","decoder":{},`+
		`"data":{"srcip":"203.0.113.9"}},"program":"active-response/bin/firewall-drop.sh"}}`)
	r.Failed = "203.0.113.9 is on the allow list"
	f(r, ossec.OSSEC, "2011/05/07 03:17:27 riposte: add firewall-drop 203.0.113.9 not done: 203.0.113.9 is on the allow list")
	f(r, ossec.Wazuh, "2011/05/07 03:17:27 riposte: add firewall-drop 203.0.113.9 not done: 203.0.113.9 is on the allow list")

	r = block()
	r.Time = r.Time.In(time.FixedZone("+03", 3*3600)) // a zone that the decoders cannot read
	r.Action, r.Order.Alert = riposte.Delete, nil
	f(r, ossec.OSSEC, "Sat May  7 08:17:27 UTC 2011 /var/ossec/active-response/bin/firewall-drop.sh delete - 203.0.113.9 (from_the_server) (no_rule_id)")
	f(r, ossec.Wazuh, `2011/05/07 11:17:27 active-response/bin/firewall-drop.sh: {"version":1,"origin":{"name":"node01","module":"wazuh-execd"},`+
		`"command":"delete","parameters":{"extra_args":["--zone","dmz"],"alert":{"data":{"srcip":"203.0.113.9"}},"program":"active-response/bin/firewall-drop.sh"}}`)
	r.Order.Target = riposte.Target{Kind: riposte.User, Value: "bob smith"}
	f(r, ossec.OSSEC, `Sat May  7 08:17:27 UTC 2011 /var/ossec/active-response/bin/firewall-drop.sh delete bob\x20smith - (from_the_server) (no_rule_id)`)
	r.Order.Target, r.Order.Command = riposte.Target{}, riposte.Command{Name: "mail-test", Executable: "mail-test.sh"}
	f(r, ossec.OSSEC, "Sat May  7 08:17:27 UTC 2011 /var/ossec/active-response/bin/mail-test.sh delete - - (from_the_server) (no_rule_id)")
}

// The forms by which OSSEC's and Wazuh's decoders know a response.
var (
	scriptLine  = regexp.MustCompile(`^[A-Z][a-z]{2} [A-Z][a-z]{2} +\d+ \d\d:\d\d:\d\d \w+ \d+ /\S+/active-response/bin/(\S+) (\S+) - (\S+) (\d+\.\d+) (\d+)`)
	messageLine = regexp.MustCompile(`^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d active-response/bin/\S+: `)
)

// A target's, a command's or a reason's text cannot turn a line into another
// one: the action and the address read from it are those of the order.
func TestHostileResponse(t *testing.T) {
	for _, h := range hostile {
		for _, kind := range []riposte.Kind{riposte.User, riposte.File} {
			r := block()
			r.Order.Target = riposte.Target{Kind: kind, Value: h}
			r.Order.Alert = hostileAlert(h)
			line := string(AppendResponse(nil, &r, ossec.OSSEC))
			if strings.Count(line, "\n") != 1 {
				t.Errorf("several lines: %q", line)
			}
			if m := scriptLine.FindStringSubmatch(line); m != nil && m[3] != "-" {
				t.Errorf("a response to %s is read from %q", m[3], line)
			}
			line = string(AppendResponse(nil, &r, ossec.Wazuh))
			head := messageLine.FindString(line)
			if strings.Count(line, "\n") != 1 || head == "" || !json.Valid([]byte(line[len(head):])) {
				t.Errorf("not one message: %q", line)
			}
			r.Failed = "refused: " + h
			line = string(AppendResponse(nil, &r, ossec.OSSEC))
			if strings.Count(line, "\n") != 1 || scriptLine.MatchString(line) || messageLine.MatchString(line) {
				t.Errorf("a failure is read as a response: %q", line)
			}
		}
	}
}
