package route

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"riposte/internal/enforce"
	"riposte/internal/enforce/tool"
)

// NewBSD blocks with route(8) of FreeBSD, OpenBSD, NetBSD, DragonFly and macOS,
// as OSSEC's route-null.sh does:
//
//	route -q add -host 203.0.113.9 127.0.0.1 -blackhole
//
// -host and -inet6 say what the script leaves to be guessed: an address that
// ends in .0 would become a network, and an IPv6 address a host name.
func NewBSD(run enforce.Runner) *tool.Mechanism {
	return tool.New(tool.System{
		Name: Name,
		Add: func(prefixes []netip.Prefix) []tool.Command {
			return tool.Each(prefixes, func(p netip.Prefix) []string { return bsdRoute("add", p) })
		},
		Delete: func(prefixes []netip.Prefix) []tool.Command {
			return tool.Each(prefixes, func(p netip.Prefix) []string { return bsdRoute("delete", p) })
		},
		Show: func(prefixes []netip.Prefix) []tool.Command {
			return perFamily(prefixes, []string{"netstat", "-rn", "-f", "inet"}, []string{"netstat", "-rn", "-f", "inet6"})
		},
		Parse: bsdParse,
	}, run)
}

// perFamily is one command for each family that prefixes are of.
func perFamily(prefixes []netip.Prefix, v4, v6 []string) []tool.Command {
	var out []tool.Command
	for _, family := range []struct {
		is6  bool
		argv []string
	}{{false, v4}, {true, v6}} {
		if slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Addr().Is6() == family.is6 }) {
			out = append(out, tool.Command{Argv: family.argv})
		}
	}
	return out
}

func bsdRoute(verb string, p netip.Prefix) []string {
	argv := []string{"route", "-q", verb}
	gateway := "127.0.0.1"
	if p.Addr().Is6() {
		argv = append(argv, "-inet6")
		gateway = "::1"
	}
	if p.IsSingleIP() {
		argv = append(argv, "-host", p.Addr().String())
	} else {
		argv = append(argv, "-net", p.String())
	}
	return append(argv, gateway, "-blackhole")
}

// bsdParse reads the table of `netstat -rn`. The columns are destination,
// gateway, flags and more; B among the flags is a blackhole.
func bsdParse(out []byte) []netip.Prefix {
	var found []netip.Prefix
	for line := range bytes.Lines(out) {
		fields := strings.Fields(string(line))
		if len(fields) < 3 || !strings.Contains(fields[2], "B") || !strings.Contains(fields[2], "S") {
			continue
		}
		if p, ok := bsdDestination(fields[0]); ok {
			found = append(found, p)
		}
	}
	return found
}

// bsdDestination reads a destination. Trailing zeros of an IPv4 network are
// left out, and with them the length when it follows from what is left: 10.1/16,
// 198.51.100 (a network of 24 bits).
func bsdDestination(text string) (netip.Prefix, bool) {
	text, length, given := strings.Cut(text, "/")
	if octets := strings.Count(text, ".") + 1; octets < 4 && !strings.Contains(text, ":") {
		if !given {
			length, given = strconv.Itoa(8*octets), true
		}
		text += strings.Repeat(".0", 4-octets)
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, false
	}
	a = a.WithZone("").Unmap()
	bits := a.BitLen()
	if given {
		if bits, err = strconv.Atoi(length); err != nil {
			return netip.Prefix{}, false
		}
	}
	p, err := a.Prefix(bits)
	return p, err == nil
}
