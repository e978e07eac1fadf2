package enforcetest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"riposte/internal/enforce"
	"riposte/internal/lab"
)

// Street is a small piece of the Internet around the host under test:
//
//	inner ── here ── gateway ─┬─ attacker
//	                          └─ bystander
//
// The host forwards to inner, which also stands for a container: port 80 of the
// host is passed on to it by address translation, and the host's own firewall
// lets established connections through, as every firewall does, and accepts
// everything before anybody else has a say.
type Street struct {
	Here, Inner, Gateway, Attacker, Bystander *lab.Host

	outside, inside, attacker, bystander lab.Link
}

// NewStreet builds the street. It needs the nft program for the host's own
// rules.
func NewStreet(t testing.TB) *Street {
	t.Helper()
	lab.Need(t, "nft")
	s := &Street{
		Here: lab.Here(t), Inner: lab.NewHost(t, "inner"), Gateway: lab.NewHost(t, "gateway"),
		Attacker: lab.NewHost(t, "attacker"), Bystander: lab.NewHost(t, "bystander"),
	}
	connect := func(a, b *lab.Host, v4, v6 string) lab.Link {
		return lab.Connect(t, a, b, netip.MustParsePrefix(v4), netip.MustParsePrefix(v6))
	}
	s.inside = connect(s.Here, s.Inner, "10.9.0.0/24", "fd09::/64")
	s.outside = connect(s.Gateway, s.Here, "192.0.2.0/24", "2001:db8:1::/64")
	s.attacker = connect(s.Gateway, s.Attacker, "203.0.113.0/24", "2001:db8:a::/64")
	s.bystander = connect(s.Gateway, s.Bystander, "198.51.100.0/24", "2001:db8:b::/64")
	for _, r := range []*lab.Host{s.Here, s.Gateway} {
		r.Forward(t)
	}
	routes := func(h *lab.Host, via4, via6 netip.Addr) {
		h.AddRoute(t, netip.MustParsePrefix("0.0.0.0/0"), via4)
		h.AddRoute(t, netip.MustParsePrefix("::/0"), via6)
	}
	routes(s.Inner, s.inside.A4, s.inside.A6)
	routes(s.Here, s.outside.A4, s.outside.A6)
	routes(s.Attacker, s.attacker.A4, s.attacker.A6)
	routes(s.Bystander, s.bystander.A4, s.bystander.A6)
	s.Gateway.AddRoute(t, netip.MustParsePrefix("10.9.0.0/24"), s.outside.B4)
	s.Gateway.AddRoute(t, netip.MustParsePrefix("fd09::/64"), s.outside.B6)
	s.Here.Run(t, "nft", `table inet site {
		chain earliest { type filter hook prerouting priority -450; accept; }
		chain early { type filter hook prerouting priority -310; accept; }
		chain input { type filter hook input priority 0; ct state established,related accept; }
		chain forward { type filter hook forward priority 0; ct state established,related accept; }
		chain inward { type nat hook prerouting priority -100; }
		chain outward { type nat hook postrouting priority 100; }
	}`)
	t.Cleanup(func() { s.Here.Run(t, "nft", "delete table inet site") })
	return s
}

// family is the street seen in one address family.
type family struct {
	*Street
	name                                    string
	here, inner, attacker, bystander        netip.Addr
	hereTCP, hereUDP, innerTCP, attackerTCP netip.AddrPort
	container                               netip.AddrPort
	established                             net.Conn
}

func (s *Street) families(t testing.TB) []*family {
	t.Helper()
	fs := []*family{
		{Street: s, name: "IPv4", here: s.outside.B4, inner: s.inside.B4, attacker: s.attacker.B4, bystander: s.bystander.B4},
		{Street: s, name: "IPv6", here: s.outside.B6, inner: s.inside.B6, attacker: s.attacker.B6, bystander: s.bystander.B6},
	}
	for i, f := range fs {
		f.hereTCP, f.hereUDP = s.Here.Echo(t, "tcp", f.here), s.Here.Echo(t, "udp", f.here)
		f.innerTCP, f.attackerTCP = s.Inner.Echo(t, "tcp", f.inner), s.Attacker.Echo(t, "tcp", f.attacker)
		f.container = netip.AddrPortFrom(f.here, 80)
		ip := []string{"ip", "ip6"}[i]
		s.Here.Run(t, "nft", fmt.Sprintf("add rule inet site inward %s daddr %s tcp dport 80 dnat %s to %s", ip, f.here, ip, f.innerTCP))
		s.Here.Run(t, "nft", fmt.Sprintf("add rule inet site outward %s saddr %s masquerade", ip, f.inner))
	}
	return fs
}

// paths are the ways from a peer to the host and beyond.
func (f *family) paths(peer *lab.Host) map[string]func() error {
	return map[string]func() error{
		"TCP to the host":      func() error { return peer.Reach("tcp", f.hereTCP) },
		"UDP to the host":      func() error { return peer.Reach("udp", f.hereUDP) },
		"TCP to a host beyond": func() error { return peer.Reach("tcp", f.innerTCP) },
		"TCP to a container":   func() error { return peer.Reach("tcp", f.container) },
	}
}

// probe asks on all paths of all families at once: silence takes its time.
func probe(t testing.TB, fs []*family, when string, blocked bool) {
	t.Helper()
	type question struct {
		path      string
		bystander bool
		err       error
	}
	var asked []*question
	var wg sync.WaitGroup
	ask := func(q *question, try func() error) {
		asked = append(asked, q)
		wg.Go(func() {
			// What shall get through is given time on a busy machine.
			for range 3 {
				if q.err = try(); q.err == nil || blocked && !q.bystander {
					return
				}
			}
		})
	}
	for _, f := range fs {
		for path, try := range f.paths(f.Attacker) {
			ask(&question{path: f.name + " " + path}, try)
		}
		ask(&question{path: f.name + " TCP from here"}, func() error { return f.Here.Reach("tcp", f.attackerTCP) })
		ask(&question{path: f.name + " established connection"}, func() error { return lab.Ask(f.established) })
		for path, try := range f.paths(f.Bystander) {
			ask(&question{path: "bystander's " + f.name + " " + path, bystander: true}, try)
		}
	}
	wg.Wait()
	for _, q := range asked {
		switch {
		case blocked && !q.bystander && q.err == nil:
			t.Errorf("%s: %s gets through", when, q.path)
		case (!blocked || q.bystander) && q.err != nil:
			t.Errorf("%s: %s: %v", when, q.path, q.err)
		}
	}
}

// connect opens the connection that is established when the block comes.
func (f *family) connect(t testing.TB) {
	t.Helper()
	c, err := f.Attacker.Dial("tcp", netip.Addr{}, f.hereTCP)
	if err != nil {
		t.Fatalf("%s: %v", f.name, err)
	}
	t.Cleanup(func() { c.Close() })
	f.established = c
}

// resume waits for the stalled connection to go on: TCP tries again by and by.
func (f *family) resume(t testing.TB, when string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		err := lab.Ask(f.established)
		if err == nil {
			return
		}
		var timeout net.Error
		if time.Now().After(deadline) || !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Fatalf("%s, %s: the stalled connection does not go on: %v", f.name, when, err)
		}
	}
}

// Packets proves with packets that a mechanism blocks an address and a prefix,
// on every path, new and established connections, both families, leaves a
// bystander alone, and lets go: by Undo, and by itself when the host holds the
// ends (timed).
func Packets(t *testing.T, open func(t testing.TB) enforce.Mechanism, timed bool) {
	m := open(t)
	fs := NewStreet(t).families(t)
	for _, f := range fs {
		f.connect(t)
	}
	resume := func(when string) {
		for _, f := range fs {
			f.resume(t, when)
		}
		probe(t, fs, when, false)
	}
	effects := func(name func(*family) string, d time.Duration) []enforce.Effect {
		var out []enforce.Effect
		for _, f := range fs {
			e := enforce.Effect{Target: address(name(f))}
			if timed {
				e.Until = time.Now().Add(d)
			}
			out = append(out, e)
		}
		return out
	}
	single := func(f *family) string { return f.attacker.String() }
	prefix := func(f *family) string {
		return netip.PrefixFrom(f.attacker, f.attacker.BitLen()-8).Masked().String()
	}

	probe(t, fs, "before", false)
	for name, text := range map[string]func(*family) string{"address": single, "prefix": prefix} {
		es := effects(text, time.Hour)
		must(t, m.Apply(t.Context(), es))
		probe(t, fs, name+" blocked", true)
		must(t, m.Undo(t.Context(), es))
		resume(name + " undone")
	}
	if timed {
		must(t, m.Apply(t.Context(), effects(single, 4*time.Second)))
		probe(t, fs, "blocked for four seconds", true)
		resume("after its end")
	}
}

func must(t testing.TB, results []enforce.Result) {
	t.Helper()
	for _, r := range results {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
}
