//go:build linux

package nft

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// set names one of the table's sets: all prefixes of one length in one family.
type set struct {
	v6   bool
	bits int
}

var (
	single4 = set{v6: false, bits: 32}
	single6 = set{v6: true, bits: 128}
)

func setOf(p netip.Prefix) set { return set{v6: p.Addr().Is6(), bits: p.Bits()} }

// width is the length of an address in bits.
func (s set) width() int {
	if s.v6 {
		return 128
	}
	return 32
}

// String is the set's name in the kernel: v4, v6, v4_24, v6_64.
func (s set) String() string {
	name := "v4"
	if s.v6 {
		name = "v6"
	}
	if s.bits != s.width() {
		name += "_" + strconv.Itoa(s.bits)
	}
	return name
}

// parseSet reads a name that String made, and nothing else.
func parseSet(name string) (s set, ok bool) {
	family, bits, given := strings.Cut(name, "_")
	s.v6 = family == "v6"
	s.bits = s.width()
	if given {
		n, err := strconv.Atoi(bits)
		if err != nil || n < 0 || n >= s.width() {
			return set{}, false
		}
		s.bits = n
	}
	return s, s.String() == name
}

// compare orders sets: the single addresses first, as most packets of blocked
// hosts are found there.
func compare(a, b set) int {
	if a.v6 != b.v6 {
		if b.v6 {
			return -1
		}
		return 1
	}
	return b.bits - a.bits
}

// prefix is the prefix that an element of the set stands for.
func (s set) prefix(key []byte) (netip.Prefix, error) {
	a, ok := netip.AddrFromSlice(key)
	if !ok || a.Is6() != s.v6 {
		return netip.Prefix{}, fmt.Errorf("set %s holds a key of %d bytes", s, len(key))
	}
	return a.Prefix(s.bits)
}

// mask is the set's prefix length as a mask.
func (s set) mask() []byte { return net.CIDRMask(s.bits, s.width()) }
