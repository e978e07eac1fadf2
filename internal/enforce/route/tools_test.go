package route

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/enforce/enforcetest"
	"riposte/internal/enforce/tool"
)

// TestArguments: the exact commands, none of which is ever seen by a shell.
func TestArguments(t *testing.T) {
	var ran []string
	record := func(_ context.Context, argv []string, _ []byte) ([]byte, []byte, error) {
		ran = append(ran, strings.Join(argv, " "))
		return nil, nil, nil
	}
	f := func(m *tool.Mechanism, address string, want ...string) {
		t.Helper()
		ran = nil
		effects := []enforce.Effect{{Target: enforce.AddressTarget(enforcetest.Prefix(address))}}
		m.Apply(t.Context(), effects)
		m.Undo(t.Context(), effects)
		want = []string{want[0], want[2], want[1], want[2]} // each is followed by a look
		if !slices.Equal(ran, want) {
			t.Errorf("%s: ran\n%s\nwant\n%s", address, strings.Join(ran, "\n"), strings.Join(want, "\n"))
		}
	}
	bsd, windows := NewBSD(record), NewWindows(record, 1)
	f(bsd, "203.0.113.9", "route -q add -host 203.0.113.9 127.0.0.1 -blackhole",
		"route -q delete -host 203.0.113.9 127.0.0.1 -blackhole", "netstat -rn -f inet")
	f(bsd, "198.51.100.0/24", "route -q add -net 198.51.100.0/24 127.0.0.1 -blackhole",
		"route -q delete -net 198.51.100.0/24 127.0.0.1 -blackhole", "netstat -rn -f inet")
	f(bsd, "2001:db8::1", "route -q add -inet6 -host 2001:db8::1 ::1 -blackhole",
		"route -q delete -inet6 -host 2001:db8::1 ::1 -blackhole", "netstat -rn -f inet6")
	f(bsd, "2001:db8::/64", "route -q add -inet6 -net 2001:db8::/64 ::1 -blackhole",
		"route -q delete -inet6 -net 2001:db8::/64 ::1 -blackhole", "netstat -rn -f inet6")
	f(windows, "203.0.113.9", "route.exe ADD 203.0.113.9 MASK 255.255.255.255 0.0.0.0 IF 1",
		"route.exe DELETE 203.0.113.9 MASK 255.255.255.255 0.0.0.0 IF 1", "route.exe PRINT -4")
	f(windows, "198.51.100.0/24", "route.exe ADD 198.51.100.0 MASK 255.255.255.0 0.0.0.0 IF 1",
		"route.exe DELETE 198.51.100.0 MASK 255.255.255.0 0.0.0.0 IF 1", "route.exe PRINT -4")
	f(windows, "2001:db8::1", "route.exe ADD 2001:db8::1/128 :: IF 1",
		"route.exe DELETE 2001:db8::1/128 :: IF 1", "route.exe PRINT -6")
	f(windows, "2001:db8::/64", "route.exe ADD 2001:db8::/64 :: IF 1",
		"route.exe DELETE 2001:db8::/64 :: IF 1", "route.exe PRINT -6")
}

// What the systems print, in the columns of their releases.
const (
	freeBSD = `Routing tables

Internet:
Destination        Gateway            Flags     Netif Expire
default            10.0.2.2           UGS         em0
10.0.2.0/24        link#1             U           em0
127.0.0.1          link#2             UH          lo0
198.51.100.0/24    127.0.0.1          UGSB        lo0
203.0.113.9        127.0.0.1          UGHSB       lo0
203.0.113.10       127.0.0.1          UGHS        lo0
`
	openBSD6 = `Routing tables

Internet6:
Destination                        Gateway                        Flags   Refs      Use   Mtu  Prio Iface
default                            fe80::1%vio0                   UGS        0        3     -     8 vio0
::1                                ::1                            UHhl      10       12 32768     1 lo0
2001:db8::1                        ::1                            UGHSB      0        0 32768     8 lo0
2001:db8:f000::/64                 ::1                            UGSB       0        0 32768     8 lo0
fe80::%lo0/64                      fe80::1%lo0                    U          0        1 32768     4 lo0
`
	macOS = `Routing tables

Internet:
Destination        Gateway            Flags           Netif Expire
default            192.168.1.1        UGScg             en0
10.1/16            127.0.0.1          UGSB              lo0
127                127.0.0.1          UCS               lo0
198.51.100         127.0.0.1          UGSB              lo0
203.0.113.9        127.0.0.1          UGHSB             lo0
`
	windows4 = `===========================================================================
Interface List
  5...08 00 27 aa bb cc ......Intel(R) PRO/1000 MT Desktop Adapter
  1...........................Software Loopback Interface 1
===========================================================================

IPv4 Route Table
===========================================================================
Active Routes:
Network Destination        Netmask          Gateway       Interface  Metric
          0.0.0.0          0.0.0.0         10.0.2.2        10.0.2.15     25
        127.0.0.0        255.0.0.0         On-link         127.0.0.1    331
     198.51.100.0    255.255.255.0         On-link         127.0.0.1    331
      203.0.113.9  255.255.255.255         On-link         127.0.0.1    331
     203.0.113.10  255.255.255.255         10.0.2.2        10.0.2.15     26
  255.255.255.255  255.255.255.255         On-link         127.0.0.1    331
===========================================================================
Persistent Routes:
  None
`
	windows6German = `IPv6-Routentabelle
===========================================================================
Aktive Routen:
 If Metrik Netzwerkziel             Gateway
  1    331 ::1/128                  Auf Verbindung
  1    331 2001:db8::1/128          Auf Verbindung
  1    331 2001:db8:1234:5678:9abc:def0:1234:5678/128
                                    Auf Verbindung
  5    281 fe80::/64                Auf Verbindung
  5    281 2001:db8:7::/64          Auf Verbindung
===========================================================================
Ständige Routen:
  Keine
`
)

func TestParse(t *testing.T) {
	f := func(got []netip.Prefix, want ...string) {
		t.Helper()
		var text []string
		for _, p := range got {
			text = append(text, p.String())
		}
		if !slices.Equal(text, want) {
			t.Errorf("found %v, want %v", text, want)
		}
	}
	f(bsdParse([]byte(freeBSD)), "198.51.100.0/24", "203.0.113.9/32")
	f(bsdParse([]byte(openBSD6)), "2001:db8::1/128", "2001:db8:f000::/64")
	f(bsdParse([]byte(macOS)), "10.1.0.0/16", "198.51.100.0/24", "203.0.113.9/32")
	f(windowsParse([]byte(windows4), 1), "127.0.0.0/8", "198.51.100.0/24", "203.0.113.9/32", "255.255.255.255/32")
	f(windowsParse([]byte(windows6German), 1), "::1/128", "2001:db8::1/128", "2001:db8:1234:5678:9abc:def0:1234:5678/128")
	f(windowsParse([]byte(windows6German), 5), "fe80::/64", "2001:db8:7::/64")
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{freeBSD, openBSD6, macOS, windows4, windows6German, "a/b c SB\n/ x B"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, p := range append(bsdParse(b), windowsParse(b, 1)...) {
			if !p.IsValid() || p.Addr().Is4In6() {
				t.Errorf("found %v", p)
			}
		}
	})
}

// machine plays a system's routing table: it does what the tools would, and
// prints as they print. It answers an addition of what is there, and a deletion
// of what is not, with a failure, as they do.
type machine struct {
	routes map[netip.Prefix]bool // true: leads nowhere
	print  func(m *machine, v6 bool) string
	broken bool
}

func (m *machine) run(ctx context.Context, argv []string, _ []byte) ([]byte, []byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	failed := errors.New("exit status 1")
	switch verb := strings.ToLower(strings.Join(argv[:2], " ")); verb {
	case "netstat -rn", "route.exe print":
		return []byte(m.print(m, slices.Contains(argv, "inet6") || slices.Contains(argv, "-6"))), nil, nil
	case "route -q", "route.exe add", "route.exe delete":
		var p netip.Prefix
		for i, word := range argv {
			if q, err := netip.ParsePrefix(word); err == nil {
				p = q
			} else if a, err := netip.ParseAddr(word); err == nil && !p.IsValid() {
				p = netip.PrefixFrom(a, a.BitLen())
				if i+2 < len(argv) && argv[i+1] == "MASK" {
					bits, _ := net.IPMask(netip.MustParseAddr(argv[i+2]).AsSlice()).Size()
					p = netip.PrefixFrom(a, bits)
				}
			}
		}
		null, there := m.routes[p]
		switch add := argv[2] == "add" || argv[1] == "ADD"; {
		case m.broken, add == there:
			return nil, []byte("route: failed\n"), failed
		case add:
			m.routes[p] = true
		case null:
			delete(m.routes, p)
		}
		return nil, nil, nil
	}
	return nil, nil, fmt.Errorf("unexpected command %q", argv)
}

func printBSD(m *machine, v6 bool) string {
	var b strings.Builder
	for p, null := range m.routes {
		if p.Addr().Is6() != v6 {
			continue
		}
		destination, flags := p.String(), "UGS"
		if p.IsSingleIP() {
			destination, flags = p.Addr().String(), "UGHS"
		}
		if null {
			flags += "B"
		}
		fmt.Fprintf(&b, "%-34s 127.0.0.1 %s lo0\n", destination, flags)
	}
	return b.String()
}

func printWindows(m *machine, v6 bool) string {
	var b strings.Builder
	for p, null := range m.routes {
		if p.Addr().Is6() != v6 {
			continue
		}
		index, via := 5, "10.0.2.15"
		if null {
			index, via = 1, "127.0.0.1"
		}
		if v6 {
			fmt.Fprintf(&b, "  %d    331 %s  On-link\n", index, p)
		} else {
			fmt.Fprintf(&b, " %s %s Auf Verbindung %s 331\n", p.Addr(), net.IP(net.CIDRMask(p.Bits(), 32)), via)
		}
	}
	return b.String()
}

func TestToolsContract(t *testing.T) {
	f := func(name string, m *machine, open func(enforce.Runner) *tool.Mechanism) {
		t.Run(name, func(t *testing.T) {
			enforcetest.Suite{
				New:  func(testing.TB) enforce.Mechanism { return open(m.run) },
				Bulk: 300,
				InForce: func(_ testing.TB, target riposte.Target) bool {
					p, _ := target.Prefix()
					return m.routes[p]
				},
				Foreign: func(t testing.TB, near riposte.Target) func(testing.TB) {
					p, _ := near.Prefix()
					foreign := map[netip.Prefix]bool{p: false, enforcetest.Prefix("192.0.2.1"): true, enforcetest.Prefix("2001:db8:77::/48"): true}
					for q, null := range foreign {
						m.routes[q] = null
						t.Cleanup(func() { delete(m.routes, q) })
					}
					return func(t testing.TB) {
						t.Helper()
						for q, null := range foreign {
							if now, there := m.routes[q]; !there || now != null {
								t.Errorf("the route to %s is %v, %v", q, now, there)
							}
						}
					}
				},
			}.Run(t)
		})
	}
	f("BSD", &machine{routes: make(map[netip.Prefix]bool), print: printBSD}, NewBSD)
	f("Windows", &machine{routes: make(map[netip.Prefix]bool), print: printWindows},
		func(run enforce.Runner) *tool.Mechanism { return NewWindows(run, 1) })
}

// TestBroken: a tool that fails, and one that says it did and did not.
func TestBroken(t *testing.T) {
	m := &machine{routes: make(map[netip.Prefix]bool), print: printBSD, broken: true}
	c := NewBSD(m.run)
	one := enforce.Effect{Target: enforce.AddressTarget(enforcetest.Prefix("203.0.113.9"))}
	if r := c.Apply(t.Context(), []enforce.Effect{one}); r[0].Err == nil || !strings.Contains(r[0].Err.Error(), "exit status 1") {
		t.Errorf("applied: %+v", r)
	}
	lies := NewBSD(func(context.Context, []string, []byte) ([]byte, []byte, error) { return nil, nil, nil })
	if r := lies.Apply(t.Context(), []enforce.Effect{one}); r[0].Err == nil {
		t.Errorf("applied by a tool that does nothing: %+v", r)
	}
	m.routes[enforcetest.Prefix("203.0.113.9")] = true
	if r := c.Undo(t.Context(), []enforce.Effect{one}); r[0].Err == nil {
		t.Errorf("undone: %+v", r)
	}
}
