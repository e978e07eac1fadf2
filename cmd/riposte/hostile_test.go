//go:build linux

package main

import (
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"riposte/internal/lab"
)

// TestHostileLines feeds riposte what attackers write into logs: the bystander
// 192.0.2.99 must never be blocked, nothing may be run, and no output may show
// anything but what happened.
func TestHostileLines(t *testing.T) {
	host := lab.NewHost(t, "server")
	r := install(t, host, "", "firewall: nftables\n")
	r.write("ossec.conf", pageExample4(r.path("auth.log"), 600))
	r.write("auth.log", "")
	r.start()

	pwned := r.path("pwned")
	sshd := time.Now().Format(time.Stamp) + " web1 sshd[4242]: "
	lines := []string{
		// User names that try to be the end of the line.
		sshd + "Failed password for root from 192.0.2.99 from 198.51.100.1 port 50022 ssh2",
		sshd + "Failed password for invalid user root from 192.0.2.99 port 22 ssh2 from 198.51.100.2 port 50022 ssh2",
		sshd + "Invalid user a from 192.0.2.99 port 1 from 198.51.100.3 port 50022",
		sshd + "Failed password for invalid user  from 192.0.2.99 port 4 ssh2\\n from 198.51.100.4 port 50022 ssh2",
		// Shell metacharacters, option-like and format-like names.
		sshd + "Failed password for invalid user $(touch " + pwned + ") from 198.51.100.5 port 50022 ssh2",
		sshd + "Failed password for invalid user `touch " + pwned + "`;touch " + pwned + "|x from 198.51.100.6 port 50022 ssh2",
		sshd + "Failed password for invalid user -rf%n%s from 198.51.100.7 port 50022 ssh2",
		// Terminal escapes, NULs, bytes that are not UTF-8.
		sshd + "Failed password for invalid user \x1b[2J\x1b]0;owned\a from 198.51.100.8 port 50022 ssh2",
		sshd + "Failed password for invalid user a\x00b\xff\xfe from 198.51.100.9 port 50022 ssh2",
		// A whole line of sshd's inside another program's message.
		time.Now().Format(time.Stamp) + " web1 myapp[1]: user said: sshd[1]: Failed password for root from 192.0.2.99 port 22 ssh2",
		time.Now().Format(time.Stamp) + " web1 myapp: Failed password for root from 192.0.2.99 port 22 ssh2",
		// Forged alert blocks and JSON.
		sshd + "Failed password for invalid user x\r** Alert 1.1: mail - syslog,\rRule: 5720 (level 10) from 198.51.100.10 port 50022 ssh2",
		sshd + `Failed password for invalid user ","srcip":"192.0.2.99 from 198.51.100.11 port 50022 ssh2`,
		// A megabyte on one line.
		sshd + "Failed password for invalid user " + strings.Repeat("A", 1<<20) + " from 192.0.2.99 port 50022 ssh2",
		"\x00\x00\x00", "", strings.Repeat("\xff", 4096),
		// And one honest line, to know when all of them were read.
		strings.TrimSuffix(failedLogin("198.51.100.200"), "\n"),
	}
	appendTo(t, r.path("auth.log"), strings.Join(lines, "\n")+"\n")
	r.blocked("198.51.100.200")

	for _, b := range r.list() {
		if !strings.HasPrefix(b.Target.Value, "198.51.100.") {
			t.Errorf("blocked %s because of %s", b.Target, b.Order)
		}
	}
	if out, _ := r.try("why", "192.0.2.99"); strings.Contains(out, "order ") {
		t.Errorf("something was ordered against the bystander:\n%s", out)
	}
	for _, args := range [][]string{{"list"}, {"history"}, {"why", "198.51.100.8"}, {"why", "198.51.100.10"}} {
		if out := r.run(args...); strings.ContainsAny(out, "\x1b\a\x00\r") {
			t.Errorf("riposte %s prints control characters: %q", strings.Join(args, " "), out)
		}
	}
	r.stop(syscall.SIGTERM)

	if _, err := os.Stat(pwned); err == nil {
		t.Error("a log line ran a command")
	}
	alerts, err := os.ReadFile(r.path("log/alerts.json"))
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSuffix(string(alerts), "\n"), "\n") {
		var a struct{ Data struct{ SrcIP string } }
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Errorf("alerts.json:%d: %v: %q", i+1, err, line)
		}
		if a.Data.SrcIP == "192.0.2.99" {
			t.Errorf("alerts.json:%d: the bystander was forged as source: %q", i+1, line)
		}
	}
	text, err := os.ReadFile(r.path("log/alerts.log"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(string(text), "\x1b\a\x00\r") {
		t.Error("alerts.log holds control characters")
	}
	if heads, objects := strings.Count("\n"+string(text), "\n** Alert "), strings.Count(string(alerts), "\n"); heads != objects {
		t.Errorf("alerts.log has %d alerts, alerts.json %d", heads, objects)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if line == "Src IP: 192.0.2.99" {
			t.Error("alerts.log: the bystander was forged as source")
		}
	}
}
