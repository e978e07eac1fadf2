package nft

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/enforce/enforcetest"
	"riposte/internal/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

// open makes the mechanism, and takes the table away at the end of the test.
func open(t testing.TB) *Mechanism {
	t.Helper()
	lab.Need(t)
	m, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Close()
		lab.Here(t).Try("nft", "delete table inet riposte") // may never have been made
	})
	return m
}

func TestContract(t *testing.T) {
	lab.Need(t, "nft")
	enforcetest.Suite{
		New:    func(t testing.TB) enforce.Mechanism { return open(t) },
		Timed:  true,
		Marked: true,
		InForce: func(t testing.TB, target riposte.Target) bool {
			return has(t, target)
		},
		Foreign: foreign,
	}.Run(t)
}

// has asks the nft program.
func has(t testing.TB, target riposte.Target) bool {
	t.Helper()
	p, _ := target.Prefix()
	_, err := lab.Here(t).Try("nft", "get", "element", "inet", "riposte", setOf(p).String(), "{ "+p.Addr().String()+" }")
	return err == nil
}

// foreign is a ruleset of somebody else's that looks much like ours.
func foreign(t testing.TB, near riposte.Target) func(testing.TB) {
	here := lab.Here(t)
	here.Run(t, "nft", `
		table inet other {
			set v4 { type ipv4_addr; flags timeout; elements = { `+near.Value+`, 11.0.0.1 timeout 1d } }
			chain prerouting { type filter hook prerouting priority -310; ip saddr @v4 accept; }
		}
		table ip riposte {
			set v4 { type ipv4_addr; elements = { `+near.Value+` } }
			chain prerouting { type filter hook prerouting priority -310; ip saddr @v4 accept; }
		}`)
	list := func() string {
		return here.Run(t, "nft", "-s", "list table inet other") + here.Run(t, "nft", "-s", "list table ip riposte")
	}
	before := list()
	t.Cleanup(func() { here.Run(t, "nft", "delete table inet other; delete table ip riposte") })
	return func(t testing.TB) {
		t.Helper()
		if now := list(); now != before {
			t.Errorf("somebody else's tables are now\n%s\nand were\n%s", now, before)
		}
	}
}

// effect makes the effect of blocking text for d (0: without end).
func effect(t testing.TB, text string, d time.Duration) enforce.Effect {
	t.Helper()
	target, err := riposte.ParseTarget(riposte.Address, text)
	if err != nil {
		t.Fatal(err)
	}
	e := enforce.Effect{Target: target}
	if d > 0 {
		e.Until = time.Now().Add(d)
	}
	return e
}

// must applies or undoes effects and fails the test when any fails.
func must(t testing.TB, do func(context.Context, []enforce.Effect) []enforce.Result, effects ...enforce.Effect) {
	t.Helper()
	for i, r := range do(t.Context(), effects) {
		if r.Err != nil {
			t.Fatalf("%s: %v", effects[i].Target, r.Err)
		}
	}
}

func TestVerified(t *testing.T) {
	m := open(t)
	effects := []enforce.Effect{effect(t, "192.0.2.1", time.Hour), effect(t, "2001:db8::1", 0), effect(t, "198.51.100.0/24", time.Minute)}
	for range 2 { // new, then known
		for i, r := range m.Apply(t.Context(), effects) {
			if r.Err != nil || !r.Verified {
				t.Errorf("%s: %+v", effects[i].Target, r)
			}
		}
	}
}

// TestEnds: the kernel lets go by itself.
func TestEnds(t *testing.T) {
	m := open(t)
	must(t, m.Apply, effect(t, "192.0.2.1", time.Second), effect(t, "192.0.2.2", time.Hour), effect(t, "192.0.2.3", time.Hour))
	must(t, m.Apply, effect(t, "192.0.2.2", time.Second)) // shortened
	if list, err := m.List(t.Context()); err != nil || len(list) != 3 {
		t.Fatalf("listed %v, %v", list, err)
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		list, err := m.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 1 && list[0].Target.Value == "192.0.2.3" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after their time: %v", list)
		}
	}
}

// A machine that stalls between two moments makes an end look wrong by as much
// as it stalled, and no more.
func TestStalled(t *testing.T) {
	m := open(t)
	effects := []enforce.Effect{effect(t, "192.0.2.77", time.Hour)}
	must(t, m.Apply, effects...)
	f := func(took, wrong time.Duration, want bool) {
		t.Helper()
		asked := effects[0]
		asked.Until = asked.Until.Add(wrong)
		results := make([]enforce.Result, 1)
		verify(m.kernel, single4, enforce.Members([]enforce.Effect{asked}, results), results, time.Now().Add(-took))
		if results[0].Verified != want || (results[0].Err == nil) != want {
			t.Errorf("after %v an end wrong by %v is verified: %+v", took, wrong, results[0])
		}
	}
	f(0, 0, true)
	f(0, time.Minute, false)
	f(time.Minute, time.Minute, true)
	f(time.Minute, -time.Minute, true)
	f(time.Minute, 10*time.Minute, false)
}

func TestFarEnds(t *testing.T) {
	m := open(t)
	must(t, m.Apply, effect(t, "192.0.2.1", 1<<63-1), effect(t, "192.0.2.3", 50*365*24*time.Hour))
	past := effect(t, "192.0.2.2", time.Hour)
	past.Until = time.Now().Add(-time.Hour)
	must(t, m.Apply, past)
	time.Sleep(20 * time.Millisecond)
	list, err := m.List(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatalf("listed %v, %v", list, err)
	}
	for _, e := range list {
		if time.Until(e.Until) < 49*365*24*time.Hour {
			t.Errorf("%s ends at %v", e.Target, e.Until)
		}
	}
}

// TestOverlapping: prefixes within prefixes have ends of their own.
func TestOverlapping(t *testing.T) {
	m := open(t)
	nested := []enforce.Effect{
		effect(t, "10.0.0.0/8", time.Hour), effect(t, "10.1.0.0/16", 24*time.Hour), effect(t, "10.1.2.0/24", time.Minute),
		effect(t, "10.1.2.3", 2*time.Hour), effect(t, "10.1.0.0/17", 0), effect(t, "0.0.0.0/0", time.Hour),
		effect(t, "2001:db8::/32", time.Hour), effect(t, "2001:db8::/64", time.Minute), effect(t, "2001:db8::1", 0), effect(t, "::/1", time.Hour),
	}
	must(t, m.Apply, nested...)
	must(t, m.Undo, nested[0], nested[5], nested[6], nested[9])
	list, err := m.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[riposte.Target]time.Time)
	for _, e := range list {
		got[e.Target] = e.Until
	}
	left := append(nested[1:5:5], nested[7:9]...)
	for _, e := range left {
		if until, ok := got[e.Target]; !ok || until.Sub(e.Until).Abs() > time.Second {
			t.Errorf("%s ends at %v, want %v", e.Target, until, e.Until)
		}
	}
	if len(got) != len(left) {
		t.Errorf("listed %v", got)
	}
}

// TestMended: whatever somebody else does to the table, the next Apply blocks,
// and until then nothing is listed that does not block.
func TestMended(t *testing.T) {
	lab.Need(t, "nft")
	here := lab.Here(t)
	f := func(name, damage string, listed int) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			m := open(t)
			must(t, m.Apply, effect(t, "192.0.2.1", time.Hour), effect(t, "10.0.0.0/8", time.Hour))
			want := here.Run(t, "nft", "-t", "-s", "list table inet riposte")
			here.Run(t, "nft", damage)
			if list, err := m.List(t.Context()); err != nil || len(list) != listed {
				t.Errorf("damaged: listed %v, %v; expected %d", list, err, listed)
			}
			must(t, m.Apply, effect(t, "192.0.2.1", time.Hour), effect(t, "10.0.0.0/8", time.Hour))
			if list, err := m.List(t.Context()); err != nil || len(list) != 2 {
				t.Errorf("mended: listed %v, %v", list, err)
			}
			if got := here.Run(t, "nft", "-t", "-s", "list table inet riposte"); unordered(got) != unordered(want) {
				t.Errorf("mended:\n%s\nwas\n%s", got, want)
			}
		})
	}
	f("nothing", "list ruleset", 2)
	f("flushed ruleset", "flush ruleset", 0)
	f("deleted table", "delete table inet riposte", 0)
	f("flushed table", "flush table inet riposte", 0)
	f("flushed chain", "flush chain inet riposte prerouting", 0)
	f("rule before ours", "insert rule inet riposte prerouting accept", 0)
	f("rule behind ours", "add rule inet riposte postrouting counter", 0)
	f("dormant", "add table inet riposte { flags dormant; }", 0)
	f("flushed set", "flush set inet riposte v4", 1)
	f("chain elsewhere", "delete chain inet riposte prerouting; add chain inet riposte prerouting { type filter hook prerouting priority 10; }", 0)
	f("chain without hook", "delete chain inet riposte prerouting; add chain inet riposte prerouting", 0)
	f("set without timeout", "delete table inet riposte; add table inet riposte; add set inet riposte v4 { type ipv4_addr; }", 0)
	f("interval set", "delete table inet riposte; add table inet riposte; add set inet riposte v4_8 { type ipv4_addr; flags timeout, interval; }", 0)
	f("somebody's set besides", "add set inet riposte mine { type ipv4_addr; }; delete set inet riposte mine", 2)
	f("somebody's table", "add table inet x; delete table inet x", 2)
}

// unordered forgets the order of lines: sets and chains may be made anew behind
// others.
func unordered(s string) string {
	lines := strings.Split(s, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestUndoMended: undo works on a damaged table, too.
func TestUndoMended(t *testing.T) {
	lab.Need(t, "nft")
	m := open(t)
	one := effect(t, "192.0.2.1", time.Hour)
	must(t, m.Apply, one)
	lab.Here(t).Run(t, "nft", "flush ruleset")
	must(t, m.Undo, one)
	must(t, m.Apply, one)
	must(t, m.Undo, one, effect(t, "192.0.0.0/18", 0))
	if list, err := m.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("listed %v, %v", list, err)
	}
}

// TestBusy: others change the ruleset all the time.
func TestBusy(t *testing.T) {
	lab.Need(t, "nft")
	m := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			lab.Here(t).Try("nft", "add table inet x; delete table inet x")
		}
	}()
	for i := range 300 {
		must(t, m.Apply, effect(t, enforcetest.Addresses(i).Value, time.Hour))
	}
	cancel()
	<-done
	if list, err := m.List(t.Context()); err != nil || len(list) != 300 {
		t.Errorf("listed %d, %v", len(list), err)
	}
}

func TestSetNames(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for bits := range 129 {
			s := set{v6: v6, bits: bits}
			if bits > s.width() {
				continue
			}
			if back, ok := parseSet(s.String()); !ok || back != s {
				t.Errorf("%+v is named %s, read as %+v, %v", s, s, back, ok)
			}
		}
	}
	for _, name := range []string{"", "v", "v4_", "v4_32", "v4_33", "v4_-1", "v4_08", "v6_128", "v5", "v4_24_1", "other"} {
		if s, ok := parseSet(name); ok {
			t.Errorf("%q was read as %+v", name, s)
		}
	}
}

func TestPackets(t *testing.T) {
	enforcetest.Packets(t, func(t testing.TB) enforce.Mechanism { return open(t) }, true)
}

// TestListedMeanwhile: a new prefix length changes the table while it is read.
func TestListedMeanwhile(t *testing.T) {
	m := open(t)
	held := effect(t, "192.0.2.1", time.Hour)
	must(t, m.Apply, held)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 30 {
			if list, err := m.List(t.Context()); err != nil || len(list) == 0 {
				t.Errorf("listed %v, %v", list, err)
			}
		}
	}()
	for bits := 8; bits < 32; bits++ {
		must(t, m.Apply, effect(t, fmt.Sprintf("10.0.0.0/%d", bits), time.Hour))
	}
	<-done
}

// TestConnections: the connection entries of a target go, and no others.
func TestConnections(t *testing.T) {
	lab.Need(t, "nft", "conntrack")
	m := open(t)
	street := enforcetest.NewStreet(t) // its rules ask for connection states
	here := street.Here
	for _, a := range []string{"203.0.113.2", "203.0.113.7", "198.51.100.2", "2001:db8:a::2", "2001:db8:b::2"} {
		own := "192.0.2.2"
		if strings.Contains(a, ":") {
			own = "2001:db8:1::2"
		}
		here.Run(t, "conntrack", "-I", "-s", a, "-d", own, "-p", "tcp", "--sport", "4000", "--dport", "22", "--state", "ESTABLISHED", "--timeout", "500")
		here.Run(t, "conntrack", "-I", "-s", own, "-d", a, "-p", "tcp", "--sport", "4001", "--dport", "443", "--state", "ESTABLISHED", "--timeout", "500")
	}
	entries := func() (n int) {
		for _, family := range []string{"ipv4", "ipv6"} {
			list := here.Run(t, "conntrack", "-L", "-f", family)
			n += strings.Count(list, "sport=4000 dport=22 ") + strings.Count(list, "sport=4001 dport=443 ")
		}
		return n
	}
	f := func(want int, targets ...string) {
		t.Helper()
		var effects []enforce.Effect
		for _, text := range targets {
			effects = append(effects, effect(t, text, time.Hour))
		}
		for i, r := range m.Apply(t.Context(), effects) {
			if r.Err != nil || r.Output != "" {
				t.Errorf("%s: %+v", targets[i], r)
			}
		}
		if got := entries(); got != want {
			t.Errorf("%d entries after blocking %v, want %d", got, targets, want)
		}
	}
	f(10, "192.0.2.99")
	f(8, "203.0.113.2")
	f(6, "2001:db8:a::2", "203.0.113.3")
	f(4, "203.0.113.0/24")
	f(0, "2001:db8:b::/48", "198.51.100.2", "198.51.100.3")
	f(0, "203.0.113.9")
}

// Many at once, of which some are in force already, get the ends that are asked
// for, all of them, and so do those that are asked for next.
func TestManyAgain(t *testing.T) {
	m := open(t)
	all := addresses(3 * large)
	must(t, m.Apply, all[:2*large]...)
	for round := range 3 {
		until := time.Now().Add(time.Duration(2+round) * time.Hour)
		some := all[round*large/2:][:2*large]
		for i := range some {
			some[i].Until = until
		}
		must(t, m.Apply, some...)
		list, err := m.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		held := map[riposte.Target]time.Time{}
		for _, e := range list {
			held[e.Target] = e.Until
		}
		for _, e := range some {
			if got := held[e.Target]; got.Sub(until).Abs() > drift {
				t.Fatalf("round %d: %s is held until %v, want %v", round, e.Target.Value, got, until)
			}
		}
	}
}
