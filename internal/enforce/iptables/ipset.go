//go:build linux

package iptables

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"riposte/internal/enforce"
	"riposte/internal/enforce/nfnetlink"
)

// Commands, attributes and errors, of include/uapi/linux/netfilter/ipset/ip_set.h.
const (
	cmdProtocol = 1
	cmdCreate   = 2
	cmdList     = 7
	cmdAdd      = 9
	cmdDelete   = 10
	cmdTest     = 11

	attrProtocol = 1
	attrSetName  = 2
	attrTypeName = 3
	attrRevision = 4
	attrFamily   = 5
	attrData     = 7
	attrMembers  = 8
	attrLine     = 9

	dataIP      = 1
	dataCIDR    = 3
	dataTimeout = 6
	dataMaxElem = 19

	addrIPv4 = 1
	addrIPv6 = 2

	netByteOrder = unix.NLA_F_NET_BYTEORDER

	errNoMember = unix.Errno(4103) // and, for other commands, "is there already"
	errFull     = unix.Errno(4352)

	protocol = 6
	revision = 0 // of hash:net: no later feature is needed
	maxElem  = 1 << 22
)

// maxTimeout is the longest that the kernel holds a member: what fits into 31
// bits of milliseconds.
const maxTimeout = (1<<31 - 1) / 1000 * time.Second

// chunk is how many members go into one message: their attribute has a length
// of 16 bits.
const chunk = 1000

// sets are the sets in the kernel.
type sets struct {
	conn    *nfnetlink.Conn
	request nfnetlink.Request
}

// openSets opens a socket in the network namespace of the calling thread and
// sees whether the kernel knows ipset.
func openSets() (*sets, error) {
	conn, err := nfnetlink.Dial()
	if err != nil {
		return nil, err
	}
	s := &sets{conn: conn}
	s.command(cmdProtocol, unix.NLM_F_ACK)
	if err := conn.Do(&s.request, nil); err != nil {
		conn.Close()
		if errors.Is(err, unix.EPERM) {
			return nil, fmt.Errorf("no right to change the firewall (CAP_NET_ADMIN): %w", err)
		}
		return nil, fmt.Errorf("this kernel has no ipset: %w", err)
	}
	return s, nil
}

func (s *sets) command(command uint8, flags uint16) {
	s.request.Reset()
	s.request.Message(unix.NFNL_SUBSYS_IPSET, command, flags, unix.AF_INET, 0)
	s.request.Uint8(attrProtocol, protocol)
}

// create makes the family's set; one that is there already is left.
func (s *sets) create(f *family) error {
	s.command(cmdCreate, unix.NLM_F_CREATE|unix.NLM_F_ACK)
	s.request.String(attrSetName, f.set)
	s.request.String(attrTypeName, "hash:net")
	s.request.Uint8(attrRevision, revision)
	s.request.Uint8(attrFamily, f.number)
	data := s.request.Nest(attrData)
	s.request.Uint32(dataMaxElem|netByteOrder, maxElem)
	s.request.Uint32(dataTimeout|netByteOrder, 0) // members may have ends, and have none by default
	s.request.End(data)
	if err := s.conn.Do(&s.request, nil); err != nil {
		return fmt.Errorf("making ipset %s: %w", f.set, err)
	}
	return nil
}

// put adds members, or changes the end of those that are there.
func (s *sets) put(f *family, members []*enforce.Member) error {
	return s.change(cmdAdd, f, members, time.Now())
}

// remove deletes members, whether they are there or not.
func (s *sets) remove(f *family, members []*enforce.Member) error {
	return s.change(cmdDelete, f, members, time.Time{})
}

// change sends members with a command. Without NLM_F_EXCL, what is there
// already, or already not, is no error.
func (s *sets) change(command uint8, f *family, members []*enforce.Member, now time.Time) error {
	s.command(command, unix.NLM_F_ACK)
	s.request.String(attrSetName, f.set)
	s.request.Uint32(attrLine|netByteOrder, 0)
	list := s.request.Nest(attrMembers)
	for _, m := range members {
		data := s.request.Nest(attrData)
		s.member(m.Prefix)
		if !now.IsZero() {
			s.request.Uint32(dataTimeout|netByteOrder, timeout(m.Until, now))
		}
		s.request.End(data)
	}
	s.request.End(list)
	err := s.conn.Do(&s.request, nil)
	switch {
	case errors.Is(err, errFull):
		return fmt.Errorf("ipset %s is full: it holds %d members", f.set, maxElem)
	case err != nil:
		return fmt.Errorf("changing ipset %s: %w", f.set, err)
	}
	return nil
}

func (s *sets) member(p netip.Prefix) {
	ip := s.request.Nest(dataIP)
	typ := uint16(addrIPv4)
	if p.Addr().Is6() {
		typ = addrIPv6
	}
	s.request.Bytes(typ|netByteOrder, p.Addr().AsSlice())
	s.request.End(ip)
	s.request.Uint8(dataCIDR, uint8(p.Bits()))
}

// timeout is the time that is left, in the kernel's whole seconds, rounded up: a
// block may end a little late by itself, never early. 0 is without end, and is
// what an end beyond the kernel's limit becomes: it is left to riposte, rather
// than that a block ends early.
func timeout(until, now time.Time) uint32 {
	left := until.Sub(now)
	if until.IsZero() || left > maxTimeout {
		return 0
	}
	return uint32((max(left, time.Second) + time.Second - 1) / time.Second)
}

// has reports whether packets of the prefix meet the set. A single address does,
// too, when a wider prefix holds it.
func (s *sets) has(f *family, p netip.Prefix) (bool, error) {
	s.command(cmdTest, unix.NLM_F_ACK)
	s.request.String(attrSetName, f.set)
	data := s.request.Nest(attrData)
	s.member(p)
	s.request.End(data)
	switch err := s.conn.Do(&s.request, nil); {
	case err == nil:
		return true, nil
	case errors.Is(err, errNoMember):
		return false, nil
	default:
		return false, fmt.Errorf("asking ipset %s: %w", f.set, err)
	}
}

// list passes on the members of the family's set. A set that is not there has
// none.
func (s *sets) list(f *family, each func(netip.Prefix, time.Time)) error {
	s.command(cmdList, unix.NLM_F_DUMP)
	s.request.String(attrSetName, f.set)
	now := time.Now()
	var malformed error
	err := s.conn.Do(&s.request, func(m nfnetlink.Message) {
		for _, data := range nfnetlink.Attributes(nfnetlink.Find(m.Attrs, attrMembers)) {
			ip := nfnetlink.Find(data, dataIP)
			addr := nfnetlink.Find(ip, addrIPv4)
			if addr == nil {
				addr = nfnetlink.Find(ip, addrIPv6)
			}
			a, ok := netip.AddrFromSlice(addr)
			p := netip.PrefixFrom(a, int(nfnetlink.Uint(nfnetlink.Find(data, dataCIDR))))
			if !ok || !p.IsValid() {
				malformed = fmt.Errorf("ipset %s holds a member of %d bytes", f.set, len(addr))
				continue
			}
			var until time.Time
			if left := nfnetlink.Uint(nfnetlink.Find(data, dataTimeout)); left > 0 {
				until = now.Add(time.Duration(left) * time.Second)
			}
			each(p, until)
		}
	})
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case err != nil && !errors.Is(err, nfnetlink.ErrInterrupted):
		return fmt.Errorf("listing ipset %s: %w", f.set, err)
	}
	return malformed
}
