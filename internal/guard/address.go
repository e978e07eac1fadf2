package guard

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/gaissmai/bart"

	"riposte"
)

// snapshot is what is protected, laid out for looking up. It never changes.
type snapshot struct {
	hosts []protected // of this host, few
	list  []Entry     // the allow list, names replaced by their addresses
	table *bart.Table[[]int]
}

// protected is a range and why nothing may act on it.
type protected struct {
	prefix netip.Prefix
	code   string
	words  string // completes "192.0.2.1 is …"
	final  bool
}

// nobody are addresses that no honest response acts on.
func nobody() []protected {
	var out []protected
	for _, p := range []struct{ prefix, code, words string }{
		{"127.0.0.0/8", "loopback", "a loopback address"},
		{"::1/128", "loopback", "the loopback address"},
		{"0.0.0.0/8", "unspecified", "no address of a sender"},
		{"::/128", "unspecified", "no address of a sender"},
		{"::ffff:0:0/96", "malformed", "the IPv4 addresses written as IPv6"},
		{"224.0.0.0/4", "multicast", "a multicast address, which no sender has"},
		{"ff00::/8", "multicast", "a multicast address, which no sender has"},
		{"255.255.255.255/32", "broadcast", "the broadcast address, which no sender has"},
	} {
		out = append(out, protected{netip.MustParsePrefix(p.prefix), p.code, p.words, true})
	}
	return out
}

// rebuild makes a new snapshot. The caller holds mu, or is New.
func (g *Guard) rebuild() {
	s := &snapshot{hosts: nobody(), table: &bart.Table[[]int]{}}
	add := func(addrs []netip.Addr, code, words string, final bool) {
		for _, a := range addrs {
			a = a.Unmap().WithZone("")
			if a.IsValid() {
				s.hosts = append(s.hosts, protected{netip.PrefixFrom(a, a.BitLen()), code, words, final})
			}
		}
	}
	add(g.own, "own-address", "an address of this host", true)
	for _, p := range []string{"169.254.0.0/16", "fe80::/10"} {
		s.hosts = append(s.hosts, protected{netip.MustParsePrefix(p), "link-local", "a link-local address", false})
	}
	add(g.gates, "gateway", "a gateway of this host", false)
	add(g.resolve, "resolver", "a name server of this host", false)
	add(g.peers, "peer", "a machine that manages this host or keeps its time", false)
	for _, e := range slices.Concat(g.byHand, g.allow) {
		if e.Prefix.IsValid() {
			s.enter(e, e.Prefix)
			continue
		}
		for _, a := range g.names[e.Name] {
			a = a.Unmap().WithZone("")
			s.enter(e, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	g.snap.Store(s)
}

func (s *snapshot) enter(e Entry, p netip.Prefix) {
	n := len(s.list)
	s.list = append(s.list, e)
	s.table.Modify(p, func(have []int, _ bool) ([]int, bool) { return append(have, n), false })
}

// decide returns the entry that decides about a prefix as a whole: the first of
// those that hold it.
func (s *snapshot) decide(p netip.Prefix, now time.Time) (Entry, bool) {
	best := -1
	for _, ns := range s.table.Supernets(p) {
		for _, n := range ns {
			if (best < 0 || n < best) && s.live(n, now) {
				best = n
			}
		}
	}
	if best < 0 {
		return Entry{}, false
	}
	return s.list[best], true
}

func (s *snapshot) live(n int, now time.Time) bool {
	until := s.list[n].Until
	return until.IsZero() || now.Before(until)
}

// allowed returns the entry that protects the prefix or some of it.
func (s *snapshot) allowed(p netip.Prefix, now time.Time) (Entry, bool) {
	if e, ok := s.decide(p, now); ok && !e.Not {
		return e, true
	}
	if p.IsSingleIP() {
		return Entry{}, false
	}
	for inner := range s.table.Subnets(p) {
		if e, ok := s.decide(inner, now); ok && !e.Not {
			return e, true
		}
	}
	return Entry{}, false
}

// address checks an address or a prefix.
func (g *Guard) address(t riposte.Target) *Refusal {
	p, _ := t.Prefix() // t is canonical
	s := g.snap.Load()
	for i := range s.hosts {
		if h := &s.hosts[i]; h.final && h.prefix.Overlaps(p) {
			return final(h.code, "%s", covers(p, h.prefix, h.words))
		}
	}
	if widest := g.widest(p); p.Bits() < widest {
		return refuse("too-wide", "%s is wider than /%d, the widest prefix that a response may act on", p, widest)
	}
	if e, ok := s.allowed(p, g.o.Now()); ok {
		return refuse("allow-listed", "%s", allowWords(p, e))
	}
	for i := range s.hosts {
		if h := &s.hosts[i]; h.prefix.Overlaps(p) {
			return refuse(h.code, "%s", covers(p, h.prefix, h.words))
		}
	}
	for _, a := range g.sessions.now() {
		if a = a.Unmap().WithZone(""); p.Contains(a) {
			return refuse("session", "%s", covers(p, netip.PrefixFrom(a, a.BitLen()), "where an administrator is logged in from"))
		}
	}
	return nil
}

func (g *Guard) widest(p netip.Prefix) int {
	if p.Addr().Is4() {
		return int(g.widestV4.Load())
	}
	return int(g.widestV6.Load())
}

// covers says how what was asked for touches what is protected.
func covers(asked, guarded netip.Prefix, words string) string {
	if asked.IsSingleIP() || guarded.Bits() < asked.Bits() {
		return fmt.Sprintf("%s is %s", short(asked), words)
	}
	if asked == guarded {
		return fmt.Sprintf("%s is %s", asked, words)
	}
	return fmt.Sprintf("%s covers %s, %s", asked, short(guarded), words)
}

func allowWords(p netip.Prefix, e Entry) string {
	words := fmt.Sprintf("%s is on the allow list", short(p))
	if text := e.String(); text != short(p) {
		words += " through " + text
	}
	if e.Source != "" {
		words += " (" + e.Source + ")"
	}
	if !e.Until.IsZero() {
		words += ", until " + e.Until.UTC().Format(time.RFC3339)
	}
	return words
}

func short(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}
