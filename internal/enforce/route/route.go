// Package route blocks addresses with null routes: what this host, or a host
// behind it, would answer a target goes nowhere, so that no connection comes
// about and none goes on. What the target sends still arrives.
//
// On Linux the routes are of type blackhole in the main table, made over
// netlink and marked with a routing protocol number of our own, by which they
// are found again. BSD, macOS and Windows have no such mark; there the
// system's own tools are run with the arguments of OSSEC's scripts, and only
// routes of an address that this process, or the journal, names are touched.
//
// A null route loses to a longer prefix: a blocked 10.0.0.0/8 does not block
// 10.1.0.0/16 where that has a route of its own. Single addresses always win.
package route

// Name is how receipts call the mechanism.
const Name = "null route"

// Protocol marks our routes on Linux. The number is free in iproute2's and
// FRR's lists; 186, which is near at hand, is BGP's there, and blackhole routes
// of that protocol are how providers drop attacks: they must not be taken for
// ours.
const Protocol = 114
