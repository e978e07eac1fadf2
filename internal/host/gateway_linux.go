package host

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Gateways returns the next hops of every default route, of every routing
// table and both families; the two halves a VPN splits the default route into
// (0.0.0.0/1 and 128.0.0.0/1) count as default. A default route without a next
// hop (a tunnel, a point-to-point link) yields none.
func Gateways() ([]netip.Addr, error) {
	var out []netip.Addr
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		if err == unix.EAFNOSUPPORT { // the family is switched off
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list default routes: %w", err)
		}
		for i := range routes {
			if isDefault(&routes[i]) {
				out = appendHops(out, &routes[i])
			}
		}
	}
	return out, nil
}

func isDefault(r *netlink.Route) bool {
	if r.Dst == nil {
		return true
	}
	ones, _ := r.Dst.Mask.Size()
	return ones <= 1
}

func appendHops(out []netip.Addr, r *netlink.Route) []netip.Addr {
	out = appendAddr(out, r.Gw)
	if via, ok := r.Via.(*netlink.Via); ok {
		out = appendAddr(out, via.Addr)
	}
	for _, hop := range r.MultiPath {
		out = appendAddr(out, hop.Gw)
		if via, ok := hop.Via.(*netlink.Via); ok {
			out = appendAddr(out, via.Addr)
		}
	}
	return out
}
