package aggregate

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// maxPieces bounds the pieces of one prefix: room for one protected address in
// a /48, or for a dozen in a /24.
const maxPieces = 96

// protected reports whether some address of the prefix must be left alone.
func (b *Book) protected(p netip.Prefix) bool {
	for f := range b.freed {
		if f.Overlaps(p) {
			return true
		}
	}
	return b.o.Protected != nil && b.o.Protected(p)
}

// split returns the largest prefixes inside p that hold nothing protected: p
// itself if possible. ok is false when they would be too many.
func (b *Book) split(p netip.Prefix) (out []netip.Prefix, ok bool) {
	wait := []netip.Prefix{p}
	// Each protected address costs one look and one piece a bit.
	for looks := 4 * maxPieces; len(wait) > 0; looks-- {
		if looks == 0 || len(out) > maxPieces {
			return nil, false
		}
		q := wait[len(wait)-1]
		wait = wait[:len(wait)-1]
		switch {
		case !b.protected(q):
			out = append(out, q)
		case !q.IsSingleIP():
			low, high := halves(q)
			wait = append(wait, high, low)
		}
	}
	return out, len(out) <= maxPieces
}

// halves are the two prefixes that a prefix is made of.
func halves(p netip.Prefix) (low, high netip.Prefix) {
	low = netip.PrefixFrom(p.Addr(), p.Bits()+1)
	a := p.Addr().AsSlice()
	a[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	addr, _ := netip.AddrFromSlice(a)
	return low, netip.PrefixFrom(addr, p.Bits()+1)
}

// maxFreed bounds what is remembered of what people took out of prefixes.
const maxFreed = 1024

// free remembers that a person took p out of a prefix.
func (b *Book) free(p netip.Prefix, until, now time.Time) {
	for f, end := range b.freed {
		if !end.After(now) {
			delete(b.freed, f)
		}
	}
	if len(b.freed) >= maxFreed {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(b.freed)), func(x, y netip.Prefix) int { return b.freed[x].Compare(b.freed[y]) })
		delete(b.freed, oldest)
	}
	if until.After(b.freed[p]) {
		b.freed[p] = until
	}
}

// offends notes that p did it again: of what was taken out around it, only the
// rest stays so.
func (b *Book) offends(p netip.Prefix) {
	for f, end := range b.freed {
		if f.Bits() > p.Bits() || !f.Overlaps(p) {
			continue
		}
		delete(b.freed, f)
		for f != p {
			in, rest := halves(f)
			if rest.Overlaps(p) {
				in, rest = rest, in
			}
			b.freed[rest] = end
			f = in
		}
	}
}

// readHoles frees what lies between pieces of a prefix that are in force, and
// is not in force itself.
func (b *Book) readHoles(c *command) {
	ends := map[netip.Prefix]time.Time{} // by the prefix that is in pieces
	for p, k := range c.blocks.All() {
		if k.prefix && k.home != p && k.until.After(ends[k.home]) {
			ends[k.home] = k.until
		}
	}
	for home, end := range ends {
		if _, whole := c.blocks.LookupPrefix(home); whole {
			continue
		}
		for wait := []netip.Prefix{home}; len(wait) > 0; {
			p := wait[len(wait)-1]
			wait = wait[:len(wait)-1]
			switch _, in := c.blocks.Get(p); {
			case in:
			case c.blocks.OverlapsPrefix(p) && !p.IsSingleIP():
				low, high := halves(p)
				wait = append(wait, low, high)
			default:
				b.free(p, end, time.Time{})
			}
		}
	}
}
