package executor

import (
	"slices"
	"time"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/journal"
)

// hold is one response in force, on its way in or on its way out. There may be
// a hundred thousand, so what is rarely asked for stays in the journal.
type hold struct {
	target   riposte.Target
	def      *definition
	cause    *journal.Cause // until it is in the journal
	state    string         // the mechanism's
	until    int64          // wall time in nanoseconds, 0: until undone
	duration int64          // of one answer, 0: without end
	at       int64          // when the clock has to look at it: its end, or the next attempt to undo it; 0: never
	pos      int32          // in the clock's heap
	rung     uint16
	tries    uint16 // failed undos
	phase    journal.Phase
	force    bool // ordered past the guard
	over     bool // no longer the hold of its key
	took     bool // it took over an effect that was not undone
	doubt    bool // riposte was stopped in the middle of it, and what that may have left is not known to be undone
	missing  bool // in force, but could not be put back after a restart of the machine
}

func (h *hold) key() riposte.Key {
	return riposte.Key{Command: h.def.command.Name, Target: h.target}
}

func (h *hold) place() place { return place{h.def.lane, h.target} }

// inForce reports whether the effect is wanted on the host.
func (h *hold) inForce() bool { return !h.over && h.phase != journal.Ending }

// definition is a command as it was when it was carried out, and where.
type definition struct {
	command riposte.Command
	lane    *lane
}

// group is all holds of one command name.
type group struct {
	name  string
	defs  []*definition
	holds map[riposte.Target]*hold
}

// define returns the group's definition for the command on the lane.
func (g *group) define(c *riposte.Command, l *lane) *definition {
	for _, d := range g.defs {
		if d.lane == l && d.command.Executable == c.Executable && slices.Equal(d.command.ExtraArgs, c.ExtraArgs) && slices.Equal(d.command.Expect, c.Expect) {
			return d
		}
	}
	d := &definition{command: *c, lane: l}
	g.defs = append(g.defs, d)
	if !slices.Contains(l.groups, g) {
		l.groups = append(l.groups, g)
	}
	return d
}

// place is what is unique on a host: a target under one mechanism.
type place struct {
	lane   *lane
	target riposte.Target
}

// holds calls do with every hold at the place until it returns false.
func (p place) holds(do func(*hold) bool) {
	for _, g := range p.lane.groups {
		if h := g.holds[p.target]; h != nil && h.def.lane == p.lane && !do(h) {
			return
		}
	}
}

// wanted reports whether anything wants an effect at the place, and the latest
// end of all that do: 0 for none.
func (p place) wanted() (until int64, ok bool) {
	p.holds(func(h *hold) bool {
		if !h.inForce() {
			return true
		}
		if until = laterEnd(until, h.until, ok); until == 0 {
			ok = true
			return false
		}
		ok = true
		return true
	})
	return until, ok
}

// laterEnd is the later of two ends, where 0 is never; the first counts only
// when there is one.
func laterEnd(a, b int64, have bool) int64 {
	if !have {
		return b
	}
	if a == 0 || b == 0 {
		return 0
	}
	return max(a, b)
}

// forced reports whether anything that wants the effect was ordered past what
// is refused by default.
func (p place) forced() (forced bool) {
	p.holds(func(h *hold) bool {
		forced = h.force && h.inForce()
		return !forced
	})
	return forced
}

// state returns the mechanism's state for the place.
func (p place) state() (state string) {
	p.holds(func(h *hold) bool {
		state = h.state
		return state == ""
	})
	return state
}

// lane is one mechanism and the work that waits for it.
type lane struct {
	mech   enforce.Mechanism
	lister enforce.Lister // the mechanism again, when it is one
	width  int            // goroutines at work at most
	busy   int
	ready  [2][]*job // by verb, oldest first
	turn   verb      // whose turn it is when both wait
	groups []*group

	touched map[riposte.Target]bool // places that changed while a listing is under way; nil when none is
	waiting []*report               // listings asked for while one is under way
	retry   int64                   // when to reconcile after a failure, 0 never
	fails   int
	trouble string
}

type laneKey struct {
	name string
	kind riposte.Kind
}

func newLane(m enforce.Mechanism) *lane {
	l := &lane{mech: m, width: 1}
	l.lister, _ = m.(enforce.Lister)
	if p, ok := m.(enforce.Parallel); ok {
		l.width = max(p.Parallel(), 1)
	}
	return l
}

// clock is a heap of holds by when they have to be looked at.
type clock []*hold

// set puts the hold at its time, or takes it out when that is 0.
func (c *clock) set(h *hold, at int64) {
	h.at = at
	switch {
	case at == 0 && h.pos >= 0:
		c.remove(h)
	case at != 0 && h.pos < 0:
		h.pos = int32(len(*c))
		*c = append(*c, h)
		c.up(h.pos)
	case at != 0:
		c.up(h.pos)
		c.down(h.pos)
	}
}

func (c *clock) remove(h *hold) {
	q := *c
	last := q[len(q)-1]
	q[len(q)-1] = nil
	*c = q[:len(q)-1]
	if last != h {
		(*c)[h.pos], last.pos = last, h.pos
		c.up(last.pos)
		c.down(last.pos)
	}
	h.pos = -1
}

func (c clock) up(i int32) {
	for i > 0 {
		parent := (i - 1) / 2
		if c[parent].at <= c[i].at {
			return
		}
		c.swap(i, parent)
		i = parent
	}
}

func (c clock) down(i int32) {
	n := int32(len(c))
	for {
		least := 2*i + 1
		if least >= n {
			return
		}
		if right := least + 1; right < n && c[right].at < c[least].at {
			least = right
		}
		if c[i].at <= c[least].at {
			return
		}
		c.swap(i, least)
		i = least
	}
}

func (c clock) swap(i, j int32) {
	c[i], c[j] = c[j], c[i]
	c[i].pos, c[j].pos = i, j
}

// shift moves all times, which leaves their order as it is.
func (c clock) shift(by int64) {
	for _, h := range c {
		h.at += by
	}
}

// stamp and instant convert between times and the nanoseconds holds keep.
func stamp(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func instant(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}
