//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package host

import (
	"fmt"
	"net/netip"

	"golang.org/x/net/route"
	"golang.org/x/sys/unix"
)

// Gateways returns the next hops of the default routes of both families. A
// default route without a next hop yields none.
func Gateways() ([]netip.Addr, error) {
	rib, err := route.FetchRIB(unix.AF_UNSPEC, route.RIBTypeRoute, 0)
	if err != nil {
		return nil, fmt.Errorf("list default routes: %w", err)
	}
	messages, err := route.ParseRIB(route.RIBTypeRoute, rib)
	if err != nil {
		return nil, fmt.Errorf("read routing table: %w", err)
	}
	var out []netip.Addr
	for _, m := range messages {
		r, ok := m.(*route.RouteMessage)
		if !ok || r.Flags&unix.RTF_GATEWAY == 0 || len(r.Addrs) <= unix.RTAX_NETMASK {
			continue
		}
		if unspecified(r.Addrs[unix.RTAX_DST]) && unspecifiedMask(r.Addrs[unix.RTAX_NETMASK]) {
			switch gw := r.Addrs[unix.RTAX_GATEWAY].(type) {
			case *route.Inet4Addr:
				out = appendAddr(out, gw.IP[:])
			case *route.Inet6Addr:
				out = appendAddr(out, gw.IP[:])
			}
		}
	}
	return out, nil
}

func unspecified(a route.Addr) bool {
	switch a := a.(type) {
	case *route.Inet4Addr:
		return a.IP == [4]byte{}
	case *route.Inet6Addr:
		return a.IP == [16]byte{}
	}
	return false
}

// unspecifiedMask is unspecified, but a default route's mask may also be
// missing.
func unspecifiedMask(a route.Addr) bool {
	switch a.(type) {
	case *route.Inet4Addr, *route.Inet6Addr:
		return unspecified(a)
	}
	return true
}
