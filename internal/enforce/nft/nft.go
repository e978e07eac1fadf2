// Package nft blocks addresses with nftables, over netlink and without the nft
// program.
//
// All of it lives in one table of our own, `inet riposte`; no other table is
// ever read for writing or changed. The table holds one hash set per family and
// prefix length in use (v4, v6, v4_24, v6_64, …), each element with its own
// timeout, and two chains that drop what comes from an address in a set and
// what goes to it. docs/enforcement.md shows it as nft prints it.
//
// # Where it bites
//
// The chains hook prerouting and postrouting, ten places before the priority
// raw. In netfilter a drop is final and an accept is not: it ends only the
// chain it is said in. So no rule of Docker, firewalld, ufw or anybody else can
// let through what these chains drop, established connections included, as
// these do not ask for a connection's state. Prerouting sees every packet
// before it is known whether it is for this host, for a container behind a NAT
// rule, or for a host beyond; a chain at input would miss the last two. Being
// before connection tracking (-200), a blocked flood costs one hash lookup a
// packet and not a connection entry.
//
// Two paths do not pass there: bridged frames (unless br_netfilter is on), and
// connections that a flowtable has taken over. The latter end when their
// connection entry is deleted, which Apply does for every target.
//
// # Prefixes
//
// An interval set refuses overlapping elements, and merging them would lose
// their ends: 10.0.0.0/8 for an hour and 10.1.0.0/16 for a day could not both
// be in force. A hash set for each prefix length in use has no such trouble,
// needs no accounting, and works on kernels whose interval sets forget
// timeouts. A packet costs one lookup more for every length in use.
package nft

// Name is how receipts call the mechanism.
const Name = "nftables"
