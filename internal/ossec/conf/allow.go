package conf

import (
	"fmt"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"

	"riposte/internal/ossec"
)

// Allow is one entry of the allow list: an address range or the name of a host
// that no response may act on. The entries are tried in order, and the first
// that holds an address decides.
type Allow struct {
	Prefix netip.Prefix // valid for an address or network
	Name   string       // of a host, when Prefix is not valid
	Not    bool         // the range is excepted from the entries that follow
	Pos    ossec.Pos
}

// String returns the entry as it could be written.
func (a Allow) String() string {
	s := a.Name
	if a.Prefix.IsValid() {
		s = a.Prefix.String()
		if a.Prefix.IsSingleIP() {
			s = a.Prefix.Addr().String()
		}
	}
	if a.Not {
		return "!" + s
	}
	return s
}

// allow reads a <white_list> or <allow_list>.
func (r *reader) allow(v value) {
	if v.text == "" {
		r.report(v, ossec.Warning, "empty-allow", "remove it", "<%s> is empty and allows nobody; Wazuh would allow everybody", v.node.Name)
		return
	}
	for _, w := range v.words("|, \t\r\n") {
		r.allowEntry(w)
	}
}

func (r *reader) allowEntry(w value) {
	a := Allow{Pos: w.pos(0)}
	text := w.text
	if text[0] == '!' {
		a.Not = true
		text = strings.TrimLeft(text[1:], spaces)
		if r.dialect == ossec.Wazuh {
			r.report(w, ossec.Warning, "allow-except", "", "%s is excepted from the allow list; Wazuh drops the \"!\" and would allow it", text)
		}
	}
	// Wazuh's patterns: the anchors of a whole name mean nothing here.
	text = strings.TrimSuffix(strings.TrimPrefix(text, "^"), "$")
	if text == "any" {
		r.report(w, ossec.Warning, "allow-any", "remove it if responses are wanted", "any allows every address: no response will act on one")
		for _, all := range []string{"0.0.0.0/0", "::/0"} {
			a.Prefix = netip.MustParsePrefix(all)
			r.cfg.Global.AllowList = append(r.cfg.Global.AllowList, a)
		}
		return
	}
	p, err := parsePrefix(text)
	if err == nil {
		a.Prefix = p
	} else if p, ok := partial(text); ok {
		a.Prefix = p
		r.report(w, ossec.Note, "allow-partial", fmt.Sprintf("write %s", p), "riposte reads %q as the network %s; Wazuh finds the text in any address, OSSEC in none", text, p)
	} else if looksNumeric(text) {
		r.report(w, ossec.Error, "bad-address", "write an address such as 192.0.2.7 or a network such as 192.0.2.0/24", "%q in the allow list is not an address: %v", text, err)
		return
	} else if !hostName(text) {
		r.report(w, ossec.Error, "bad-address", "write an address, a network or the name of a host", "%q in the allow list is neither an address nor the name of a host", text)
		return
	} else {
		a.Name = text
	}
	r.cfg.Global.AllowList = append(r.cfg.Global.AllowList, a)
}

// parsePrefix reads an address, a network with a length, or one with a mask.
// Bits outside of the network are dropped, IPv4 in IPv6 becomes IPv4.
func parsePrefix(s string) (netip.Prefix, error) {
	text, length, has := strings.Cut(s, "/")
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not an address", text)
	}
	if addr.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("a zone has no meaning here")
	}
	full := addr.BitLen()
	n := full
	if has {
		if n, err = prefixLength(length, addr); err != nil {
			return netip.Prefix{}, err
		}
	}
	if addr.Is4In6() && n >= 96 {
		addr, n = addr.Unmap(), n-96
	}
	return netip.PrefixFrom(addr, n).Masked(), nil
}

func prefixLength(s string, addr netip.Addr) (int, error) {
	if digits(s) {
		if n, err := strconv.Atoi(s); err == nil && n <= addr.BitLen() {
			return n, nil
		}
		return 0, fmt.Errorf("the length of a network must be 0 to %d", addr.BitLen())
	}
	mask, err := netip.ParseAddr(s)
	if err != nil || !mask.Is4() || !addr.Is4() {
		return 0, fmt.Errorf("%q is not the length of a network", s)
	}
	b := mask.As4()
	m := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	n := bits.LeadingZeros32(^m)
	if n < 32 && m<<n != 0 {
		return 0, fmt.Errorf("the mask %s has holes", s)
	}
	return n, nil
}

// partial reads the start of an IPv4 address, as "10.1.", which only Wazuh's
// text patterns know, as the network it stands for.
func partial(s string) (netip.Prefix, bool) {
	if !strings.HasSuffix(s, ".") {
		return netip.Prefix{}, false
	}
	n := strings.Count(s, ".")
	if n > 3 {
		return netip.Prefix{}, false
	}
	addr, err := netip.ParseAddr(s + strings.Repeat("0.", 3-n) + "0")
	if err != nil {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(addr, 8*n).Masked(), true
}

// looksNumeric reports whether s can only have been meant as an address.
func looksNumeric(s string) bool {
	return strings.Trim(s, "0123456789./") == "" || strings.Count(s, ":") > 1 || strings.Contains(s, "/")
}

// hostName reports whether s can be the name of a host.
func hostName(s string) bool {
	for _, c := range []byte(s) {
		if c != '-' && c != '.' && c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && c < 0x80 {
			return false
		}
	}
	return len(s) <= 253 && s != ""
}
