//go:build unix

package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
)

// Resolvers returns the name servers this host asks: those of
// /etc/resolv.conf and, where systemd-resolved stands in between, those it
// asks itself.
func Resolvers() ([]netip.Addr, error) {
	var out []netip.Addr
	for _, path := range []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"} {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list resolvers: %w", err)
		}
		out = appendNameservers(out, text)
	}
	return out, nil
}

// appendNameservers adds the nameserver lines of a resolv.conf(5) text. Zones
// are dropped, what is no address is skipped, as the C library does.
func appendNameservers(out []netip.Addr, text []byte) []netip.Addr {
	for line := range bytes.Lines(text) {
		words := bytes.Fields(line)
		if len(words) < 2 || string(words[0]) != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(string(words[1])); err == nil {
			out = appendAddr(out, net.IP(a.AsSlice()))
		}
	}
	return out
}
