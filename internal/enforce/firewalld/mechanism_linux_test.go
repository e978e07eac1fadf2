package firewalld

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/enforce/enforcetest"
	"riposte/internal/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

// open makes the mechanism.
func (s site) open(t testing.TB) *Mechanism {
	t.Helper()
	m, err := New(Options{Bus: s.Bus})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// dropped asks the kernel, not firewalld.
func dropped(t testing.TB, target riposte.Target) bool {
	t.Helper()
	p, _ := target.Prefix()
	family := "ip6"
	if p.Addr().Is4() {
		family = "ip"
	}
	return strings.Contains(lab.Here(t).Run(t, "nft", "list table inet firewalld"), family+" saddr "+target.Value+" drop\n")
}

func TestContract(t *testing.T) {
	s := newSite(t)
	configuration := func() string {
		return lab.Here(t).Run(t, "sh", "-c", "cd /etc/firewalld && find . -type f | sort | xargs sha256sum")
	}
	before := configuration()
	enforcetest.Suite{
		New:     func(t testing.TB) enforce.Mechanism { return s.open(t) },
		Bulk:    40, // firewalld takes 10 ms for each
		Marked:  true,
		InForce: dropped,
		Foreign: func(t testing.TB, near riposte.Target) func(testing.TB) {
			mine := []string{ // none of them drops all that comes from near: InForce would see it
				`rule priority="-31337" family="ipv4" source address="` + near.Value + `" reject`,
				`rule priority="-31337" family="ipv4" source address="` + near.Value + `" service name="ssh" drop`,
				`rule priority="-31335" family="ipv4" source address="` + near.Value + `" accept`,
				`rule priority="-31337" family="ipv4" source NOT address="` + near.Value + `" accept`,
			}
			for _, r := range mine {
				s.call(t, nil, zones+".addRichRule", "public", r, 0)
			}
			s.call(t, nil, zones+".addSource", "drop", near.Value)
			t.Cleanup(func() {
				for _, r := range mine {
					s.call(t, nil, zones+".removeRichRule", "public", r)
				}
				s.call(t, nil, zones+".removeSource", "drop", near.Value)
			})
			return func(t testing.TB) {
				t.Helper()
				for _, r := range mine {
					var there bool
					if s.call(t, &there, zones+".queryRichRule", "public", r); !there {
						t.Errorf("%s is gone", r)
					}
				}
				var there bool
				if s.call(t, &there, zones+".querySource", "drop", near.Value); !there {
					t.Error("the source in the drop zone is gone")
				}
			}
		},
	}.Run(t)
	if after := configuration(); after != before {
		t.Errorf("the permanent configuration was changed:\n%s\nwas\n%s", after, before)
	}
	if left := s.Cmd(t, "--list-all-zones"); strings.Contains(left, "-3133") {
		t.Errorf("left behind:\n%s", left)
	}
}

func effect(text string, d time.Duration) enforce.Effect {
	target, err := riposte.ParseTarget(riposte.Address, text)
	if err != nil {
		panic(err)
	}
	e := enforce.Effect{Target: target}
	if d > 0 {
		e.Until = time.Now().Add(d)
	}
	return e
}

func must(t testing.TB, do func(context.Context, []enforce.Effect) []enforce.Result, effects ...enforce.Effect) {
	t.Helper()
	for i, r := range do(t.Context(), effects) {
		if r.Err != nil || r.Output != "" {
			t.Fatalf("%s: %+v", effects[i].Target, r)
		}
	}
}

// TestForgetful: what firewalld forgets is put back at once, with the time that
// is left; what was undone is not.
func TestForgetful(t *testing.T) {
	s := newSite(t)
	m := s.open(t)
	kept, v6, ended, undone := effect("192.0.2.1", time.Hour), effect("2001:db8::/64", 0), effect("192.0.2.3", time.Second), effect("192.0.2.2", time.Hour)
	must(t, m.Apply, kept, v6, ended, undone)
	must(t, m.Undo, undone)
	time.Sleep(time.Until(ended.Until))
	check := func(when string) {
		t.Helper()
		lab.Until(t, when, func() bool { return dropped(t, kept.Target) && dropped(t, v6.Target) })
		if dropped(t, undone.Target) || dropped(t, ended.Target) {
			t.Errorf("%s: what was over came back", when)
		}
		if list, err := m.List(t.Context()); err != nil || len(list) != 2 {
			t.Errorf("%s: listed %v, %v", when, list, err)
		}
	}
	s.Cmd(t, "--reload")
	check("after a reload")
	s.Cmd(t, "--complete-reload")
	check("after a complete reload")

	s.Stop(t)
	if _, err := m.List(t.Context()); err == nil {
		t.Error("listed without firewalld")
	}
	for _, r := range m.Apply(t.Context(), []enforce.Effect{undone}) {
		if r.Err == nil {
			t.Error("applied without firewalld")
		}
	}
	for _, r := range m.Undo(t.Context(), []enforce.Effect{v6}) {
		if r.Err != nil || r.Output == "" {
			t.Errorf("undone without firewalld: %+v", r)
		}
	}
	if _, err := New(Options{Bus: s.Bus}); err == nil {
		t.Error("opened without firewalld")
	}
	s.Start(t)
	lab.Until(t, "the response is there after a restart", func() bool { return dropped(t, kept.Target) })
	if dropped(t, v6.Target) {
		t.Error("what was undone meanwhile came back")
	}
}

// TestEnds: firewalld itself takes a rule away when its time is up, and a
// renewed one not before its new end.
func TestEnds(t *testing.T) {
	s := newSite(t)
	m := s.open(t)
	short, renewed := effect("192.0.2.1", time.Second), effect("192.0.2.2", time.Second)
	must(t, m.Apply, short, renewed)
	renewed.Until = time.Now().Add(time.Hour)
	must(t, m.Apply, renewed)
	lab.Until(t, "the response ends", func() bool { return !dropped(t, short.Target) })
	if !dropped(t, renewed.Target) {
		t.Error("the renewed rule ended with the old one")
	}
	must(t, m.Undo, short, renewed)
}

// TestZones: a zone that comes into use later lacks the block, which then is
// not listed; to apply it again blocks there, too, and undo reaches zones that
// went out of use.
func TestZones(t *testing.T) {
	s := newSite(t)
	m := s.open(t)
	e := effect("192.0.2.1", time.Hour)
	must(t, m.Apply, e)
	s.call(t, nil, zones+".addSource", "trusted", "192.0.2.0/24")
	if list, err := m.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("listed %v, %v though the zone trusted is open", list, err)
	}
	must(t, m.Apply, e)
	if list, err := m.List(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("listed %v, %v", list, err)
	}
	s.call(t, nil, zones+".removeSource", "trusted", "192.0.2.0/24")
	must(t, m.Undo, e)
	if left := s.Cmd(t, "--list-all-zones"); strings.Contains(left, "-3133") {
		t.Errorf("left behind:\n%s", left)
	}
}

// TestPackets: a target, new or established, reaches this host no more,
// whichever zone it comes in by, and a bystander does.
func TestPackets(t *testing.T) {
	lab.Need(t)
	here, there := lab.Here(t), lab.NewHost(t, "there") // first: making a host ends a thread, and what it started
	s := newSite(t)
	m := s.open(t)
	l := lab.Connect(t, here, there, netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64"))
	s.call(t, nil, zones+".addInterface", "trusted", l.A)
	f := func(own, target netip.Addr, bystander netip.Prefix) {
		t.Helper()
		there.AddAddr(t, l.B, bystander)
		tcp, udp := here.Echo(t, "tcp", own), here.Echo(t, "udp", own)
		established, err := there.Dial("tcp", target, tcp)
		if err != nil {
			t.Fatal(err)
		}
		defer established.Close()
		if err := lab.Ask(established); err != nil {
			t.Fatal(err)
		}
		e := effect(target.String(), time.Hour)
		must(t, m.Apply, e)
		if there.ReachFrom("tcp", target, tcp) == nil || there.ReachFrom("udp", target, udp) == nil || lab.Ask(established) == nil {
			t.Errorf("%s gets through", target)
		}
		if err := there.ReachFrom("tcp", bystander.Addr(), tcp); err != nil {
			t.Errorf("a bystander: %v", err)
		}
		must(t, m.Undo, e)
		if err := there.ReachFrom("tcp", target, tcp); err != nil {
			t.Errorf("undone: %v", err)
		}
	}
	f(l.A4, l.B4, netip.MustParsePrefix("192.0.2.9/24"))
	f(l.A6, l.B6, netip.MustParsePrefix("2001:db8::9/64"))
}

// TestForwarded holds the documentation to its word: what is forwarded passes.
func TestForwarded(t *testing.T) {
	lab.Need(t)
	here, there, inner := lab.Here(t), lab.NewHost(t, "there"), lab.NewHost(t, "inner")
	out := lab.Connect(t, here, there, netip.MustParsePrefix("192.0.2.0/24"), netip.Prefix{})
	in := lab.Connect(t, here, inner, netip.MustParsePrefix("10.9.0.0/24"), netip.Prefix{})
	here.Forward(t)
	there.AddRoute(t, netip.MustParsePrefix("10.9.0.0/24"), out.A4)
	inner.AddRoute(t, netip.MustParsePrefix("0.0.0.0/0"), in.A4)
	s := newSite(t)
	m := s.open(t)
	for _, name := range []string{out.A, in.A} {
		s.call(t, nil, zones+".addInterface", "trusted", name)
	}
	e := effect(out.B4.String(), time.Hour)
	must(t, m.Apply, e)
	if err := there.Reach("tcp", inner.Echo(t, "tcp", in.B4)); err != nil {
		t.Errorf("firewalld has learnt to stop what is forwarded (%v): say so", err)
	}
	if there.Reach("tcp", here.Echo(t, "tcp", out.A4)) == nil {
		t.Error("the host is reached")
	}
}

func FuzzParseRule(f *testing.F) {
	f.Add(`rule priority="-31337" family="ipv4" source address="192.0.2.1" drop`)
	f.Add(`rule priority="-31336" family="ipv6" source address="2001:db8::/64" drop`)
	f.Fuzz(func(t *testing.T, text string) {
		if s, p, ok := parseRule(text); ok && rule(s, p) != text {
			t.Errorf("%q was taken for %q", text, rule(s, p))
		}
	})
}

func TestRule(t *testing.T) {
	for i := range 32 {
		p, _ := enforcetest.Addresses(i).Prefix()
		for s := range slot(slots) {
			if s2, p2, ok := parseRule(rule(s, p)); !ok || s2 != s || p2 != p {
				t.Errorf("%s was read as %v %v %v", rule(s, p), s2, p2, ok)
			}
		}
	}
	for _, text := range []string{
		"", `rule family="ipv4" source address="192.0.2.1" drop`, `rule priority="-31337" family="ipv4" source address="192.0.2.1" reject`,
		`rule priority="-31337" family="ipv4" source address="192.0.2.1" drop `, `rule priority="-31337" family="ipv6" source address="192.0.2.1" drop`,
		`rule priority="-31337" family="ipv4" source address="192.0.2.1/33" drop`, `rule priority="-31337" family="ipv4" source ipset="x" drop`,
		`rule priority="-31337" family="ipv4" source address="`, `rule priority="-31337" family="ipv6" source address="fe80::1%eth0" drop`,
		`rule priority="-31338" family="ipv4" source address="192.0.2.1" drop`,
		`rule priority="-31337" family="ipv4" source address="192.0.2.1/24" drop`, `rule priority="-31337" family="ipv6" source address="::ffff:192.0.2.1" drop`,
	} {
		if s, p, ok := parseRule(text); ok {
			t.Errorf("%q was taken for our rule %d %s", text, s, p)
		}
	}
}
