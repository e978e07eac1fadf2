package selftest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"riposte/internal/enforce"
)

// family is the network in one address family. The addresses are those set
// aside for documentation and private use; nobody outside ever sees them.
type family struct {
	name                                  string
	v6                                    bool
	host, target, bystander, gate, inside netip.Addr
	outer, inner                          netip.Prefix
	everywhere                            netip.Prefix
	publishing                            error // why the container's port is not published
}

func families() []*family {
	a := netip.MustParseAddr
	return []*family{
		{
			name: "IPv4", host: a("198.51.100.1"), target: a("198.51.100.66"), bystander: a("198.51.100.77"), gate: a("10.88.0.1"), inside: a("10.88.0.2"),
			outer: netip.MustParsePrefix("198.51.100.0/24"), inner: netip.MustParsePrefix("10.88.0.0/24"), everywhere: netip.MustParsePrefix("0.0.0.0/0"),
		},
		{
			name: "IPv6", v6: true, host: a("2001:db8::1"), target: a("2001:db8::66"), bystander: a("2001:db8::77"), gate: a("fd88::1"), inside: a("fd88::2"),
			outer: netip.MustParsePrefix("2001:db8::/64"), inner: netip.MustParsePrefix("fd88::/64"), everywhere: netip.MustParsePrefix("::/0"),
		},
	}
}

// published is the host's port that leads to the container's.
const published = 80

// street is the peer, the host and the container.
type street struct {
	peer, host, container *machine
	families              []*family
	bridge                error // why there is no bridge
}

// newStreet builds it, the published ports excepted.
func newStreet() (s *street, err error) {
	s = &street{families: families()}
	for _, m := range []struct {
		name string
		to   **machine
	}{{"peer", &s.peer}, {"host", &s.host}, {"container", &s.container}} {
		if *m.to, err = newMachine(m.name); err != nil {
			s.close()
			return nil, err
		}
	}
	if err := s.connect(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *street) close() {
	for _, m := range []*machine{s.peer, s.host, s.container} {
		if m != nil {
			m.close()
		}
	}
}

// connect lays the cables and gives out the addresses.
func (s *street) connect() error {
	inward, err := s.hostSide()
	if err != nil {
		return fmt.Errorf("setting up the host: %w", err)
	}
	for _, end := range []struct {
		at        *machine
		addresses func(*family) []netip.Prefix
		via       func(*family) netip.Addr
	}{
		{s.peer, func(f *family) []netip.Prefix { return on(f.outer, f.target, f.bystander) }, func(f *family) netip.Addr { return f.host }},
		{s.container, func(f *family) []netip.Prefix { return on(f.inner, f.inside) }, func(f *family) netip.Addr { return f.gate }},
	} {
		err := end.at.do(func() error {
			if err := raise("up"); err != nil {
				return err
			}
			for _, f := range s.families {
				if err := address("up", end.addresses(f)...); err != nil {
					return err
				}
				if err := netlink.RouteAdd(&netlink.Route{Dst: ipNet(f.everywhere), Gw: end.via(f).AsSlice()}); err != nil {
					return fmt.Errorf("route to %s: %w", f.everywhere, err)
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("setting up the %s: %w", end.at.name, err)
		}
	}
	return s.host.do(func() error { return carriers("outside", "inside", inward) })
}

// on is addresses with the length of their network's prefix.
func on(network netip.Prefix, list ...netip.Addr) (out []netip.Prefix) {
	for _, a := range list {
		out = append(out, netip.PrefixFrom(a, network.Bits()))
	}
	return out
}

// hostSide makes both cables, the bridge and the addresses of the host, and
// makes it a router. It returns the interface that faces the container.
func (s *street) hostSide() (inward string, err error) {
	inward = "bridge"
	return inward, s.host.do(func() error {
		for name, far := range map[string]*machine{"outside": s.peer, "inside": s.container} {
			// Ends of equal index would be taken for an ordinary device, whose
			// carrier the kernel may be a second late to notice.
			cable := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, Index: 100 + len(name)}, PeerName: "up", PeerNamespace: netlink.NsFd(int(far.ns.Fd()))}
			if err := netlink.LinkAdd(cable); err != nil {
				return fmt.Errorf("cable to the %s: %w", far.name, err)
			}
		}
		if s.bridge = makeBridge(inward, "inside"); s.bridge != nil {
			inward = "inside"
		}
		for _, name := range []string{"outside", "inside", inward} {
			if err := raise(name); err != nil {
				return err
			}
		}
		for _, f := range s.families {
			if err := errors.Join(address("outside", on(f.outer, f.host)...), address(inward, on(f.inner, f.gate)...)); err != nil {
				return err
			}
		}
		return errors.Join(sysctl("ipv4/ip_forward", "1"), sysctl("ipv6/conf/all/forwarding", "1"))
	})
}

// makeBridge makes a bridge with one port.
func makeBridge(name, port string) error {
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}); err != nil {
		return err
	}
	bridge, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	link, err := netlink.LinkByName(port)
	if err != nil {
		return err
	}
	return netlink.LinkSetMaster(link, bridge)
}

// raise brings an interface up. The kernel joins the multicast group of a new
// IPv6 address a little late, and a neighbour's first question may be lost: it
// must not wait a second before it asks again.
func raise(name string) error {
	for _, ip := range []string{"ipv4", "ipv6"} {
		if err := sysctl(ip+"/neigh/"+name+"/retrans_time_ms", "20"); err != nil {
			return err
		}
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	return netlink.LinkSetUp(link)
}

func address(name string, list ...netip.Prefix) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	for _, p := range list {
		a := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(link, a); err != nil {
			return fmt.Errorf("address %s: %w", p, err)
		}
	}
	return nil
}

// carriers waits until the interfaces carry packets: until then the kernel
// drops them.
func carriers(names ...string) error {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		waiting := ""
		for _, name := range names {
			link, err := netlink.LinkByName(name)
			if err != nil {
				return fmt.Errorf("interface %s: %w", name, err)
			}
			if link.Attrs().OperState != netlink.OperUp {
				waiting = name
			}
		}
		if waiting == "" {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("interface %s has no carrier", waiting)
		}
	}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// publish leads the host's published port to the container's, as a container
// engine does, and lets established connections through, as every firewall
// does. Where the kernel has no nftables, iptables does it.
func (s *street) publish(ctx context.Context, run enforce.Runner, to map[*family]netip.AddrPort) {
	for _, f := range s.families {
		f.publishing = s.host.do(func() error { return translate(f, to[f]) })
		if f.publishing == nil {
			continue
		}
		tool := "iptables"
		if f.v6 {
			tool = "ip6tables"
		}
		err := s.host.do(func() error {
			_, _, err := run(ctx, []string{tool, "-w", "5", "-t", "nat", "-A", "PREROUTING", "-d", f.host.String(), "-p", "tcp", "--dport", fmt.Sprint(published),
				"-j", "DNAT", "--to-destination", to[f].String()}, nil)
			return err
		})
		if err == nil {
			f.publishing = nil
			continue
		}
		f.publishing = errors.Join(f.publishing, err)
	}
}
