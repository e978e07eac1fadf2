package aggregate

import (
	"net/netip"
	"slices"
	"time"

	"riposte"
)

// retryAfter is how long a prefix that was asked for is not asked for again.
const retryAfter = time.Minute

// Ask is a prefix to be put in force, or to be kept in force until a later end.
type Ask struct {
	Command   string
	Prefix    netip.Prefix
	Home      netip.Prefix // what it is all or a piece of
	Until     time.Time
	Addresses int    // that it stands for
	Like      string // id of an order of the same command
}

// Covered is a response to be taken back: a prefix in force goes on in its place.
type Covered struct {
	Key riposte.Key
	By  netip.Prefix
}

// Actions are what is to be done. What becomes of it is told with Note.
type Actions struct {
	Asks    []Ask
	Covered []Covered
}

// Next says what there is to do after what was noted since.
func (b *Book) Next(now time.Time) Actions {
	var out Actions
	for name, c := range b.commands {
		for len(c.dirty) > 0 {
			p := c.dirty[0]
			c.dirty = c.dirty[1:]
			if k, ok := c.blocks.Get(p); ok && !k.folded && k.state == held && k.until.After(now) {
				b.look(name, p, k, now, &out)
			}
		}
		c.dirty = nil
		out.Asks = append(out.Asks, c.asks...)
		c.asks = nil
		for p, end := range c.rests {
			if !now.Before(end) {
				delete(c.rests, p)
			}
		}
	}
	return out
}

// look decides about one block in force.
func (b *Book) look(name string, p netip.Prefix, k *block, now time.Time, out *Actions) {
	c := b.command(name)
	if by, cover := c.covering(p); cover != nil {
		b.fold(name, p, k, by, cover, out)
		return
	}
	if k.prefix {
		for _, q := range c.inside(p) {
			inner, _ := c.blocks.Get(q)
			if q != p && !inner.folded && inner.state == held {
				b.fold(name, q, inner, p, k, out)
			}
		}
	}
	for _, l := range b.levels(p.Addr()) {
		if !k.counts(p, l) {
			continue
		}
		at, _ := p.Addr().Prefix(l.Bits)
		if _, rests := c.rests[at]; !rests && b.enough(c, at, l, now) && b.plan(name, at, now) {
			return
		}
	}
}

// fold has a block taken back that a prefix covers, once that ends no earlier.
func (b *Book) fold(name string, p netip.Prefix, k *block, by netip.Prefix, cover *block, out *Actions) {
	if k.until.After(cover.until) {
		b.ask(Ask{Command: name, Prefix: by, Home: cover.home, Until: k.until, Addresses: cover.count + max(k.count, 1), Like: cover.order}, cover.count)
		return
	}
	k.folded = true
	cover.count += max(k.count, 1)
	out.Covered = append(out.Covered, Covered{Key: riposte.Key{Command: name, Target: target(p)}, By: by})
}

// covering returns the prefix in force around p that ends last.
func (c *command) covering(p netip.Prefix) (by netip.Prefix, cover *block) {
	for q, k := range c.blocks.Supernets(p) {
		if q != p && k.prefix && k.state == held && !k.folded && (cover == nil || k.until.After(cover.until)) {
			by, cover = q, k
		}
	}
	return by, cover
}

// inside are the blocks in p.
func (c *command) inside(p netip.Prefix) (out []netip.Prefix) {
	for q := range c.blocks.Subnets(p) {
		out = append(out, q)
	}
	return out
}

// counts reports whether a block counts in a prefix of the level: a prefix and
// its pieces only in wider ones than that they were made of.
func (k *block) counts(p netip.Prefix, l Level) bool {
	if k.prefix {
		return l.Bits < k.home.Bits()
	}
	return l.Bits < p.Bits()
}

// slash64 is what counts in IPv6 prefixes wider than it: a customer has one for
// himself.
const slash64 = 64

// enough reports whether as much is in force in a prefix as its level asks for.
func (b *Book) enough(c *command, at netip.Prefix, l Level, now time.Time) bool {
	var units []unit // disjoint, at most as many as the level asks for
	for p, k := range c.blocks.Subnets(at) {
		if k.folded || k.state != held || !k.until.After(now) || !k.counts(p, l) {
			continue
		}
		u := b.unit(p, k, l)
		if slices.ContainsFunc(units, func(o unit) bool { return o.name.Bits() <= u.name.Bits() && o.name.Overlaps(u.name) }) {
			continue
		}
		if _, cover := c.covering(p); cover != nil {
			continue // about to be folded; the cover counts
		}
		units = append(slices.DeleteFunc(units, func(o unit) bool { return o.name.Overlaps(u.name) }), u)
		sum := 0
		for _, u := range units {
			sum += u.weight
		}
		if sum >= l.Count {
			return true
		}
	}
	return false
}

// unit is what is counted, and for how many it stands.
type unit struct {
	name   netip.Prefix
	weight int
}

// unit is what a block counts as in a prefix of a level: a prefix that was made
// of many stands for as many as it took.
func (b *Book) unit(p netip.Prefix, k *block, l Level) unit {
	if k.prefix {
		p = k.home
	}
	if p.Addr().Is4() || l.Bits >= slash64 {
		return unit{p, 1}
	}
	if p.Bits() >= slash64 {
		p, _ = p.Addr().Prefix(slash64)
		return unit{p, 1}
	}
	for _, own := range b.levels(p.Addr()) {
		if own.Bits == p.Bits() {
			return unit{p, own.Count}
		}
	}
	return unit{p, 1} // of a level that is no longer set
}

// plan asks for a prefix, whole or in pieces, until the last end in it. It
// reports false when that would take too many.
func (b *Book) plan(name string, at netip.Prefix, now time.Time) bool {
	c := b.command(name)
	c.rests[at] = now.Add(retryAfter)
	pieces, ok := b.split(at)
	if !ok || len(pieces) == 0 {
		return false
	}
	var until time.Time
	count, like := 0, ""
	for _, k := range c.blocks.Subnets(at) {
		if k.folded || k.state != held {
			continue
		}
		count += max(k.count, 1)
		if k.until.After(until) {
			until, like = k.until, k.order
		}
	}
	for _, p := range pieces {
		b.ask(Ask{Command: name, Prefix: p, Home: at, Until: until, Addresses: count, Like: like}, 0)
	}
	return true
}

// target is a prefix as a target.
func target(p netip.Prefix) riposte.Target {
	t := riposte.Target{Kind: riposte.Address, Value: p.String()}
	if p.IsSingleIP() {
		t.Value = p.Addr().String()
	}
	return t
}
