package aggregate

import (
	"net/netip"
	"time"

	"riposte"
)

// Note tells the book what became of an order.
func (b *Book) Note(r *riposte.Receipt, now time.Time) {
	key := riposte.Key{Command: r.Command, Target: r.Target}
	p, ok := b.about(key)
	if !ok || r.Once {
		return
	}
	switch r.Outcome {
	case riposte.Verified, riposte.Applied, riposte.Extended, riposte.Repaired:
		b.enter(&Entry{Key: key, Mechanism: r.Mechanism, Order: r.Order, Until: r.Until, By: r.By, Rule: r.Rule})
	case riposte.Undone:
		b.ended(key.Command, p, r, now)
	case riposte.Refused, riposte.Failed, riposte.Expired, riposte.Observed:
		b.denied(key.Command, p)
	}
}

// about returns the prefix that a key is about, if it can be aggregated.
func (b *Book) about(k riposte.Key) (netip.Prefix, bool) {
	p, ok := k.Target.Prefix()
	return p, ok && len(b.levels(p.Addr())) > 0
}

// enter notes what is in force. What is neither ours nor a member's is a
// person's, and no business of the book.
func (b *Book) enter(e *Entry) {
	p, ok := b.about(e.Key)
	if !ok || b.o.Fit != nil && !b.o.Fit(e.Mechanism) {
		return
	}
	c := b.command(e.Key.Command)
	addresses, home, ours := Parse(e.By)
	member := p.IsSingleIP() && e.Rule != 0
	if e.Until.IsZero() || !ours && !member {
		c.blocks.Delete(p)
		return
	}
	k, known := c.blocks.Get(p) // whoever adds to it, it stays whose it was
	if !known {
		k = &block{prefix: ours, count: addresses, home: home}
		c.blocks.Insert(p, k)
	}
	k.until, k.order, k.folded = e.Until, e.Order, false
	if k.state == asked {
		k.state = held
	}
	if member {
		b.offends(p)
	}
	c.dirty = append(c.dirty, p)
}

// ended notes what is no longer in force. A prefix that riposte itself took
// back because part of it is protected now goes on in pieces.
func (b *Book) ended(command string, p netip.Prefix, r *riposte.Receipt, now time.Time) {
	c := b.command(command)
	k, ok := c.blocks.Get(p)
	if !ok {
		return
	}
	c.blocks.Delete(p)
	if !k.prefix || k.folded || k.state != held || r.By != "riposte" || !k.until.After(now) || !b.protected(p) {
		return
	}
	pieces, _ := b.split(p)
	for _, piece := range pieces {
		b.ask(Ask{Command: command, Prefix: piece, Home: k.home, Until: k.until, Addresses: k.count, Like: k.order}, k.count)
	}
}

// denied notes that an order came to nothing: a prefix that was asked for, or an
// end that one was to have.
func (b *Book) denied(command string, p netip.Prefix) {
	c := b.command(command)
	k, ok := c.blocks.Get(p)
	switch {
	case !ok || !k.prefix:
	case k.state == asked:
		c.blocks.Delete(p)
	default:
		k.wanted = time.Time{}
	}
}

// Denied tells the book that an ask could not even be handed over.
func (b *Book) Denied(a Ask) { b.denied(a.Command, a.Prefix) }

// ask has a prefix put in force, or its end moved. It stands for so many
// addresses already; those folded into it come to that.
func (b *Book) ask(a Ask, count int) {
	c := b.command(a.Command)
	k, ok := c.blocks.Get(a.Prefix)
	switch {
	case !ok:
		k = &block{prefix: true, state: asked, count: count, home: a.Home}
		c.blocks.Insert(a.Prefix, k)
	case !k.prefix || !a.Until.After(k.until) || !a.Until.After(k.wanted):
		return // a member of its own, in force, or asked already
	}
	k.wanted = a.Until
	if !k.until.IsZero() {
		// A step of less than a second moves nothing.
		a.Until = later(a.Until, k.until.Add(2*time.Second))
	}
	c.asks = append(c.asks, a)
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
