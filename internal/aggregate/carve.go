package aggregate

import (
	"errors"
	"net/netip"
	"time"

	"riposte"
)

// ErrPieces means that what is left of a prefix would be too many pieces.
var ErrPieces = errors.New("what is left of the prefix would be too many pieces")

// Carving is a prefix in force that a person took something out of: the pieces
// are to be put in force, then the prefix is to be taken back.
type Carving struct {
	Key    riposte.Key
	Prefix netip.Prefix
	Pieces []Ask
}

// Carve takes p out of the prefixes in force that hold it, of one command or
// with "" of all. Until Stay is called or the prefix is gone, nothing is folded
// into it.
func (b *Book) Carve(name string, p netip.Prefix, now time.Time) ([]Carving, error) {
	var out []Carving
	for n, c := range b.commands {
		if name != "" && n != name {
			continue
		}
		for q, k := range c.blocks.Supernets(p) {
			if q == p || !k.prefix || k.state != held || k.folded {
				continue
			}
			b.free(p, k.until, now)
			pieces, ok := b.split(q)
			if !ok {
				delete(b.freed, p)
				b.stay(out)
				return nil, ErrPieces
			}
			cut := Carving{Key: riposte.Key{Command: n, Target: target(q)}, Prefix: q}
			for _, piece := range pieces {
				cut.Pieces = append(cut.Pieces, Ask{Command: n, Prefix: piece, Home: k.home, Until: k.until, Addresses: k.count, Like: k.order})
			}
			k.state = leaving
			out = append(out, cut)
		}
	}
	return out, nil
}

// Stay gives up a carving: the prefix is still in force.
func (b *Book) Stay(cut Carving) { b.stay([]Carving{cut}) }

func (b *Book) stay(cuts []Carving) {
	for _, cut := range cuts {
		c := b.command(cut.Key.Command)
		if k, ok := c.blocks.Get(cut.Prefix); ok && k.state == leaving {
			k.state = held
			c.dirty = append(c.dirty, cut.Prefix)
		}
	}
}

// Inside returns what is to be freed with a prefix, beside itself: everything in
// it that the book knows, if any of that was aggregated.
func (b *Book) Inside(name string, p netip.Prefix) []riposte.Key {
	var out []riposte.Key
	for n, c := range b.commands {
		if name != "" && n != name {
			continue
		}
		made := false
		var found []riposte.Key
		for q, k := range c.blocks.Subnets(p) {
			made = made || k.prefix
			if q != p && k.state != asked {
				found = append(found, riposte.Key{Command: n, Target: target(q)})
			}
		}
		if made {
			out = append(out, found...)
		}
	}
	return out
}

// Addresses returns how many addresses a prefix in force stands for, 0 when it
// is none of the book's.
func (b *Book) Addresses(k riposte.Key) int {
	p, ok := k.Target.Prefix()
	if !ok || b.commands[k.Command] == nil {
		return 0
	}
	if x, ok := b.commands[k.Command].blocks.Get(p); ok && x.prefix {
		return x.count
	}
	return 0
}
