//go:build linux

package main

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"riposte"
	"riposte/internal/api"
)

// twoTimes answers attacks on accounts that exist for ten minutes, and logins
// with unknown names for so many seconds, on all hosts.
func twoTimes(seconds int) string {
	return fmt.Sprintf(`<ossec_config>
  <command><name>firewall-drop</name><executable>firewall-drop.sh</executable><expect>srcip</expect></command>
  <active-response>
    <command>firewall-drop</command><location>all</location><rules_id>5716,5760</rules_id><timeout>600</timeout>
  </active-response>
  <active-response>
    <command>firewall-drop</command><location>all</location><rules_id>5710</rules_id><timeout>%d</timeout>
  </active-response>
</ossec_config>
`, seconds)
}

// addr returns the nth address of a documentation network or, beyond its end, of
// the network for benchmarks.
func addr(n int) netip.Addr {
	if n < 250 {
		return netip.AddrFrom4([4]byte{203, 0, 113, byte(n + 1)})
	}
	return netip.AddrFrom4([4]byte{198, 18, byte(n >> 8), byte(n)})
}

// onTime fails the test unless a target was undone once on a station, and then.
func (st *station) onTime(target string, slack time.Duration) {
	st.t.Helper()
	st.waitOutcome(target, riposte.Undone)
	n := 0
	for _, x := range st.receipts(target) {
		if x.Outcome != riposte.Undone {
			continue
		}
		n++
		if late := x.Time.Sub(x.Until); late < 0 || late > slack {
			st.t.Errorf("%s: %s was undone %v after its time", st.host, target, late)
		}
	}
	if n != 1 {
		st.t.Errorf("%s: %s was undone %d times", st.host, target, n)
	}
}

// counted waits until the server has an alert about every text, and fails the
// test unless each is in either log exactly once.
func (r *region) counted(texts []string) {
	r.t.Helper()
	r.server.counted(texts)
}

// counted waits until a station has an alert about every text, and fails the
// test unless each is in either of its logs exactly once.
func (st *station) counted(texts []string) {
	st.t.Helper()
	eventually(st.t, long, "all lines are judged", func() bool {
		json := st.read("log/alerts.json")
		for _, text := range texts {
			if !strings.Contains(json, text) {
				return false
			}
		}
		return true
	})
	json, text := st.alerts()
	for name, records := range map[string][]string{"alerts.json": json, "alerts.log": text} {
		n := map[string]int{}
		for _, record := range records {
			for _, word := range strings.FieldsFunc(record, func(c rune) bool { return c == ' ' || c == '"' || c == '\n' }) {
				if strings.HasPrefix(word, "sshd[") {
					n[strings.TrimSuffix(word, ":")]++
				}
			}
		}
		for _, text := range texts {
			if n[text] != 1 {
				st.t.Errorf("%s: %d alerts about %s, want 1", name, n[text], text)
			}
			delete(n, text)
		}
		for text, n := range n {
			st.t.Errorf("%s: %d alerts about %s, which nobody logged", name, n, text)
		}
	}
}

// same waits until the same is in force on all hosts until the same time, and
// fails the test when it does not come to that.
func (r *region) same(slack time.Duration) (targets []string) {
	r.t.Helper()
	inForce := func(st *station) map[string]time.Time {
		list, err := st.client().InForce(r.t.Context(), api.Filter{Limit: 1 << 20})
		if err != nil {
			r.t.Fatal(err)
		}
		out := map[string]time.Time{}
		for _, b := range list {
			out[b.Target.Value] = b.Until
		}
		return out
	}
	compare := func() (trouble string) {
		want := inForce(r.server)
		targets = slices.Sorted(maps.Keys(want))
		for _, st := range r.agents {
			got := inForce(st)
			for a, until := range want {
				switch other, ok := got[a]; {
				case !ok:
					return fmt.Sprintf("%s is not in force on %s", a, st.host)
				case other.Sub(until).Abs() > slack:
					return fmt.Sprintf("%s ends at %v on %s, on the server at %v", a, other, st.host, until)
				}
				delete(got, a)
			}
			for a := range got {
				return fmt.Sprintf("%s is in force on %s, and not on the server", a, st.host)
			}
		}
		return ""
	}
	for end := time.Now().Add(long); ; time.Sleep(50 * time.Millisecond) {
		trouble := compare()
		if trouble == "" {
			return targets
		}
		if time.Now().After(end) {
			r.t.Fatal(trouble)
		}
	}
}

// TestFleetPartition cuts an agent off while the others are attacked. What ends
// meanwhile ends on time on both sides; when the agent is back it catches up
// with what is left, says what came too late, and its own lines arrive, once.
func TestFleetPartition(t *testing.T) {
	const seconds = 4
	away := 2 * time.Second // beyond the end of what is in force for a short time
	if soak() {
		away = time.Minute
	}
	r := newRegion(t, 3, twoTimes(seconds), "")
	cut, other := r.agents[0], r.agents[1]
	var texts []string
	pid := 1000
	attack := func(st *station, line func(netip.Addr, int) string, n int) string {
		pid++
		texts = append(texts, fmt.Sprintf("sshd[%d]", pid))
		st.sees(line(addr(n), pid))
		return addr(n).String()
	}

	before := attack(other, unknownFrom, 0)
	for _, st := range r.all() {
		st.holds("firewall-drop", before)
	}
	kept := attack(cut, failedFrom, 1)
	for _, st := range r.all() {
		st.holds("firewall-drop", kept)
	}

	cut.host.Run(t, "ip", "link", "set", cut.dev, "down")
	expired := attack(other, unknownFrom, 2)
	missed := attack(other, failedFrom, 3)
	var own []string
	for i := range 5 {
		own = append(own, attack(cut, failedFrom, 10+i))
	}
	for _, st := range []*station{r.server, other, r.agents[2]} {
		st.holds("firewall-drop", missed)
		st.onTime(expired, 2*time.Second)
	}
	for _, st := range r.all() {
		st.onTime(before, 2*time.Second)
	}
	time.Sleep(away)
	if rs := cut.receipts(missed); len(rs) > 0 {
		t.Fatalf("it is not cut off: %v", rs)
	}
	if !soak() { // else the ends of the connection notice by themselves
		cut.host.Run(t, "ss", "-K", "dst", r.server.addr.String())
	}
	cut.host.Run(t, "ip", "link", "set", cut.dev, "up")

	if x := cut.waitOutcome(expired, riposte.Expired); x.Reason == "" {
		t.Errorf("it does not say why: %+v", x)
	}
	if rs := cut.receipts(expired); len(rs) != 1 {
		t.Errorf("what came too late was done: %+v", rs)
	}
	cut.holds("firewall-drop", missed)
	for _, a := range own {
		for _, st := range r.all() {
			st.holds("firewall-drop", a)
		}
	}
	r.counted(texts)
	targets := r.same(2 * time.Second)
	if len(targets) != 2+len(own) {
		t.Errorf("in force are %v", targets)
	}
	r.connected()
	// The server knows what came too late, and where.
	eventually(t, long, "the server has the receipt", func() bool {
		w, err := r.server.client().Why(t.Context(), expired)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range w.Orders {
			for _, x := range o.Receipts {
				if x.Host == cut.id && x.Outcome == riposte.Expired {
					return true
				}
			}
		}
		return false
	})
	for _, st := range r.all() {
		st.stop(syscall.SIGTERM)
	}
}
