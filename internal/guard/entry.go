package guard

import (
	"fmt"
	"math/bits"
	"net/netip"
	"strings"
	"time"
)

// Entry is one entry of the allow list.
type Entry struct {
	Prefix netip.Prefix // valid for an address or a network
	Name   string       // of a host otherwise
	Not    bool         // what it holds is not protected by the entries that follow
	Until  time.Time    // zero: for good
	Source string       // where it stands: "/var/ossec/etc/ossec.conf:12", "by hand (uid 0)"
}

// String returns the entry as it is written.
func (e Entry) String() string {
	s := e.Name
	if e.Prefix.IsValid() {
		s = e.Prefix.String()
		if e.Prefix.IsSingleIP() {
			s = e.Prefix.Addr().String()
		}
	}
	if e.Not {
		return "!" + s
	}
	return s
}

// ParseEntry reads an address, a network (192.0.2.0/24, 192.0.2.0/255.255.255.0,
// 2001:db8::/32), or the name of a host; with a ! in front what it holds is
// taken out of the list.
func ParseEntry(text string) (Entry, error) {
	s := strings.TrimSpace(text)
	rest, not := strings.CutPrefix(s, "!")
	e := Entry{Not: not}
	s = strings.TrimSpace(rest)
	if a, err := netip.ParseAddr(s); err == nil {
		if a.Zone() != "" {
			return Entry{}, fmt.Errorf("%q has a zone, which means nothing here", text)
		}
		a = a.Unmap()
		e.Prefix = netip.PrefixFrom(a, a.BitLen())
		return e, nil
	}
	if addr, length, ok := strings.Cut(s, "/"); ok {
		p, err := parseNetwork(addr, length)
		if err != nil {
			return Entry{}, fmt.Errorf("%q is not a network: %w", text, err)
		}
		e.Prefix = p
		return e, nil
	}
	if !isName(s) {
		return Entry{}, fmt.Errorf("%q is not an address, a network or the name of a host", text)
	}
	e.Name = strings.ToLower(s)
	return e, nil
}

func parseNetwork(addr, length string) (netip.Prefix, error) {
	if mask, err := netip.ParseAddr(length); err == nil && mask.Is4() {
		b := mask.As4()
		m := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		n := bits.LeadingZeros32(^m)
		if n < 32 && m<<n != 0 {
			return netip.Prefix{}, fmt.Errorf("the mask %s has holes", length)
		}
		length = fmt.Sprint(n)
	}
	p, err := netip.ParsePrefix(addr + "/" + length)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("expected an address and a length such as 192.0.2.0/24")
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// isName reports whether s can be the name of a host. One that consists of
// digits and dots can only be a mistyped address.
func isName(s string) bool {
	if s == "" || len(s) > 253 || strings.Trim(s, "0123456789.") == "" {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if c != '-' && c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
				return false
			}
		}
	}
	return true
}
