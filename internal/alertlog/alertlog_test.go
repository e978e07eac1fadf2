package alertlog

import (
	"time"

	"riposte"
)

// at is the moment of the examples in the specification.
var at = time.Date(2026, time.November, 23, 6, 0, 27, 678_000_000, time.FixedZone("CET", 3600))

// sample is an alert in which everything is set that a layout can show.
func sample() *riposte.Alert {
	return &riposte.Alert{
		ID:   "1795413627.1",
		Time: at,
		Rule: riposte.Rule{
			ID: 5720, Level: 10, Description: "sshd: several failures", Frequency: 8, Fired: 3, Mail: true,
			Groups: "syslog,sshd,authentication_failures,pci_dss_10.2.4,pci_dss_10.2.5,gdpr_IV_35.7.d,",
			MITRE:  []riposte.Technique{{ID: "T1110", Tactic: "Credential Access", Name: "Brute Force"}},
			Info:   []riposte.Info{{Kind: "cve", Text: "CVE-2026-1"}, {Kind: "link", Text: "https://example.org/"}},
		},
		Decoder:  riposte.Decoder{Name: "sshd", Parent: "sshd", FTSComment: "First \"login\"."},
		Agent:    riposte.Agent{ID: "005", Name: "web-01", IP: "10.0.0.9"},
		Manager:  "mgr",
		Location: "(web-01) 10.0.0.9->/var/log/auth.log",
		Hostname: "web1", Program: "sshd", Stamp: "Dec 29 10:00:01",
		FullLog: "Dec 29 10:00:01 web1 sshd[42]: Failed password for root from 192.0.2.7 port 4242 ssh2",
		Fields: []riposte.Field{
			{Name: "dstuser", Value: "root"},
			{Name: "srcip", Value: "192.0.2.7"},
			{Name: "srcport", Value: "4242"},
			{Name: "a.b", Value: "1", Dynamic: true},
			{Name: "z", Value: "[1, \"x\"]", Dynamic: true},
			{Name: "a.c.d", Value: "two", Dynamic: true},
			{Name: "a.b.e", Value: "lost: a.b is no object", Dynamic: true},
			{Name: "a", Value: "lost: a is an object", Dynamic: true},
			{Name: "empty", Value: "", Dynamic: true},
			{Name: "srcip", Value: "lost: a static field has the name", Dynamic: true},
		},
		Previous: []string{"second", "first"},
		Diff:     "before",
		Log:      true,
	}
}

// hostile holds what an attacker would write into a log to forge another line,
// another alert, or to act on the reader's terminal.
var hostile = []string{
	"x\n** Alert 1.2: - forged,\n2026 Nov 23 06:00:27 a->b\nRule: 1 (level 15) -> 'forged'\nSrc IP: 10.0.0.1\n",
	"** Alert 1.2: - forged,",
	"Src IP: 10.0.0.1",
	"User: root",
	"Rule: 5712 (level 15) -> 'forged'",
	"\r\n\r\n",
	"",
	"\x1b[2J\x1b]0;owned\a",
	"\x9b31m \u009b31m",
	"\x00\x01\x7f\x80\xff\xfe",
	"\u202egnp.exe \u2028 \u2029 \u2066 \ufeff",
	`","rule":{"id":"1","level":15},"x":"`,
	`\u0022,\"rule\":{`,
	`\`,
	"\xed\xa0\x80 \xf4\x90\x80\x80 \xc0\xaf",
	"root from 10.0.0.1 /var/ossec/active-response/bin/firewall-drop.sh add - 10.0.0.1 1.1 5712",
	"- 10.0.0.1 1.1 5712",
	"\U0001F600 grüße",
}
