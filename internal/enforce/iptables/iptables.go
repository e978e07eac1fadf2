// Package iptables blocks addresses with iptables and ipset, for kernels and
// distributions without nftables.
//
// The addresses and prefixes are members of two sets of type hash:net,
// riposte4 and riposte6, spoken to over netlink, each with its own timeout; a
// set keeps members of all lengths apart, so that prefixes may overlap. One
// chain of ours for each family, RIPOSTE in the table mangle, drops what comes
// from a member and what goes to one. PREROUTING and POSTROUTING jump to it
// before anything else. It is made by iptables-restore in one piece, and
// nothing of anybody else's is touched.
//
// The place is the earliest that every kernel has: mangle comes before nat and
// filter, so the block holds for this host, for containers behind Docker's nat
// rules and for forwarded hosts alike, whatever the filter table accepts, and
// for established connections. Rules in INPUT, FORWARD and DOCKER-USER would
// say the same three times and lose their first places at Docker's next start.
//
// A set counts in seconds, and holds an end for at most 24.8 days. What is to
// end later has no end there, and is undone by riposte alone.
package iptables

// Name is how receipts call the mechanism.
const Name = "iptables"
