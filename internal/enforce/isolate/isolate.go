// Package isolate answers with the isolation of this host: it talks to nobody
// any more but those it must.
//
// All of it is one nftables table of our own, `inet riposte_isolate`, made and
// taken away in one transaction. Its two chains hook prerouting and postrouting
// ten places before the priority raw, as those of the mechanism nftables do, so
// that no accept of anybody else's comes before its drop, and what is forwarded
// for containers is cut off as well. What passes:
//
//   - loopback;
//   - the managers, at the port that is given: isolation that cannot be ended
//     from afar is a host lost;
//   - whatever is to be kept by configuration;
//   - TCP of administrators' sessions that are open already. Their packets are
//     told by their flags, not by connection tracking, which knows nothing of
//     connections that are older than its first rule. A new connection from the
//     same address does not pass;
//   - DNS at the given resolvers, and DHCP, if wanted: either can be made to
//     carry other things out;
//   - what IPv6 and path MTU discovery do not work without.
//
// The end is in the kernel: the last rule drops what belongs to a protocol
// family that is an element of the set `lasting`, and the elements have the
// timeout. When riposte is gone the isolation ends on time all the same. It
// must have an end, unless the order was forced.
//
// Two paths do not pass the chains: frames between the ports of one bridge (the
// containers of one network among themselves), and forwarded connections that a
// flowtable has taken over.
package isolate

import (
	"context"
	"net/netip"
)

// Name is how receipts call the mechanism.
const Name = "isolation"

// Options say who is left to talk to. The functions are asked at each Apply,
// and may be nil.
type Options struct {
	// Managers are the manager and the brokers, with their TCP and UDP ports,
	// 0 for all. An error keeps the host from being isolated.
	Managers func(context.Context) ([]netip.AddrPort, error)
	// Admins are the addresses of administrators who are logged in.
	Admins    func(context.Context) ([]netip.Addr, error)
	Keep      []netip.Prefix // everything from and to there
	Resolvers []netip.Addr   // DNS at these
	DHCP      bool
}
