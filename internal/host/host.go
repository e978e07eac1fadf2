// Package host is what riposte needs of the machine it runs on: who the host
// is on the network, what this process may do there, files that are replaced
// whole or not at all, the control socket, and a word to the service manager.
// It knows nothing of logs, alerts or responses.
package host

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
)

// Name returns the host's name as the kernel knows it, "localhost" when it
// cannot be had.
func Name() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return name
}

// ShortName returns the host's name up to its first dot, as syslog and OSSEC
// write it.
func ShortName() string {
	name, _, _ := strings.Cut(Name(), ".")
	return name
}

// Addresses returns every address of this host's interfaces, loopback
// included, without zones, mapped IPv4 as IPv4.
func Addresses() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list own addresses: %w", err)
	}
	var out []netip.Addr
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			out = appendAddr(out, n.IP)
		}
	}
	return out, nil
}

// appendAddr adds ip in canonical form, unless it is there, invalid or
// unspecified.
func appendAddr(list []netip.Addr, ip net.IP) []netip.Addr {
	a, ok := netip.AddrFromSlice(ip)
	if !ok || a.IsUnspecified() {
		return list
	}
	a = a.Unmap()
	for _, have := range list {
		if have == a {
			return list
		}
	}
	return append(list, a)
}
