package firewalld

import (
	"fmt"
	"net/netip"
	"strings"
)

// slot is one of the two priorities that our rules bear by turns.
type slot uint8

// slots is their number.
const slots = 2

func (s slot) priority() int { return -31337 + int(s) }

// rule writes the rich rule for a prefix, word for word as firewalld lists it.
func rule(s slot, p netip.Prefix) string {
	family, address := "ipv4", p.String()
	if p.Addr().Is6() {
		family = "ipv6"
	}
	if p.IsSingleIP() {
		address = p.Addr().String()
	}
	return fmt.Sprintf(`rule priority="%d" family="%s" source address="%s" drop`, s.priority(), family, address)
}

// parseRule reads a rich rule; ok is false for every rule that is not ours.
func parseRule(text string) (s slot, p netip.Prefix, ok bool) {
	_, rest, ok := strings.Cut(text, ` source address="`)
	if !ok {
		return 0, p, false
	}
	address, _, _ := strings.Cut(rest, `"`)
	p, err := netip.ParsePrefix(address)
	if err != nil {
		a, err := netip.ParseAddr(address)
		if err != nil || a.Zone() != "" {
			return 0, p, false
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p != p.Masked() || p.Addr().Is4In6() {
		return 0, p, false // not how we would write it
	}
	for s := range slot(slots) {
		if rule(s, p) == text {
			return s, p, true
		}
	}
	return 0, p, false
}
