// Package firewalld blocks addresses through firewalld, over its D-Bus
// interface, so that the blocks are seen where the host's administrator looks
// for them: in `firewall-cmd --list-rich-rules`.
//
// A block is a rich rule in every zone that is in use (the active ones and the
// default one):
//
//	rule priority="-31337" family="ipv4" source address="192.0.2.1" drop
//
// The priority puts it before whatever else the zone holds, its target
// included, and is the mark by which ours are known: rich rules have no room
// for a comment. Ours bear -31337 or -31336, by turns: a renewed block is made
// under the one before it is taken away under the other, and is never open
// between. Nothing but the runtime configuration is changed. Each rule carries
// its end as firewalld's own timeout; it counts in seconds.
//
// An ipset of our own would be faster than a rule for each address, but
// firewalld makes new ipsets in its permanent configuration only.
//
// firewalld forgets the runtime configuration when it is reloaded or started
// again. The mechanism hears of both on the bus and at once puts back what it
// had applied.
//
// # What it does not reach
//
// firewalld applies rich rules to what is for this host. What is forwarded, to
// a container's published port above all, passes them by, as does what the host
// itself sends. And firewalld lets established connections through before it
// asks its zones; therefore Apply deletes the connection entries of its targets,
// so that their next packet counts as new. The mechanism nftables has none of
// these gaps, is more than a hundred times as fast (firewalld takes 10 ms for a
// rule), and gets along with firewalld: it
// is the one to take unless blocks must show up in firewall-cmd.
package firewalld

// Name is how receipts call the mechanism.
const Name = "firewalld"

// Options say where firewalld is.
type Options struct {
	Bus string // D-Bus address; "" for the system bus
}
