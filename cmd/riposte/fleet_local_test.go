//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"riposte"
	"riposte/internal/api"
	"riposte/internal/lab"
)

// localAndAll answers attacks on accounts that exist on the agent that sees
// them, for so many seconds and then longer, and logins with unknown names on
// all hosts.
func localAndAll(seconds int) string {
	return fmt.Sprintf(`<ossec_config>
  <command><name>firewall-drop</name><executable>firewall-drop.sh</executable><expect>srcip</expect></command>
  <active-response>
    <command>firewall-drop</command><location>local</location><rules_id>5716,5760</rules_id><timeout>%d</timeout>
    <repeated_offenders>30,60</repeated_offenders>
  </active-response>
  <active-response>
    <command>firewall-drop</command><location>all</location><rules_id>5710</rules_id><timeout>600</timeout>
  </active-response>
</ossec_config>
`, seconds)
}

// judgesItself has an agent judge what it reads. It has no responses of its own
// but one that its server does not want.
func (st *station) judgesItself() {
	st.t.Helper()
	st.stop(syscall.SIGTERM)
	st.write("riposte.yaml", st.read("riposte.yaml")+"fleet: {analyse: true}\n")
	st.write("ossec.conf", fmt.Sprintf(`<ossec_config>
  <localfile><log_format>syslog</log_format><location>%s</location></localfile>
  <command><name>firewall-drop</name><executable>firewall-drop.sh</executable><expect>srcip</expect></command>
  <active-response><command>firewall-drop</command><location>local</location><level>3</level></active-response>
</ossec_config>
`, st.log()))
	st.start()
}

// TestFleetLocal: an agent that judges for itself answers an attack while its
// server is away, takes it back on time, and forgets nothing when it is killed.
// When the server is back it has each line once, leaves to the agent what the
// agent has answered, and does the rest.
func TestFleetLocal(t *testing.T) {
	const seconds = 4
	conf := localAndAll(seconds)
	r := newRegion(t, 2, conf, "")
	one, two := r.agents[0], r.agents[1]
	one.judgesItself()
	r.connected()
	if status := one.run("status"); !strings.Contains(status, "judges what it reads by its own rules") || !strings.Contains(status, "firewall-drop") {
		t.Errorf("status does not say that it judges:\n%s", status)
	}
	eventually(t, long, "the server knows that it judges", func() bool { return strings.Contains(r.server.run("agents", "show", "001"), "for itself") })
	if out := r.server.run("agents", "show", "002"); strings.Contains(out, "for itself") {
		t.Errorf("the server thinks that 002 judges:\n%s", out)
	}
	attacker := r.from.String()
	var texts []string
	line := func(pid int) string {
		texts = append(texts, fmt.Sprintf("sshd[%d]", pid))
		return failedFrom(r.from, pid)
	}

	// Without its server.
	r.server.stop(syscall.SIGTERM)
	one.sees(line(101))
	one.holds("firewall-drop", attacker)
	if got := r.reached(); strings.Contains(got, "001") || !strings.Contains(got, "002") {
		t.Errorf("the attacker reaches %q", got)
	}
	one.onTime(attacker, 2*time.Second)
	eventually(t, long, "the attacker reaches 001 again", func() bool { return strings.Contains(r.reached(), "001") })
	if why := one.run("why", attacker); !strings.Contains(why, "sshd[101]") || !strings.Contains(why, "on 001") {
		t.Errorf("riposte why on the agent:\n%s", why)
	}

	// Killed right behind a line: it is the second offence, whenever it is judged.
	one.sees(line(102))
	one.kill()
	one.start()
	b := one.holds("firewall-drop", attacker)
	if got := b.Until.Sub(b.Since).Round(time.Second); got != 30*time.Minute || b.Rung != 1 {
		t.Errorf("second offence: blocked for %v at rung %d", got, b.Rung)
	}
	one.kill()
	one.start()
	one.holds("firewall-drop", attacker)

	// Killed while lines come in: each is one order, and one end.
	const each, kills = 15, 3
	for round := range kills {
		var lines []string
		for i := range each {
			n := 20 + each*round + i
			lines = append(lines, failedFrom(addr(n), 1000+n))
			texts = append(texts, fmt.Sprintf("sshd[%d]", 1000+n))
		}
		for _, text := range lines {
			one.sees(text)
		}
		one.kill()
		one.start()
	}
	for n := 20; n < 20+each*kills; n++ {
		a := addr(n).String()
		one.waitOutcome(a, riposte.Undone)
		orders, ends := map[string]bool{}, 0
		for _, x := range one.receipts(a) {
			orders[x.Order] = true
			if x.Outcome == riposte.Undone {
				ends++
			}
		}
		if len(orders) != 1 || ends != 1 {
			t.Errorf("%s: %d orders for one line, %d ends", a, len(orders), ends)
		}
	}

	// What rules learned is known after a kill: a user who comes again is not new.
	for _, pid := range []int{301, 302} {
		one.sees(sshdLine(pid, lab.AcceptedPassword("alice", netip.AddrPortFrom(addr(5), 50022))))
		word := fmt.Sprintf("sshd[%d]", pid)
		texts = append(texts, word)
		eventually(t, long, "a login is judged", func() bool { return strings.Contains(one.read("log/alerts.json"), word) })
		one.kill()
		one.start()
	}
	if n := strings.Count(one.read("log/alerts.log"), "Rule: 10100 "); n != 1 {
		t.Errorf("a user was new %d times", n)
	}

	// What others see, and what is for all, is the server's.
	two.sees(line(201))
	everywhere := addr(7).String()
	one.sees(unknownFrom(addr(7), 103))
	texts = append(texts, "sshd[103]")
	eventually(t, long, "one judges its last line", func() bool { return strings.Contains(one.read("log/alerts.json"), "sshd[103]") })
	if rs := one.receipts(everywhere); len(rs) > 0 {
		t.Errorf("an agent did by itself what is for all: %+v", rs)
	}
	r.serve()
	r.connected()
	r.counted(texts)
	for _, st := range r.all() {
		st.holds("firewall-drop", everywhere)
	}
	two.waitOutcome(attacker, riposte.Verified)
	if list, err := r.server.client().InForce(t.Context(), api.Filter{Target: attacker}); err != nil || len(list) != 0 {
		t.Errorf("on the server %v is in force, %v", list, err)
	}

	// Orders from the server's log come in their order: what it has to say about
	// the attacker has come before this.
	last := addr(8).String()
	one.sees(unknownFrom(addr(8), 104))
	one.holds("firewall-drop", last)
	orders, undone := map[string]bool{}, 0
	for _, x := range one.receipts(attacker) {
		orders[x.Order] = true
		if x.Outcome == riposte.Undone {
			undone++
		}
	}
	if len(orders) != 2 || undone != 1 {
		t.Errorf("two lines are %d orders, and one ends %d times: %+v", len(orders), undone, one.receipts(attacker))
	}
	if again := one.holds("firewall-drop", attacker); again.Order != b.Order || again.Rung != 1 {
		t.Errorf("rung %d by order %s, had been 1 by %s", again.Rung, again.Order, b.Order)
	}
	ids := map[string]bool{}
	for _, st := range r.all() {
		for _, x := range st.receipts(everywhere) {
			ids[x.Order] = true
		}
	}
	if len(ids) != 1 {
		t.Errorf("what is for all are %d orders", len(ids))
	}
	one.counted(append(slices.DeleteFunc(texts, func(text string) bool { return text == "sshd[201]" }), "sshd[104]"))
	if first, _, _ := strings.Cut(one.read("log/alerts.json"), "\n"); !strings.Contains(first, `"agent":{"id":"001","name":"web-01"`) {
		t.Errorf("its own alert: %s", first)
	}
	eventually(t, long, "the server knows what the agent did", func() bool {
		w, err := r.server.client().Why(t.Context(), attacker)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range w.Orders {
			for _, x := range o.Receipts {
				if x.Host == one.id && x.Order == b.Order {
					return true
				}
			}
		}
		return false
	})

	// The server wants another response, and the agent goes by it at once.
	r.server.write("ossec.conf", strings.Replace(r.server.read("ossec.conf"), "<rules_id>5716,5760</rules_id>", "<rules_group>authentication_failed</rules_group>", 1))
	r.server.run("reload")
	eventually(t, long, "the agent goes by the server's new response", func() bool {
		return strings.Contains(one.run("status"), "authentication_failed")
	})
	r.server.stop(syscall.SIGTERM)
	one.sees(failedFrom(addr(10), 106))
	one.holds("firewall-drop", addr(10).String())
	r.serve()
	r.connected()

	// From now on it is the server's again.
	one.stop(syscall.SIGTERM)
	one.write("riposte.yaml", strings.Replace(one.read("riposte.yaml"), "analyse: true", "analyse: false", 1))
	one.start()
	r.connected()
	one.sees(failedFrom(addr(9), 105))
	one.holds("firewall-drop", addr(9).String())
	if alerts := one.read("log/alerts.json"); strings.Contains(alerts, "sshd[105]") {
		t.Error("it judges still")
	}
	for _, st := range r.all() {
		st.stop(syscall.SIGTERM)
	}
}
