package route

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"

	"riposte/internal/enforce"
)

// NewBSD blocks with route(8) of FreeBSD, OpenBSD, NetBSD, DragonFly and macOS,
// as OSSEC's route-null.sh does:
//
//	route -q add -host 203.0.113.9 127.0.0.1 -blackhole
//
// -host and -inet6 say what the script leaves to be guessed: an address that
// ends in .0 would become a network, and an IPv6 address a host name.
func NewBSD(run enforce.Runner) *Commands {
	return newCommands(run, system{
		add:   func(p netip.Prefix) []string { return bsdRoute("add", p) },
		del:   func(p netip.Prefix) []string { return bsdRoute("delete", p) },
		show:  bsdShow,
		parse: bsdParse,
	})
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

func bsdShow(v6 bool) []string {
	family := "inet"
	if v6 {
		family = "inet6"
	}
	return []string{"netstat", "-rn", "-f", family}
}

// bsdParse reads the table of `netstat -rn`. The columns are destination,
// gateway, flags and more; B among the flags is a blackhole.
func bsdParse(out []byte, v6 bool) []netip.Prefix {
	var found []netip.Prefix
	for line := range bytes.Lines(out) {
		fields := strings.Fields(string(line))
		if len(fields) < 3 || !strings.Contains(fields[2], "B") || !strings.Contains(fields[2], "S") {
			continue
		}
		if p, ok := bsdDestination(fields[0]); ok && p.Addr().Is6() == v6 {
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
	a = a.WithZone("")
	bits := a.BitLen()
	if given {
		if bits, err = strconv.Atoi(length); err != nil {
			return netip.Prefix{}, false
		}
	}
	p, err := a.Prefix(bits)
	return p, err == nil
}
