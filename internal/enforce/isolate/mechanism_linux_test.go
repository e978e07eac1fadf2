package isolate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

func openHere(t testing.TB, o Options) *Mechanism {
	t.Helper()
	lab.Need(t, "nft")
	m, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lab.Here(t).Try("nft", "delete table inet riposte_isolate") }) // undone, as a rule
	return m
}

// manager is a managers function for a test.
func manager(list ...netip.AddrPort) func(context.Context) ([]netip.AddrPort, error) {
	return func(context.Context) ([]netip.AddrPort, error) { return list, nil }
}

var somebody = manager(netip.MustParseAddrPort("192.0.2.9:1514"))

func lasting(d time.Duration) enforce.Effect {
	return enforce.Effect{Order: "order-1", Until: time.Now().Add(d)}
}

func must(t testing.TB, do func(context.Context, []enforce.Effect) []enforce.Result, effects ...enforce.Effect) []enforce.Result {
	t.Helper()
	results := do(t.Context(), effects)
	if len(results) != len(effects) {
		t.Fatalf("%d results for %d effects", len(results), len(effects))
	}
	for _, r := range results {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	return results
}

func wantListed(t testing.TB, m *Mechanism, want ...enforce.Effect) {
	t.Helper()
	list, err := m.List(t.Context())
	if err != nil || len(list) != len(want) {
		t.Fatalf("listed %v, %v; want %v", list, err, want)
	}
	for i, e := range list {
		if e.Target.Kind != riposte.None || e.Until.IsZero() != want[i].Until.IsZero() || e.Until.Sub(want[i].Until).Abs() > 2*time.Second {
			t.Errorf("listed %+v, want %+v", e, want[i])
		}
	}
}

// TestContract is what enforcetest asks of every mechanism, for one that has
// but one target.
func TestContract(t *testing.T) {
	m := openHere(t, Options{Managers: somebody})
	hour, day := lasting(time.Hour), lasting(24*time.Hour)
	forever := enforce.Effect{Force: true}
	if m.Name() == "" || m.Kind() != riposte.None || len(m.Apply(t.Context(), nil)) != 0 || len(m.Undo(t.Context(), nil)) != 0 {
		t.Error("described wrongly")
	}
	wantListed(t, m)
	must(t, m.Undo, hour) // the absent
	for _, e := range []enforce.Effect{hour, hour, day, hour, forever, day} {
		for _, r := range must(t, m.Apply, e) {
			if !r.Verified || !strings.Contains(r.Output, "192.0.2.9:1514") {
				t.Errorf("%+v", r)
			}
		}
		wantListed(t, m, e)
	}
	wantListed(t, openHere(t, Options{}), day) // after a restart
	must(t, m.Apply, day, hour)                // the later holds
	wantListed(t, m, hour)
	must(t, openHere(t, Options{}).Undo, hour, day)
	wantListed(t, m)
	must(t, m.Undo, hour)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := m.Apply(ctx, []enforce.Effect{hour}); !errors.Is(r[0].Err, context.Canceled) {
		t.Errorf("cancelled: %v", r[0].Err)
	}
	wantListed(t, m)
	must(t, m.Apply, hour)
	if r := m.Undo(ctx, []enforce.Effect{hour}); !errors.Is(r[0].Err, context.Canceled) {
		t.Errorf("cancelled: %v", r[0].Err)
	}
	wantListed(t, m, hour)
	must(t, m.Undo, hour)
}

func TestRefused(t *testing.T) {
	f := func(name string, o Options, e enforce.Effect, want string) {
		t.Helper()
		m := openHere(t, o)
		r := m.Apply(t.Context(), []enforce.Effect{e})[0]
		if want == "" && r.Err != nil || want != "" && (r.Err == nil || !strings.Contains(r.Err.Error(), want)) {
			t.Errorf("%s: %v; want %q", name, r.Err, want)
		}
		if want != "" {
			wantListed(t, m)
		}
		must(t, m.Undo, enforce.Effect{})
	}
	hour, forced := lasting(time.Hour), lasting(time.Hour)
	forced.Force = true
	f("no end", Options{Managers: somebody}, enforce.Effect{}, "without a timeout")
	f("no end, forced", Options{Managers: somebody}, enforce.Effect{Force: true}, "")
	f("nobody left", Options{}, hour, "nobody would be left")
	f("nobody left, forced", Options{}, forced, "")
	f("a network", Options{Keep: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, hour, "")
	f("manager unknown", Options{Managers: func(context.Context) ([]netip.AddrPort, error) { return nil, errors.New("no such host") }}, forced, "no such host")
	f("admins unknown", Options{Managers: somebody, Admins: func(context.Context) ([]netip.Addr, error) { return nil, errors.New("no utmp") }}, hour, "")
	f("an address", Options{Managers: somebody}, enforce.Effect{Target: riposte.Target{Kind: riposte.Address, Value: "192.0.2.1"}, Until: hour.Until}, "it is the host that is isolated")
}

// TestForeign: nobody else's tables are changed, and ours is mended.
func TestForeign(t *testing.T) {
	m := openHere(t, Options{Managers: somebody})
	here := lab.Here(t)
	here.Run(t, "nft", `
		table inet riposte {
			set v4 { type ipv4_addr; flags timeout; }
			chain prerouting { type filter hook prerouting priority -310; ip saddr @v4 drop; }
		}
		table ip riposte_isolate {
			chain prerouting { type filter hook prerouting priority -310; accept; }
		}`)
	t.Cleanup(func() { here.Run(t, "nft", "delete table inet riposte; delete table ip riposte_isolate") })
	before := here.Run(t, "nft", "list ruleset")
	hour := lasting(time.Hour)
	for _, damage := range []string{
		"list ruleset", "delete table inet riposte_isolate", "flush set inet riposte_isolate lasting", "flush chain inet riposte_isolate prerouting",
		"flush table inet riposte_isolate", "add table inet riposte_isolate { flags dormant; }", "add rule inet riposte_isolate postrouting accept",
	} {
		must(t, m.Apply, hour)
		here.Run(t, "nft", damage)
		if damage != "list ruleset" {
			wantListed(t, m)
		}
		must(t, m.Apply, hour)
		wantListed(t, m, hour)
	}
	must(t, m.Undo, hour)
	if after := here.Run(t, "nft", "list ruleset"); after != before {
		t.Errorf("there is now\n%s\nwas\n%s", after, before)
	}
}

// place is a host with a container and four neighbours, all of one family.
type place struct {
	here, container, manager, admin, resolver, other *lab.Host
	own, managerAt, adminAt, resolverAt, otherAt     netip.Addr
	inner                                            lab.Link
}

// newPlaces builds it for both families.
func newPlaces(t testing.TB) [2]*place {
	lab.Need(t)
	p4 := &place{
		here: lab.Here(t), container: lab.NewHost(t, "container"), manager: lab.NewHost(t, "manager"),
		admin: lab.NewHost(t, "admin"), resolver: lab.NewHost(t, "resolver"), other: lab.NewHost(t, "other"),
	}
	p6 := *p4
	p4.here.Forward(t)
	connect := func(h *lab.Host, n int) lab.Link {
		return lab.Connect(t, p4.here, h, netip.MustParsePrefix(fmt.Sprintf("10.9.%d.0/24", n)), netip.MustParsePrefix(fmt.Sprintf("fd09:%d::/64", n)))
	}
	inner, manager, admin, resolver, other := connect(p4.container, 1), connect(p4.manager, 2), connect(p4.admin, 3), connect(p4.resolver, 4), connect(p4.other, 5)
	p4.own, p6.own = other.A4, other.A6
	p4.managerAt, p6.managerAt = manager.B4, manager.B6
	p4.adminAt, p6.adminAt = admin.B4, admin.B6
	p4.resolverAt, p6.resolverAt = resolver.B4, resolver.B6
	p4.otherAt, p6.otherAt = other.B4, other.B6
	p4.inner, p6.inner = inner, inner
	for h, l := range map[*lab.Host]lab.Link{p4.container: inner, p4.manager: manager, p4.admin: admin, p4.resolver: resolver, p4.other: other} {
		h.AddRoute(t, netip.MustParsePrefix("0.0.0.0/0"), l.A4)
		h.AddRoute(t, netip.MustParsePrefix("::/0"), l.A6)
	}
	return [2]*place{p4, &p6}
}

// echoAt answers at a port of one's choice.
func echoAt(t testing.TB, h *lab.Host, network string, at netip.AddrPort) netip.AddrPort {
	t.Helper()
	if network == "tcp" {
		var l net.Listener
		if err := h.Do(func() (err error) { l, err = net.Listen("tcp", at.String()); return err }); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					buf := make([]byte, 512)
					for {
						n, err := c.Read(buf)
						if err != nil {
							return
						}
						c.Write(buf[:n])
					}
				}()
			}
		}()
		return at
	}
	var c net.PacketConn
	if err := h.Do(func() (err error) { c, err = net.ListenPacket("udp", at.String()); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			c.WriteTo(buf[:n], from)
		}
	}()
	return at
}

// TestPackets: who is left to talk to, and who is not, in both families.
func TestPackets(t *testing.T) {
	places := newPlaces(t)
	var managers []netip.AddrPort
	var admins, resolvers []netip.Addr
	for _, p := range places {
		managers = append(managers, netip.AddrPortFrom(p.managerAt, 1514))
		admins, resolvers = append(admins, p.adminAt), append(resolvers, p.resolverAt)
	}
	m := openHere(t, Options{
		Managers: manager(managers...), Resolvers: resolvers, DHCP: true,
		Admins: func(context.Context) ([]netip.Addr, error) { return admins, nil },
	})
	type way struct {
		name string
		open bool // when isolated
		try  func() error
	}
	var ways []way
	for _, p := range places {
		add := func(name string, open bool, try func() error) {
			ways = append(ways, way{p.own.String() + ": " + name, open, try})
		}
		inner := p.inner.B4
		if p.own.Is6() {
			inner = p.inner.B6
		}
		tcp, udp := p.here.Echo(t, "tcp", p.own), p.here.Echo(t, "udp", p.own)
		dial := func(h *lab.Host) net.Conn {
			c, err := h.Dial("tcp", netip.Addr{}, tcp)
			for range 20 { // neighbours are still getting to know each other
				if err == nil {
					break
				}
				time.Sleep(20 * time.Millisecond)
				c, err = h.Dial("tcp", netip.Addr{}, tcp)
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			return c
		}
		adminSession, otherSession := dial(p.admin), dial(p.other)
		out := p.here.Echo(t, "tcp", p.own) // an Echo of ours, dialled by ourselves
		add("loopback", true, func() error { return p.here.Reach("tcp", out) })
		for _, network := range []string{"tcp", "udp"} {
			link := echoAt(t, p.manager, network, netip.AddrPortFrom(p.managerAt, 1514))
			ssh := echoAt(t, p.manager, network, netip.AddrPortFrom(p.managerAt, 22))
			dns := echoAt(t, p.resolver, network, netip.AddrPortFrom(p.resolverAt, 53))
			foreignDNS := echoAt(t, p.other, network, netip.AddrPortFrom(p.otherAt, 53))
			add("manager's port over "+network, true, func() error { return p.here.Reach(network, link) })
			add("manager's other port over "+network, false, func() error { return p.here.Reach(network, ssh) })
			add("DNS over "+network, true, func() error { return p.here.Reach(network, dns) })
			add("DNS elsewhere over "+network, false, func() error { return p.here.Reach(network, foreignDNS) })
			add("container to the manager over "+network, false, func() error { return p.container.Reach(network, link) })
			add("container to somebody over "+network, false, func() error { return p.container.Reach(network, foreignDNS) })
			toContainer := p.container.Echo(t, network, inner)
			add("somebody to the container over "+network, false, func() error { return p.other.Reach(network, toContainer) })
		}
		add("manager to us", false, func() error { return p.manager.Reach("tcp", tcp) })
		add("administrator's open session", true, func() error { return lab.Ask(adminSession) })
		add("administrator's new session", false, func() error { return p.admin.Reach("tcp", tcp) })
		add("administrator over UDP", false, func() error { return p.admin.Reach("udp", udp) })
		add("new connection to the administrator", false, func() error { return p.here.Reach("tcp", p.admin.Echo(t, "tcp", p.adminAt)) })
		add("somebody's open session", false, func() error { return lab.Ask(otherSession) })
		add("somebody's new session", false, func() error { return p.other.Reach("tcp", tcp) })
		add("somebody over UDP", false, func() error { return p.other.Reach("udp", udp) })
		if p.own.Is4() {
			dhcp := echoAt(t, p.other, "udp", netip.AddrPortFrom(p.otherAt, 67))
			add("DHCP", true, func() error {
				var c net.Conn
				if err := p.here.Do(func() (err error) {
					c, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.own, 68)), net.UDPAddrFromAddrPort(dhcp))
					return err
				}); err != nil {
					return err
				}
				defer c.Close()
				return lab.Ask(c)
			})
		}
	}
	probe := func(when string, isolated bool) {
		t.Helper()
		var wg sync.WaitGroup
		errs := make([]error, len(ways))
		for i, w := range ways {
			wg.Go(func() { errs[i] = w.try() })
		}
		wg.Wait()
		for i, w := range ways {
			if open := !isolated || w.open; open != (errs[i] == nil) {
				t.Errorf("%s: %s: open %v, got %v", when, w.name, open, errs[i])
			}
		}
	}
	// resume waits for a session that stalled: TCP tries again by and by.
	resume := func() {
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
			stalled := false
			for _, w := range ways {
				stalled = stalled || strings.Contains(w.name, "open session") && w.try() != nil
			}
			if !stalled {
				return
			}
		}
	}
	for range 20 { // likewise
		if !slices.ContainsFunc(ways, func(w way) bool { return w.try() != nil }) {
			break
		}
	}
	probe("before", false)
	must(t, m.Apply, lasting(time.Hour))
	probe("isolated", true)
	must(t, m.Undo, enforce.Effect{})
	resume()
	probe("undone", false)

	// The kernel ends it by itself.
	must(t, m.Apply, lasting(1200*time.Millisecond))
	probe("for a second", true)
	time.Sleep(800 * time.Millisecond)
	wantListed(t, m)
	resume()
	probe("after its end", false)
	must(t, m.Undo, enforce.Effect{})
}

// TestKeep: a network that is kept is open both ways, for new connections, too.
func TestKeep(t *testing.T) {
	lab.Need(t, "nft")
	here, kept, other := lab.Here(t), lab.NewHost(t, "kept"), lab.NewHost(t, "other")
	a := lab.Connect(t, here, kept, netip.MustParsePrefix("10.9.1.0/24"), netip.MustParsePrefix("fd09:1::/64"))
	b := lab.Connect(t, here, other, netip.MustParsePrefix("10.9.2.0/24"), netip.MustParsePrefix("fd09:2::/64"))
	m := openHere(t, Options{Keep: []netip.Prefix{netip.MustParsePrefix("10.9.1.0/24"), netip.MustParsePrefix("fd09:1::/64")}})
	must(t, m.Apply, lasting(time.Hour))
	for _, own := range []netip.Addr{a.A4, a.A6} {
		if err := kept.Reach("tcp", here.Echo(t, "tcp", own)); err != nil {
			t.Errorf("from the kept: %v", err)
		}
	}
	for _, at := range []netip.Addr{a.B4, a.B6} {
		if err := here.Reach("udp", kept.Echo(t, "udp", at)); err != nil {
			t.Errorf("to the kept: %v", err)
		}
	}
	if other.Reach("tcp", here.Echo(t, "tcp", b.A4)) == nil || here.Reach("tcp", other.Echo(t, "tcp", b.B6)) == nil {
		t.Error("another gets through")
	}
	must(t, m.Undo, enforce.Effect{})
}
