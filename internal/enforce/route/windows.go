package route

import (
	"bytes"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"riposte/internal/enforce"
	"riposte/internal/enforce/tool"
)

// NewWindows blocks with route.exe. loopback is the number of the loopback
// interface, 1 on every Windows since Vista:
//
//	route.exe ADD 203.0.113.9 MASK 255.255.255.255 0.0.0.0 IF 1
//
// The gateway 0.0.0.0 (as in OSSEC's route-null.cmd) says that the target is on
// the link, and the interface says that the link is loopback, where nobody is.
// Wazuh's route-null.exe names the host's default gateway instead, which sends
// the packets on their usual way. Nor is the route made to last (-p): if a
// restart finds no riposte there is nobody to delete it.
func NewWindows(run enforce.Runner, loopback int) *tool.Mechanism {
	return tool.New(tool.System{
		Name: Name,
		Add: func(prefixes []netip.Prefix) []tool.Command {
			return tool.Each(prefixes, func(p netip.Prefix) []string { return windowsRoute("ADD", p, loopback) })
		},
		Delete: func(prefixes []netip.Prefix) []tool.Command {
			return tool.Each(prefixes, func(p netip.Prefix) []string { return windowsRoute("DELETE", p, loopback) })
		},
		Show: func(prefixes []netip.Prefix) []tool.Command {
			return perFamily(prefixes, []string{"route.exe", "PRINT", "-4"}, []string{"route.exe", "PRINT", "-6"})
		},
		Parse: func(out []byte) []netip.Prefix { return windowsParse(out, loopback) },
	}, run)
}

func windowsRoute(verb string, p netip.Prefix, loopback int) []string {
	argv := []string{"route.exe", verb}
	if p.Addr().Is4() {
		argv = append(argv, p.Addr().String(), "MASK", net.IP(net.CIDRMask(p.Bits(), 32)).String(), "0.0.0.0")
	} else {
		argv = append(argv, p.String(), "::")
	}
	return append(argv, "IF", strconv.Itoa(loopback))
}

// windowsParse reads the tables of `route PRINT`, whose words are in the
// system's language: only the numbers count. A null route of IPv4 is a line of
// destination, mask, a gateway in words ("On-link"), the loopback interface's
// address and the metric; one of IPv6 a line of interface number, metric and
// prefix, with the gateway behind it or on the next line.
func windowsParse(out []byte, loopback int) []netip.Prefix {
	var found []netip.Prefix
	for line := range bytes.Lines(out) {
		fields := strings.Fields(string(line))
		if p, ok := windowsIPv4(fields); ok {
			found = append(found, p)
		} else if p, ok := windowsIPv6(fields, loopback); ok {
			found = append(found, p)
		}
	}
	return found
}

func windowsIPv6(fields []string, loopback int) (p netip.Prefix, ok bool) {
	if len(fields) < 3 || fields[0] != strconv.Itoa(loopback) {
		return p, false
	}
	p, err := netip.ParsePrefix(fields[2])
	return p, err == nil && p.Addr().Is6()
}

func windowsIPv4(fields []string) (p netip.Prefix, ok bool) {
	if len(fields) < 5 {
		return p, false
	}
	a, err := netip.ParseAddr(fields[0])
	if err != nil || !a.Is4() {
		return p, false
	}
	mask, err := netip.ParseAddr(fields[1])
	if err != nil || !mask.Is4() {
		return p, false
	}
	bits, size := net.IPMask(mask.AsSlice()).Size()
	via, err := netip.ParseAddr(fields[len(fields)-2]) // the gateway may be several words
	if size == 0 || err != nil || !via.IsLoopback() {
		return p, false
	}
	p, err = a.Prefix(bits)
	return p, err == nil
}
