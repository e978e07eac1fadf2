package aggregate

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"riposte"
)

// model is what must hold, by counting: who offended, until when he has to be
// blocked, and who was let go by hand.
type model struct {
	*world
	due   map[netip.Prefix]time.Time // offenders
	freed map[netip.Prefix]time.Time // taken out of a prefix by hand, until when that would have lasted
	ever  map[netip.Prefix]bool      // who ever offended
	calm  bool                       // no ask was refused or forgotten
}

func addressOf(t *rapid.T) netip.Prefix {
	var text string
	switch rapid.IntRange(0, 2).Draw(t, "family") {
	case 0:
		text = fmt.Sprintf("203.0.%d.%d", rapid.IntRange(112, 113).Draw(t, "net"), rapid.IntRange(0, 9).Draw(t, "host"))
	default:
		text = fmt.Sprintf("2001:db8:0:%x%02x::%x", rapid.IntRange(0, 3).Draw(t, "fifty-six"), rapid.IntRange(0, 3).Draw(t, "sixty-four"), rapid.IntRange(1, 3).Draw(t, "host"))
	}
	a := netip.MustParseAddr(text)
	return netip.PrefixFrom(a, a.BitLen())
}

// member reports whether the address has to be blocked.
func (m *model) member(p netip.Prefix) bool {
	return m.due[p].After(m.now) && !m.isProtected(p) && !m.freed[p].After(m.now)
}

// blocked returns until when an address is blocked.
func (m *model) blocked(p netip.Prefix) (until time.Time) {
	for q, e := range m.force {
		if q.Contains(p.Addr()) && e.Until.After(until) {
			until = e.Until
		}
	}
	return until
}

// check holds at any moment, after any crash.
func (m *model) check(t *rapid.T) {
	for p, until := range m.due {
		if m.member(p) && m.blocked(p).Before(until) {
			t.Fatalf("%v must be blocked until %v, and is until %v; in force: %s", p, until, m.blocked(p), m.inForce())
		}
	}
	for q := range m.force {
		if m.isProtected(q) {
			t.Fatalf("%v is blocked and holds something protected", q)
		}
		for p := range m.freed {
			if m.freed[p].After(m.now) && q.Overlaps(p) {
				t.Fatalf("%v is blocked and holds %v, which was let go", q, p)
			}
		}
		if q.IsSingleIP() && m.force[q].Rule != 0 {
			continue
		}
		if !m.justified(q) {
			t.Fatalf("%v is blocked, and nothing around it had enough offenders: %v", q, m.ever)
		}
	}
}

// justified reports whether some prefix around a blocked one had, over all time,
// as many offenders as it takes.
func (m *model) justified(q netip.Prefix) bool {
	for _, l := range m.book.levels(q.Addr()) {
		home := netip.PrefixFrom(q.Addr(), l.Bits).Masked()
		units := map[netip.Prefix]bool{}
		for p := range m.ever {
			if home.Contains(p.Addr()) {
				unit := p
				if p.Addr().Is6() && l.Bits < slash64 {
					unit = netip.PrefixFrom(p.Addr(), slash64).Masked()
				}
				units[unit] = true
			}
		}
		if l.Bits <= q.Bits() && len(units) >= l.Count {
			return true
		}
	}
	return false
}

// aroundFreed reports whether a piece of a prefix that held p is in force.
func (m *model) aroundFreed(p netip.Prefix) bool {
	for q, e := range m.force {
		if _, home, ours := Parse(e.By); ours && home != q && home.Overlaps(p) {
			return true
		}
	}
	return false
}

// settled holds once everything is done that the book wants.
func (m *model) settled(t *rapid.T) {
	for q, e := range m.force {
		for by, k := range m.force {
			if _, _, ours := Parse(k.By); ours && by != q && by.Overlaps(q) && by.Bits() < q.Bits() && k.Until.After(m.now) && !e.Until.After(k.Until) {
				t.Fatalf("%v is in force beside %v, which covers it", q, by)
			}
		}
	}
	if !m.calm || len(m.protected) > 0 || len(m.book.freed) > 0 { // what was protected when the book started is left out, too
		return
	}
	counts := map[netip.Prefix]int{}
	for q, e := range m.force {
		if e.Rule != 0 && e.Until.After(m.now) {
			bits := 24
			if q.Addr().Is6() {
				bits = 64
			}
			counts[netip.PrefixFrom(q.Addr(), bits).Masked()]++
		}
	}
	for p, n := range counts {
		if n >= 3 && p.Addr().Is4() || n >= 2 && p.Addr().Is6() {
			t.Fatalf("%d single addresses are in force in %v: %s", n, p, m.inForce())
		}
	}
}

// expire takes back what is over, and what is protected now.
func (m *model) expire() {
	for p, e := range m.force {
		if !e.Until.After(m.now) {
			m.undo(p, e.By)
		} else if m.isProtected(p) {
			m.undo(p, "riposte")
		}
	}
}

func TestAgainstCounting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{
			world: newWorld([]Level{{24, 3}}, []Level{{64, 2}, {56, 2}, {48, 6}}),
			due:   map[netip.Prefix]time.Time{}, freed: map[netip.Prefix]time.Time{}, calm: true, ever: map[netip.Prefix]bool{},
		}
		t.Repeat(map[string]func(*rapid.T){
			"offend": func(t *rapid.T) {
				p := addressOf(t)
				until := m.now.Add(time.Duration(rapid.IntRange(1, 20).Draw(t, "minutes")) * time.Minute)
				delete(m.freed, p)
				m.ever[p] = true
				if m.block(p, until, "rule 5712", 5712) && m.due[p].Before(until) {
					m.due[p] = until
				}
			},
			"wait": func(t *rapid.T) {
				m.now = m.now.Add(time.Duration(rapid.IntRange(1, 600).Draw(t, "seconds")) * time.Second)
				m.expire()
			},
			"settle": func(t *rapid.T) {
				if m.run(plenty) >= plenty {
					t.Fatalf("no end: %s", m.inForce())
				}
				m.settled(t)
			},
			"crash": func(t *rapid.T) {
				m.run(rapid.IntRange(0, 5).Draw(t, "done before"))
				m.restart()
				for p := range m.freed { // what is in force says it, or nothing does
					if !m.aroundFreed(p) {
						delete(m.freed, p)
					}
				}
			},
			"protect": func(t *rapid.T) {
				if len(m.protected) > 1 {
					clear(m.protected)
					return
				}
				m.run(plenty)
				p := addressOf(t)
				m.protected[p] = true
				delete(m.due, p)
				m.expire()
				m.run(plenty)
			},
			"let go": func(t *rapid.T) {
				m.run(plenty)
				p := addressOf(t)
				if m.carve(p) == nil {
					m.freed[p] = m.book.freed[p]
					delete(m.due, p)
				}
				m.run(plenty)
			},
			"free a prefix": func(t *rapid.T) {
				a := addressOf(t)
				bits := 24
				if a.Addr().Is6() {
					bits = rapid.SampledFrom([]int{64, 56, 48}).Draw(t, "bits")
				}
				p := netip.PrefixFrom(a.Addr(), bits).Masked()
				m.run(plenty)
				// What is carved out of a wider one is no business here.
				if q, _ := m.book.command("fw").covering(p); q.IsValid() {
					return
				}
				for _, k := range append(m.book.Inside("fw", p), riposte.Key{Command: "fw", Target: target(p)}) {
					q, _ := k.Target.Prefix()
					m.undo(q, "root")
					for d := range m.due {
						if q.Contains(d.Addr()) {
							delete(m.due, d)
						}
					}
				}
				for q, e := range m.force {
					if _, _, ours := Parse(e.By); ours && p.Overlaps(q) {
						t.Fatalf("%v is still in force after %v was freed", q, p)
					}
				}
			},
			"refuse": func(t *rapid.T) {
				odd := rapid.Bool().Draw(t, "odd")
				m.refuse = func(p netip.Prefix) bool { return p.Bits()%2 == 1 == odd }
				m.run(plenty)
				m.refuse, m.calm = nil, false
			},
			"": func(t *rapid.T) { m.check(t) },
		})
		m.run(plenty)
		m.check(t)
		m.settled(t)
	})
}

func FuzzParse(f *testing.F) {
	f.Add(By(37, netip.MustParsePrefix("2001:db8::/56")))
	f.Add("rule 5712")
	f.Fuzz(func(t *testing.T, by string) {
		if n, home, ok := Parse(by); ok {
			if m, again, ok := Parse(By(n, home)); !ok || m != n || again != home {
				t.Errorf("%q: %d in %v, then %d in %v", by, n, home, m, again)
			}
		}
	})
}
