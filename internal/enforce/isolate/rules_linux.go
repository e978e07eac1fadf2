package isolate

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// passes is who may be talked to.
type passes struct {
	managers  []netip.AddrPort
	keep      []netip.Prefix
	admins    []netip.Addr
	resolvers []netip.Addr
	dhcp      bool
}

// direction is one of the two chains, and where in a packet the peer stands.
type direction struct {
	chain      string
	hook       *nftables.ChainHook
	off4, off6 uint32       // of the peer's address
	peer, own  uint32       // of the peer's and our port
	link       expr.MetaKey // the kind of interface
	priority   nftables.ChainPriority
}

// priority is ten places before raw (-300).
const priority = -310

func directions() [2]direction {
	return [2]direction{
		{chain: "prerouting", hook: nftables.ChainHookPrerouting, off4: 12, off6: 8, peer: 0, own: 2, link: expr.MetaKeyIIFTYPE, priority: priority},
		{chain: "postrouting", hook: nftables.ChainHookPostrouting, off4: 16, off6: 24, peer: 2, own: 0, link: expr.MetaKeyOIFTYPE, priority: priority},
	}
}

// rules are the rules of a chain, in order.
func (p *passes) rules(d direction) [][]expr.Any {
	rules := [][]expr.Any{accept(loopback(d.link))}
	for _, kind := range needed4() {
		rules = append(rules, accept(protocol(unix.IPPROTO_ICMP), bytesAt(transport, 0, kind)))
	}
	for _, kind := range needed6() {
		rules = append(rules, accept(protocol(unix.IPPROTO_ICMPV6), bytesAt(transport, 0, kind)))
	}
	for _, m := range p.managers {
		peer := d.from(netip.PrefixFrom(m.Addr(), m.Addr().BitLen()))
		if m.Port() == 0 {
			rules = append(rules, accept(peer))
			continue
		}
		rules = append(rules, d.service(peer, m.Port())...)
	}
	for _, prefix := range p.keep {
		rules = append(rules, accept(d.from(prefix)))
	}
	for _, a := range p.admins {
		rules = append(rules, accept(d.from(netip.PrefixFrom(a, a.BitLen())), protocol(unix.IPPROTO_TCP), open()))
	}
	for _, a := range p.resolvers {
		rules = append(rules, d.service(d.from(netip.PrefixFrom(a, a.BitLen())), 53)...)
	}
	if p.dhcp {
		for _, ports := range [][2]uint16{{67, 68}, {547, 546}} { // the server's, ours
			rules = append(rules, accept(protocol(unix.IPPROTO_UDP), d.port(d.peer, ports[0]), d.port(d.own, ports[1])))
		}
	}
	return append(rules, []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Lookup{SourceRegister: 1, SetName: setName},
		&expr.Counter{},
		&expr.Verdict{Kind: expr.VerdictDrop},
	})
}

// service accepts TCP and UDP at a port of the peer.
func (d direction) service(peer []expr.Any, port uint16) [][]expr.Any {
	return [][]expr.Any{
		accept(peer, protocol(unix.IPPROTO_TCP), d.port(d.peer, port)),
		accept(peer, protocol(unix.IPPROTO_UDP), d.port(d.peer, port)),
	}
}

// needed4 are the kinds of ICMP message that path MTU discovery needs:
// unreachable.
func needed4() []byte { return []byte{3} }

// needed6 are the kinds of ICMPv6 message without which there is no IPv6: a
// packet was too big, multicast listeners, routers and neighbours.
func needed6() []byte { return []byte{2, 130, 131, 132, 133, 134, 135, 136, 143} }

const transport = expr.PayloadBaseTransportHeader

// accept is the rule that accepts what all matches fit.
func accept(matches ...[]expr.Any) (rule []expr.Any) {
	for _, m := range matches {
		rule = append(rule, m...)
	}
	return append(rule, &expr.Verdict{Kind: expr.VerdictAccept})
}

// loopback matches interfaces of that kind.
func loopback(key expr.MetaKey) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		equal(binary.NativeEndian.AppendUint16(nil, unix.ARPHRD_LOOPBACK)),
	}
}

// protocol matches a transport protocol.
func protocol(number byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal([]byte{number})}
}

// port matches the port at an offset of the transport header.
func (d direction) port(offset uint32, port uint16) []expr.Any {
	return bytesAt(transport, offset, binary.BigEndian.AppendUint16(nil, port)...)
}

// open matches TCP packets that do not open a connection: all but a SYN
// without ACK.
func open() []expr.Any {
	const syn, ack = 0x02, 0x10
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: transport, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{syn | ack}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{syn}},
	}
}

// from matches packets whose peer is in the prefix.
func (d direction) from(p netip.Prefix) []expr.Any {
	family, offset := byte(unix.NFPROTO_IPV4), d.off4
	if p.Addr().Is6() {
		family, offset = unix.NFPROTO_IPV6, d.off6
	}
	address := p.Masked().Addr().AsSlice()
	n := uint32(len(address))
	match := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, equal([]byte{family}),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: n},
	}
	if !p.IsSingleIP() {
		mask := net.CIDRMask(p.Bits(), p.Addr().BitLen())
		match = append(match, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: n, Mask: mask, Xor: make([]byte, n)})
	}
	return append(match, equal(address))
}

// bytesAt matches bytes of a header.
func bytesAt(base expr.PayloadBase, offset uint32, want ...byte) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: base, Offset: offset, Len: uint32(len(want))},
		equal(want),
	}
}

func equal(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }
