package alertlog

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"riposte"
	"riposte/internal/ossec"
)

func TestAppendText(t *testing.T) {
	f := func(name string, a *riposte.Alert, d ossec.Dialect, want string) {
		t.Helper()
		if got := string(AppendText(nil, a, d)); got != want {
			t.Errorf("%s:\ngot\n%swant\n%s", name, got, want)
		}
	}
	a := sample()
	a.Agent, a.Location, a.Previous, a.Diff, a.Fields = riposte.Agent{}, "stdin", nil, "", a.Fields[:3]
	a.Rule = riposte.Rule{ID: 5716, Level: 5, Description: "SSHD authentication failed.", Groups: "syslog,sshd,authentication_failed,"}
	f("the specification's example", a, ossec.OSSEC, `** Alert 1795413627.1: - syslog,sshd,authentication_failed,
2026 Nov 23 06:00:27 web1->stdin
Rule: 5716 (level 5) -> 'SSHD authentication failed.'
Src IP: 192.0.2.7
Src Port: 4242
User: root
Dec 29 10:00:01 web1 sshd[42]: Failed password for root from 192.0.2.7 port 4242 ssh2

`)
	f("Wazuh, everything", sample(), ossec.Wazuh, `** Alert 1795413627.1: mail  - syslog,sshd,authentication_failures,pci_dss_10.2.4,pci_dss_10.2.5,gdpr_IV_35.7.d,
2026 Nov 23 06:00:27 (web-01) 10.0.0.9->/var/log/auth.log
Rule: 5720 (level 10) -> 'sshd: several failures'
Src IP: 192.0.2.7
Src Port: 4242
User: root
Dec 29 10:00:01 web1 sshd[42]: Failed password for root from 192.0.2.7 port 4242 ssh2
a.b: 1
z: [1, "x"]
a.c.d: two
a.b.e: lost: a.b is no object
a: lost: a is an object
srcip: lost: a static field has the name
Previous output:
before
second
first

`)
	a.FullLog = strings.Repeat("é", 700) // 1400 bytes
	out := string(AppendText(nil, a, ossec.OSSEC))
	if n := strings.Count(out, "é"); n != 628 {
		t.Errorf("OSSEC: %d bytes of the record are shown, expected 1256", 2*n)
	}
	if out = string(AppendText(nil, a, ossec.Wazuh)); strings.Count(out, "é") != 700 {
		t.Error("Wazuh: the record is cut")
	}
}

func TestHostileText(t *testing.T) {
	for _, h := range hostile {
		for _, d := range []ossec.Dialect{ossec.Wazuh, ossec.OSSEC} {
			checkText(t, hostileAlert(h), d)
		}
	}
	got := string(AppendText(nil, &riposte.Alert{ID: "1.1", Time: at, Location: "l", Hostname: "h", Rule: riposte.Rule{ID: 1, Level: 2},
		FullLog: "Src IP: 10.0.0.1\n** Alert\x1b[0m\xff\u202e\tx"}, ossec.OSSEC))
	want := "** Alert 1.1: - \n2026 Nov 23 06:00:27 h->l\nRule: 1 (level 2) -> ''\n" +
		" Src IP: 10.0.0.1\\n** Alert\\x1b[0m\\xff\\u202e\tx\n\n"
	if got != want {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

var labels = regexp.MustCompile(`^(Src|Dst) |^User: |^Rule: |^\*\* Alert`)

// checkText checks that a block is one block: one head, one end, and none of
// the labels but those of the alert itself.
func checkText(t *testing.T, a *riposte.Alert, d ossec.Dialect) {
	t.Helper()
	out := string(AppendText(nil, a, d))
	if !utf8.ValidString(out) {
		t.Fatalf("%s: not UTF-8: %q", d, out)
	}
	for _, r := range out {
		if r < 0x20 && r != '\n' && r != '\t' || r == 0x7f || r >= 0x80 && hidden(r) {
			t.Fatalf("%s: control character %U in %q", d, r, out)
		}
	}
	body, ok := strings.CutSuffix(out, "\n\n")
	if !ok || strings.Contains(body, "\n\n") {
		t.Fatalf("%s: not one block: %q", d, out)
	}
	want := 2 // head and rule
	for _, name := range []string{"srcip", "srcport", "dstip", "dstport", "dstuser"} {
		if static(a, name) != "" {
			want++
		}
	}
	n := 0
	for line := range strings.SplitSeq(body, "\n") {
		if labels.MatchString(line) {
			n++
		}
	}
	if n != want {
		t.Fatalf("%s: %d labelled lines, expected %d: %q", d, n, want, out)
	}
}
