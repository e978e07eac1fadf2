// Package aggregate makes one block of many: when enough offenders of one
// prefix are blocked, the prefix is, and its members are taken back.
//
// It is bookkeeping without effects. A Book is told what is in force, by the
// rows of the journal at the start and by receipts from then on, and says what
// to do next: which prefixes to order, and which responses are covered by one
// that is in force. Nothing of it is durable; what is in force says it all.
//
// The rules:
//
//   - Only blocks of single addresses with an end, made by a rule, are members.
//     What has no end, and what a person did, stays as it is.
//   - A prefix ends with the last of its members. It is ordered only when enough
//     of them are in force, and a member is taken back only when a prefix is in
//     force that holds it and ends no earlier. A crash between the two leaves
//     both in force, and the next start goes on from there.
//   - An offender inside a prefix in force is blocked like any other first, so
//     that his offence counts; then he is a member, and the prefix lasts as long
//     as he would.
//   - A prefix that holds something protected is ordered in pieces around it; the
//     guard is asked about each piece again. When that takes too many pieces,
//     nothing is aggregated.
package aggregate

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gaissmai/bart"

	"riposte"
)

// Level says how many make a prefix. For IPv4, and down to /64 for IPv6,
// addresses are counted; above, the /64 that hold any.
type Level struct {
	Bits  int // length of the prefix
	Count int // at least this many; 0: never
}

// Options are what a book goes by.
type Options struct {
	Levels4, Levels6 []Level
	// Protected reports whether some address of the prefix must not be blocked.
	Protected func(netip.Prefix) bool
	// Fit reports whether a mechanism can block prefixes; nil: each can.
	Fit func(mechanism string) bool
}

// Book knows what is in force as far as it may be aggregated. It is for one
// goroutine at a time.
type Book struct {
	o        Options
	commands map[string]*command
	freed    map[netip.Prefix]time.Time // taken out of prefixes by hand, until when
}

// command is what is in force by one command.
type command struct {
	blocks bart.Table[*block]
	dirty  []netip.Prefix             // blocks to look at
	rests  map[netip.Prefix]time.Time // prefixes that were asked for, until when they are left alone
	asks   []Ask
}

// state is how far a prefix has come.
type state uint8

const (
	held    state = iota // in force
	asked                // ordered, not in force yet
	leaving              // being replaced by pieces of it
)

// block is one response in force, or asked for.
type block struct {
	until  time.Time
	wanted time.Time    // of a prefix: the end it was last asked to have
	order  string       // id of its latest order
	count  int          // of a prefix: addresses it stands for
	prefix bool         // made here of others; else a member
	home   netip.Prefix // of a prefix: what it is all or a piece of
	folded bool         // it is being taken back, since a prefix covers it
	state  state
}

// New returns an empty book. Levels without count are left out.
func New(o Options) *Book {
	b := &Book{o: o}
	b.o.Levels4, b.o.Levels6 = sorted(o.Levels4), sorted(o.Levels6)
	b.clear()
	return b
}

// sorted are the levels that are meant, widest prefix first.
func sorted(levels []Level) []Level {
	var out []Level
	for _, l := range levels {
		if l.Count > 0 {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(x, y Level) int { return x.Bits - y.Bits })
	return out
}

func (b *Book) clear() {
	b.commands = map[string]*command{}
	if b.freed == nil {
		b.freed = map[netip.Prefix]time.Time{}
	}
}

// levels are those of an address's family, widest prefix first.
func (b *Book) levels(a netip.Addr) []Level {
	if a.Is4() {
		return b.o.Levels4
	}
	return b.o.Levels6
}

func (b *Book) command(name string) *command {
	c := b.commands[name]
	if c == nil {
		c = &command{rests: map[netip.Prefix]time.Time{}}
		b.commands[name] = c
	}
	return c
}

// words is how an order says that it comes from here.
const words = "aggregation of "

// By is in whose name a prefix is ordered that stands for so many addresses of
// home: the prefix itself, or that of which it is a piece. It is kept with what
// is in force, and all that has to be known at the next start.
func By(addresses int, home netip.Prefix) string {
	return fmt.Sprintf("%s%d addresses in %s", words, addresses, home)
}

// Parse reads back what By wrote. ok is false for what was ordered by anybody
// else.
func Parse(by string) (addresses int, home netip.Prefix, ok bool) {
	rest, ours := strings.CutPrefix(by, words)
	number, text, found := strings.Cut(rest, " addresses in ")
	if !ours || !found {
		return 0, home, false
	}
	n, err := strconv.Atoi(number)
	home, wrong := netip.ParsePrefix(text)
	return n, home, err == nil && wrong == nil && n >= 0 && home == home.Masked()
}

// Entry is one response in force, as the journal has it.
type Entry struct {
	Key       riposte.Key
	Mechanism string
	Order     string
	Until     time.Time
	By        string
	Rule      int
	Force     bool
}

// Load forgets what the book knew of what is in force, and reads it anew. What a
// prefix in pieces lacks was protected, or a person took it out: it is left out
// for as long as the pieces last.
func (b *Book) Load(entries []Entry) {
	before := b.commands
	b.clear()
	for i := range entries {
		e := &entries[i]
		if !e.Force {
			b.enter(e)
		}
	}
	for name, c := range before {
		for p, k := range c.blocks.All() {
			if k.state != leaving {
				continue
			}
			if again, ok := b.command(name).blocks.Get(p); ok {
				again.state = leaving
			}
		}
	}
	for _, c := range b.commands {
		b.readHoles(c)
	}
}
