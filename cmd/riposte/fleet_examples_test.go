//go:build linux

package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"riposte"
	"riposte/internal/api"
)

// fleetExamples are the examples of the page that need more than one host, with
// the slips mended. The third is for a host with pf; on Linux its command blocks
// with what the kernel has. The sixth is a command that riposte has built in.
func fleetExamples(third, fourth bool, seconds int) string {
	var b strings.Builder
	b.WriteString(`<ossec_config>
  <global><email_to>admin@example.org</email_to><smtp_server>127.0.0.1</smtp_server><email_from>riposte@example.org</email_from></global>
  <command><name>pf-block</name><executable>firewall-drop.sh</executable><expect>srcip</expect></command>
  <command><name>firewall-drop</name><executable>firewall-drop.sh</executable><expect>srcip</expect></command>
  <command><name>mail-test</name><executable>mail-test.sh</executable><timeout_allowed>no</timeout_allowed><expect></expect></command>
`)
	if third {
		b.WriteString(`  <active-response>
    <command>pf-block</command>
    <location>defined-agent</location>
    <agent_id>001</agent_id>
    <rules_group>authentication_failed,authentication_failures</rules_group>
  </active-response>
`)
	}
	if fourth {
		fmt.Fprintf(&b, `  <active-response>
    <command>firewall-drop</command>
    <location>all</location>
    <rules_group>authentication_failed,authentication_failures</rules_group>
    <timeout>%d</timeout>
    <repeated_offenders>30,60,120</repeated_offenders>
  </active-response>
`, seconds)
	}
	b.WriteString(`  <active-response>
    <command>mail-test</command>
    <location>server</location>
    <rules_id>1002</rules_id>
  </active-response>
</ossec_config>
`)
	return b.String()
}

// TestFleetExamples runs examples 3, 4 and 6 of the page on a server and four
// agents. What a block is worth is asked from the attacker's side.
func TestFleetExamples(t *testing.T) {
	r := newRegion(t, 4, fleetExamples(true, false, 0), "mail: {host: 127.0.0.1, port: 2525}\n")
	attacker := r.from.String()
	r.reaches(r.everywhere(), "before the attack")

	// 6: whichever agent sees it, the server mails it, once. Agents that mailed
	// would do so by themselves: nothing listens there.
	box, _ := listenMail(t, r.server.host, "127.0.0.1:2525")
	r.agents[2].sees(time.Now().Format(time.Stamp) + " web3 backup: fatal error: segmentation fault\n")
	eventually(t, long, "example 6: the mail arrived", func() bool { return len(box.all()) > 0 })

	// 3: an attack seen by 002 is answered on 001, and nowhere else, for good.
	r.agents[1].sees(failedFrom(r.from, 1))
	r.agents[0].holds("pf-block", attacker)
	r.reaches("000 002 003 004", "example 3:")
	if b := r.agents[0].holds("pf-block", attacker); !b.Until.IsZero() {
		t.Errorf("example 3 is stateless, and ends at %v", b.Until)
	}
	r.server.run("unblock", attacker, "--on", "001")
	r.reaches(r.everywhere(), "after example 3")

	// 4, once with a time that can be waited for. A new configuration is read
	// without a stop.
	const seconds = 4
	reload := func(seconds int) {
		t.Helper()
		r.server.write("ossec.conf", fleetExamples(false, true, seconds)+fmt.Sprintf(
			"<ossec_config><localfile><log_format>syslog</log_format><location>%s</location></localfile></ossec_config>\n", r.server.log()))
		r.server.run("reload")
	}
	reload(seconds)
	r.agents[1].sees(failedFrom(r.from, 2))
	r.reaches("", "example 4:")
	for _, st := range r.all() {
		undone := st.waitOutcome(attacker, riposte.Undone)
		for _, x := range st.receipts(attacker) { // 001 has example 3 in its history, too
			if x.Command == "firewall-drop" && x.Outcome == riposte.Undone {
				undone = x
			}
		}
		if late := undone.Time.Sub(undone.Until); late < 0 || late > 2*time.Second {
			t.Errorf("on %s the block ended %v after its time", st.host, late)
		}
	}
	r.reaches(r.everywhere(), "after the block")

	// The next offences are answered for longer on every host.
	reload(700)
	for rung, want := range []time.Duration{30 * time.Minute, time.Hour, 2 * time.Hour, 2 * time.Hour} {
		r.agents[rung%4].sees(failedFrom(r.from, 3+rung))
		for _, st := range r.all() {
			b := st.holds("firewall-drop", attacker)
			if got := b.Until.Sub(b.Since).Round(time.Second); got != want || b.Rung != min(rung+1, 3) {
				t.Errorf("offence %d on %s: blocked for %v at rung %d, want %v", rung+2, st.host, got, b.Rung, want)
			}
		}
		if rung == 0 {
			r.reaches("", "at the second offence")
			fleet := r.server.run("list", "--fleet")
			if n := strings.Count(fleet, attacker); n != 5 {
				t.Errorf("list --fleet shows %d hosts, want 5:\n%s", n, fleet)
			}
		}
		r.server.run("unblock", attacker, "--everywhere")
		for _, st := range r.all() {
			if left, err := st.client().InForce(t.Context(), api.Filter{Target: attacker}); err != nil || len(left) > 0 {
				t.Errorf("on %s %v is in force after the unblock, %v", st.host, left, err)
			}
		}
	}
	r.reaches(r.everywhere(), "after the unblock")

	// An address that never offended is blocked for the page's 700 seconds.
	r.agents[3].sees(failedLogin("203.0.113.77"))
	for _, st := range r.all() {
		b := st.holds("firewall-drop", "203.0.113.77")
		if got := b.Until.Sub(b.Since).Round(time.Second); got != 700*time.Second || b.Rung != 0 {
			t.Errorf("first offence on %s: blocked for %v at rung %d", st.host, got, b.Rung)
		}
	}

	// One story, told of all hosts, under the agent's own location.
	why := r.server.run("why", attacker)
	for _, want := range []string{"Failed password for root from " + attacker, "001", "002", "003", "004", "undone"} {
		if !strings.Contains(why, want) {
			t.Errorf("riposte why says nothing of %q:\n%s", want, why)
		}
	}
	location := fmt.Sprintf("(web-02) %s->%s", r.agents[1].addr, r.agents[1].log())
	if alerts := r.server.read("log/alerts.log"); !strings.Contains(alerts, location) {
		t.Errorf("no alert is from %q:\n%s", location, alerts)
	}
	if mails := box.all(); len(mails) != 1 || !strings.Contains(mails[0], "To: admin@example.org") || !strings.Contains(mails[0], "segmentation fault") || !strings.Contains(mails[0], "(web-03)") {
		t.Errorf("example 6: want one mail about what web-03 saw, got %q", mails)
	}
	for _, st := range r.agents {
		if alerts := st.read("log/alerts.json"); alerts != "" {
			t.Errorf("%s judged by itself:\n%s", st.host, alerts)
		}
	}
	for _, st := range r.all() {
		st.stop(syscall.SIGTERM)
	}
}
