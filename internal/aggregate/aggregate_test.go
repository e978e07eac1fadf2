package aggregate

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"riposte"
)

var epoch = time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)

// world is an executor that does at once what it is told, and the book beside
// it.
type world struct {
	o         Options
	book      *Book
	now       time.Time
	force     map[netip.Prefix]Entry
	protected map[netip.Prefix]bool
	refuse    func(netip.Prefix) bool
	serial    int
	log       []string
}

func newWorld(levels4, levels6 []Level) *world {
	w := &world{now: epoch, force: map[netip.Prefix]Entry{}, protected: map[netip.Prefix]bool{}}
	w.o = Options{Levels4: levels4, Levels6: levels6, Protected: w.isProtected}
	w.book = New(w.o)
	return w
}

func (w *world) isProtected(p netip.Prefix) bool {
	for q := range w.protected {
		if q.Overlaps(p) {
			return true
		}
	}
	return false
}

func (w *world) receipt(p netip.Prefix, what riposte.Outcome, e Entry) {
	w.book.Note(&riposte.Receipt{
		Order: e.Order, Command: "fw", Target: target(p), Outcome: what, Until: e.Until, By: e.By, Rule: e.Rule, Mechanism: "nftables",
	}, w.now)
}

// block carries an order out.
func (w *world) block(p netip.Prefix, until time.Time, by string, rule int) bool {
	w.serial++
	e := Entry{Key: riposte.Key{Command: "fw", Target: target(p)}, Mechanism: "nftables", Order: fmt.Sprint("o", w.serial), Until: until, By: by, Rule: rule}
	if w.isProtected(p) || w.refuse != nil && rule == 0 && w.refuse(p) {
		w.receipt(p, riposte.Refused, e)
		return false
	}
	outcome := riposte.Verified
	if old, ok := w.force[p]; ok {
		outcome = riposte.Extended
		if !until.IsZero() && (old.Until.IsZero() || old.Until.After(until)) {
			e.Until = old.Until
		}
		kept := old
		kept.Until = e.Until
		w.force[p] = kept // its row keeps whose it is
	} else {
		w.force[p] = e
	}
	w.receipt(p, outcome, e)
	return true
}

func (w *world) offend(addr string, d time.Duration) {
	a := netip.MustParseAddr(addr)
	w.block(netip.PrefixFrom(a, a.BitLen()), w.now.Add(d), "rule 5712", 5712)
}

func (w *world) undo(p netip.Prefix, by string) {
	e, ok := w.force[p]
	if !ok {
		return
	}
	delete(w.force, p)
	e.By = by
	w.receipt(p, riposte.Undone, e)
}

// run does what the book wants, at most so many things; it reports how many.
func (w *world) run(most int) (n int) {
	for n < most {
		acts := w.book.Next(w.now)
		if len(acts.Asks)+len(acts.Covered) == 0 {
			return n
		}
		for _, a := range acts.Asks {
			if n++; n > most {
				return n
			}
			if !w.block(a.Prefix, a.Until, By(a.Addresses, a.Home), 0) {
				w.log = append(w.log, "refused "+a.Prefix.String())
			}
		}
		for _, x := range acts.Covered {
			if n++; n > most {
				return n
			}
			p, _ := x.Key.Target.Prefix()
			w.undo(p, "riposte")
		}
	}
	return n
}

const plenty = 100_000

// restart is a new book on what is in force.
func (w *world) restart() {
	w.book = New(w.o)
	w.book.Load(slices.Collect(func(yield func(Entry) bool) {
		for _, e := range w.force {
			if !yield(e) {
				return
			}
		}
	}))
}

// inForce is what is in force, in short: target and minutes left.
func (w *world) inForce() string {
	var out []string
	for p, e := range w.force {
		left := "ever"
		if !e.Until.IsZero() {
			left = fmt.Sprint(e.Until.Sub(w.now).Minutes())
		}
		out = append(out, target(p).Value+" "+left)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func (w *world) want(t *testing.T, what, want string) {
	t.Helper()
	if got := w.inForce(); got != want {
		t.Errorf("%s: in force\n%s, want\n%s", what, got, want)
	}
}

func TestManyBecomeOne(t *testing.T) {
	w := newWorld([]Level{{24, 3}}, nil)
	w.offend("203.0.113.1", 10*time.Minute)
	w.offend("203.0.113.2", 30*time.Minute)
	w.offend("198.51.100.3", 20*time.Minute)
	w.run(plenty)
	w.want(t, "two are not enough", "198.51.100.3 20, 203.0.113.1 10, 203.0.113.2 30")
	w.offend("203.0.113.3", 20*time.Minute)
	w.run(plenty)
	w.want(t, "three are", "198.51.100.3 20, 203.0.113.0/24 30")
	p := netip.MustParsePrefix("203.0.113.0/24")
	if by := w.force[p].By; by != "aggregation of 3 addresses in 203.0.113.0/24" {
		t.Error(by)
	}
	w.offend("203.0.113.4", 10*time.Minute)
	w.run(plenty)
	w.want(t, "one that ends earlier", "198.51.100.3 20, 203.0.113.0/24 30")
	w.offend("203.0.113.5", 60*time.Minute)
	w.run(plenty)
	w.want(t, "one that ends later", "198.51.100.3 20, 203.0.113.0/24 60")
	if n := w.book.Addresses(riposte.Key{Command: "fw", Target: target(p)}); n != 5 {
		t.Errorf("it stands for %d addresses, want 5", n)
	}
	w.undo(p, "aggregation of 3 addresses in 203.0.113.0/24") // its time is up
	w.run(plenty)
	w.want(t, "after its time", "198.51.100.3 20")
}

func TestLevelsOfIPv6(t *testing.T) {
	w := newWorld(nil, []Level{{48, 5}, {64, 2}, {56, 3}})
	w.offend("2001:db8::1", 10*time.Minute)
	w.offend("2001:db8::2", 10*time.Minute)
	w.run(plenty)
	w.want(t, "two of a /64", "2001:db8::/64 10")
	w.offend("2001:db8:0:1::1", 20*time.Minute)
	w.run(plenty)
	w.want(t, "a neighbour", "2001:db8:0:1::1 20, 2001:db8::/64 10")
	w.offend("2001:db8:0:2::1", 20*time.Minute)
	w.run(plenty)
	w.want(t, "three of a /56", "2001:db8::/56 20")
	w.offend("2001:db8:0:100::1", 20*time.Minute)
	w.run(plenty)
	w.want(t, "the /56 stands for three", "2001:db8:0:100::1 20, 2001:db8::/56 20")
	w.offend("2001:db8:0:200::1", 20*time.Minute)
	w.run(plenty)
	w.want(t, "five of a /48", "2001:db8::/48 20")
}

func TestWhoIsNoMember(t *testing.T) {
	w := newWorld([]Level{{24, 2}}, nil)
	hand := func(text string, until time.Time) {
		w.block(netip.MustParsePrefix(text), until, "root (uid 0)", 0)
	}
	hand("203.0.113.1/32", time.Time{})
	hand("203.0.113.2/32", w.now.Add(time.Hour))
	w.offend("203.0.113.3", 10*time.Minute)
	w.block(netip.MustParsePrefix("203.0.113.4/32"), time.Time{}, "rule 5712", 5712)
	w.run(plenty)
	w.want(t, "by hand or without end", "203.0.113.1 ever, 203.0.113.2 60, 203.0.113.3 10, 203.0.113.4 ever")
	w.offend("203.0.113.5", 10*time.Minute)
	w.run(plenty)
	w.want(t, "two members", "203.0.113.0/24 10, 203.0.113.1 ever, 203.0.113.2 60, 203.0.113.4 ever")
	hand("203.0.113.0/24", time.Time{}) // a person makes it his own
	w.offend("203.0.113.6", 10*time.Minute)
	w.run(plenty)
	w.want(t, "a prefix by hand folds nobody", "203.0.113.0/24 ever, 203.0.113.1 ever, 203.0.113.2 60, 203.0.113.4 ever, 203.0.113.6 10")

	e := Entry{Key: riposte.Key{Command: "fw", Target: target(netip.MustParsePrefix("198.51.100.1/32"))}, Until: w.now.Add(time.Hour), Rule: 1, Force: true}
	w.book.Load([]Entry{e})
	if _, ok := w.book.command("fw").blocks.Get(netip.MustParsePrefix("198.51.100.1/32")); ok {
		t.Error("what was forced is a member")
	}
}

func TestPiecesAroundTheProtected(t *testing.T) {
	w := newWorld([]Level{{24, 2}}, []Level{{48, 2}})
	w.protected[netip.MustParsePrefix("203.0.113.0/26")] = true
	w.offend("203.0.113.65", 10*time.Minute)
	w.offend("203.0.113.200", 10*time.Minute)
	w.run(plenty)
	w.want(t, "a corner", "203.0.113.128/25 10, 203.0.113.64/26 10")
	// An address every other bit: too many pieces, and no aggregation.
	for i := range 100 {
		w.protected[netip.MustParsePrefix(fmt.Sprintf("2001:db8:0:%x::/64", i*0x101))] = true
	}
	w.offend("2001:db8:0:2::1", 10*time.Minute)
	w.offend("2001:db8:0:3::1", 10*time.Minute)
	w.run(plenty)
	w.want(t, "too many", "2001:db8:0:2::1 10, 2001:db8:0:3::1 10, 203.0.113.128/25 10, 203.0.113.64/26 10")
	// What is protected later goes on in pieces.
	w.protected[netip.MustParsePrefix("203.0.113.128/26")] = true
	w.undo(netip.MustParsePrefix("203.0.113.128/25"), "riposte")
	w.run(plenty)
	w.want(t, "protected later", "2001:db8:0:2::1 10, 2001:db8:0:3::1 10, 203.0.113.192/26 10, 203.0.113.64/26 10")
}

// carve does what unblock does.
func (w *world) carve(p netip.Prefix) error {
	cuts, err := w.book.Carve("", p, w.now)
	for _, cut := range cuts {
		for _, a := range cut.Pieces {
			w.block(a.Prefix, a.Until, By(a.Addresses, a.Home), 0)
		}
		w.undo(cut.Prefix, "root")
	}
	w.undo(p, "root")
	return err
}

func TestCarve(t *testing.T) {
	w := newWorld([]Level{{24, 2}}, nil)
	for i := range 4 {
		w.offend(fmt.Sprintf("203.0.113.%d", i), 10*time.Minute)
	}
	w.run(plenty)
	w.want(t, "before", "203.0.113.0/24 10")
	if err := w.carve(netip.MustParsePrefix("203.0.113.3/32")); err != nil {
		t.Fatal(err)
	}
	w.run(plenty)
	pieces := "203.0.113.0/31 10, 203.0.113.128/25 10, 203.0.113.16/28 10, 203.0.113.2 10, 203.0.113.32/27 10, 203.0.113.4/30 10, 203.0.113.64/26 10, 203.0.113.8/29 10"
	w.want(t, "carved", pieces)
	w.offend("203.0.113.1", 10*time.Minute)
	w.run(plenty)
	w.want(t, "an offender in a piece", pieces)
	w.offend("203.0.113.3", 5*time.Minute)
	w.run(plenty)
	w.want(t, "the freed one offends again", strings.Replace(pieces, "203.0.113.32/27", "203.0.113.3 5, 203.0.113.32/27", 1))
	if keys := w.book.Inside("", netip.MustParsePrefix("203.0.113.0/24")); len(keys) != 9 {
		t.Errorf("inside the prefix: %v", keys)
	}
	if keys := w.book.Inside("other", netip.MustParsePrefix("203.0.113.0/24")); len(keys) != 0 {
		t.Errorf("of another command: %v", keys)
	}
}

func TestWhatWasTakenOutStaysOutOverARestart(t *testing.T) {
	w := newWorld([]Level{{24, 3}}, nil)
	for _, a := range []string{"203.0.113.1", "203.0.113.2", "203.0.113.3"} {
		w.offend(a, time.Hour)
	}
	w.run(plenty)
	if err := w.carve(netip.MustParsePrefix("203.0.113.128/31")); err != nil {
		t.Fatal(err)
	}
	w.run(plenty)
	want := w.inForce()
	w.restart()
	w.run(plenty)
	w.want(t, "after a restart", want)

	w.restart()
	for _, a := range []string{"203.0.113.65", "203.0.113.129", "203.0.113.200"} { // one of them was taken out
		w.offend(a, 2*time.Hour)
	}
	w.run(plenty)
	for p := range w.force {
		if p.Contains(netip.MustParseAddr("203.0.113.128")) {
			t.Errorf("%v is in force, and holds what was taken out", p)
		}
	}
	if _, ok := w.force[netip.MustParsePrefix("203.0.113.129/32")]; !ok {
		t.Errorf("who offended again is not blocked: %s", w.inForce())
	}
}

func TestRefusedIsLeftAloneForAWhile(t *testing.T) {
	w := newWorld([]Level{{24, 2}}, nil)
	w.refuse = func(netip.Prefix) bool { return true }
	for i := range 9 {
		w.offend(fmt.Sprintf("203.0.113.%d", i), 10*time.Minute)
		w.run(plenty)
	}
	if len(w.log) != 1 {
		t.Errorf("%v, want one try", w.log)
	}
	w.refuse = nil
	w.now = w.now.Add(2 * retryAfter)
	w.run(plenty)
	w.offend("203.0.113.9", 10*time.Minute)
	w.run(plenty)
	w.want(t, "tried again", "203.0.113.0/24 10")
}
