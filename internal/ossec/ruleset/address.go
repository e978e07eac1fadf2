package ruleset

import (
	"fmt"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"

	"riposte/internal/ossec"
)

// Addresses is the list of a rule's srcip or dstip elements.
type Addresses struct {
	entries []addressEntry
	strict  bool // OSSEC: a leading ! negates
}

type addressEntry struct {
	prefix netip.Prefix // not valid: any
	not    bool
}

// Match reports whether the value is an address in the list. What is no
// address is in no list.
func (a *Addresses) Match(value string) bool {
	ip, ok := ParseAddress(value)
	if !ok {
		return false
	}
	for _, e := range a.entries {
		if !e.prefix.IsValid() || e.prefix.Contains(ip) {
			return !(a.strict && e.not)
		}
	}
	return a.strict && len(a.entries) > 0 && a.entries[len(a.entries)-1].not
}

// ParseAddress reads an IPv4 or IPv6 literal; an IPv4 address in IPv6 form is
// the IPv4 address. It does not allocate.
func ParseAddress(s string) (netip.Addr, bool) {
	if len(s) < 2 || len(s) > 45 || strings.IndexByte(s, '%') >= 0 {
		return netip.Addr{}, false
	}
	// netip's error allocates, so what is plainly no address is turned away here.
	dots, colons := 0, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '.':
			dots++
		case c == ':':
			colons++
		case c >= '0' && c <= '9':
		case c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
			if dots > 0 {
				return netip.Addr{}, false
			}
		default:
			return netip.Addr{}, false
		}
	}
	if colons == 0 && dots != 3 || colons == 1 {
		return netip.Addr{}, false
	}
	ip, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, false
	}
	return ip.Unmap(), true
}

// addAddress reads one entry of a list.
func (a *Addresses) add(s string, d ossec.Dialect) error {
	var e addressEntry
	a.strict = d == ossec.OSSEC
	if strings.HasPrefix(s, "!") {
		e.not = true
		s = s[1:]
	}
	if s != "any" {
		p, err := parsePrefix(s, d)
		if err != nil {
			return err
		}
		e.prefix = p
	}
	a.entries = append(a.entries, e)
	return nil
}

func parsePrefix(s string, d ossec.Dialect) (netip.Prefix, error) {
	host, mask, hasMask := strings.Cut(s, "/")
	raw, err := netip.ParseAddr(host)
	if err != nil || raw.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is no IP address, network or \"any\"", s)
	}
	ip := raw.Unmap()
	n := ip.BitLen()
	if hasMask {
		if n, err = strconv.Atoi(mask); err != nil {
			if n, err = dottedMask(mask); err != nil || d != ossec.Wazuh || !ip.Is4() {
				return netip.Prefix{}, fmt.Errorf("%q is no network mask of %s", mask, host)
			}
		} else if raw.Is4In6() && n > 32 {
			n -= 96
		}
		if n < 0 || n > ip.BitLen() {
			return netip.Prefix{}, fmt.Errorf("the mask /%s of %s is out of range", mask, host)
		}
	}
	return netip.PrefixFrom(ip, n).Masked(), nil
}

// dottedMask turns 255.255.0.0 into 16.
func dottedMask(s string) (int, error) {
	m, err := netip.ParseAddr(s)
	if err != nil || !m.Is4() {
		return 0, fmt.Errorf("no mask")
	}
	b := m.As4()
	v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	n := bits.LeadingZeros32(^v)
	if n < 32 && v<<n != 0 {
		return 0, fmt.Errorf("no mask")
	}
	return n, nil
}
