package executor

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"riposte"
	"riposte/internal/guard"
	"riposte/internal/journal"
)

// take takes an order in hand: it is refused, only observed, too late, or it
// becomes a job.
func (x *Executor) take(s *submission, i int) {
	o := &s.orders[i]
	c := &claim{order: o, answers: s.answers, index: i}
	if x.facts.Known[o.ID] {
		x.repeat(c)
		return
	}
	if err := s.bad[i]; err != nil {
		x.answer(c, riposte.Receipt{Outcome: riposte.Failed, Reason: err.Error()})
		return
	}
	c.digest = s.entries[i].Digest
	x.book.orders, s.entries[i] = append(x.book.orders, s.entries[i]), nil
	x.o.Step("taken")
	x.decide(c)
}

// ask has the journal tell: what is about to be needed at once, what turns out
// to be needed one by one. What it said of orders and causes holds until the
// next commit. A journal that cannot be read knows nothing: then an offence
// counts as the first, and a receipt lacks its reason.
func (x *Executor) ask(q journal.Question) {
	f, err := x.o.Journal.Ask(q)
	if err != nil {
		x.o.Log.Error("the journal cannot be asked", "error", err)
	}
	if x.facts.Known == nil {
		x.facts = f
	} else {
		maps.Copy(x.facts.Known, f.Known)
		maps.Copy(x.facts.Causes, f.Causes)
	}
	for _, k := range q.Offenders {
		if rec, ok := f.Offenders[k]; ok {
			x.known.put(k, &rec)
		} else if err == nil {
			x.known.put(k, nil)
		}
	}
}

// repeat answers an order that was received before: it is not carried out
// twice, however often it is delivered.
func (x *Executor) repeat(c *claim) {
	if c.answers == nil {
		return
	}
	r := x.receipt(c, riposte.Receipt{Outcome: riposte.Extended, Reason: "this order was received before and is under way"})
	rs, err := x.o.Journal.History(x.workCtx, journal.Filter{Order: c.order.ID, Limit: 1})
	if err == nil && len(rs) > 0 {
		r = rs[0]
	}
	x.out = append(x.out, outgoing{receipt: r, answers: c.answers, index: c.index, silent: true})
}

func (x *Executor) decide(c *claim) {
	o := c.order
	if x.guard != nil {
		if err := x.guard.Check(o); err != nil {
			x.refuse(c, err)
			return
		}
	}
	mech, err := x.o.Resolve(o.Command)
	if err != nil {
		x.refuse(c, fmt.Errorf("this host cannot carry out %s: %w", o.Command.Name, err))
		return
	}
	if k := mech.Kind(); k != riposte.None && k != o.Target.Kind {
		x.refuse(c, fmt.Errorf("%s acts on a target of kind %s, and the order has one of kind %s", mech.Name(), k, o.Target.Kind))
		return
	}
	l := x.laneOf(mech)
	g := x.group(o.Command.Name)
	h := g.holds[o.Target]
	switch {
	case x.paused != nil && !o.Force:
		x.refuse(c, errors.New(x.paused.words()))
	case x.o.Observe != nil && x.o.Observe(o.Command):
		x.observe(c, l)
	case h != nil && h.inForce():
		x.trigger(c, h, l)
	default:
		x.begin(c, g, l)
	}
}

// refuse answers with a refusal.
func (x *Executor) refuse(c *claim, err error) {
	var r *guard.Refusal
	if errors.As(err, &r) && r.Tripped {
		x.note("breaker", "", r.Reason)
		x.o.Log.Warn("the breaker opened", "reason", r.Reason)
	}
	x.answer(c, riposte.Receipt{Outcome: riposte.Refused, Reason: err.Error()})
}

// answer says what became of an order.
func (x *Executor) answer(c *claim, r riposte.Receipt) {
	x.say(x.receipt(c, r), c.digest, c.answers, c.index)
}

// receipt fills in what the order says.
func (x *Executor) receipt(c *claim, r riposte.Receipt) riposte.Receipt {
	o := c.order
	r.Order, r.Command, r.Target, r.By = o.ID, o.Command.Name, o.Target, o.By
	if o.Alert != nil {
		r.Rule, r.Alert = o.Alert.Rule.ID, o.Alert.ID
	}
	return r
}

// step is where an offender stands on the ladder of an order, and how long an
// answer lasts there.
func (x *Executor) step(o *riposte.Order) (rung int, duration time.Duration) {
	if !o.Stateful() {
		return 0, 0
	}
	rec, ok := x.offender(x.offenderKey(o.Key()))
	if ok {
		rung = min(rec.Rung, len(o.Ladder))
		// An answer that is still running is to another address of the same
		// offender: that is no new offence.
		if stamp(rec.Until) <= x.wall() {
			rung = min(rec.Rung+1, len(o.Ladder))
		}
	}
	if rung == 0 {
		return 0, o.Timeout
	}
	return rung, o.Ladder[rung-1]
}

// offender returns what is known of an offender, unless that is too old to
// count.
func (x *Executor) offender(k riposte.Key) (journal.Offender, bool) {
	rec, ok := x.book.offenders[k]
	if !ok {
		if _, asked := x.known.get(k); !asked {
			x.ask(journal.Question{Offenders: []riposte.Key{k}})
		}
		if r, _ := x.known.get(k); r != nil {
			rec, ok = *r, true
		}
		if until, changed := x.book.ended[k]; ok && changed {
			rec.Until = until
		}
	}
	if ok && x.o.ForgetAfter > 0 && stamp(rec.Until)+int64(x.o.ForgetAfter) < x.wall() {
		return journal.Offender{}, false
	}
	return rec, ok
}

// offenderKey is what offences are counted by: the address, or for IPv6 the
// network that one offender has for himself.
func (x *Executor) offenderKey(k riposte.Key) riposte.Key {
	if k.Target.Kind != riposte.Address {
		return k
	}
	p, ok := k.Target.Prefix()
	if !ok || !p.Addr().Is6() || p.Bits() <= x.o.OffenderV6 {
		return k
	}
	k.Target.Value = netip.PrefixFrom(p.Addr(), x.o.OffenderV6).Masked().String()
	return k
}

// base is when an order's time starts: when it was decided, wherever that was.
func (x *Executor) base(o *riposte.Order) int64 {
	now := x.wall()
	if at := stamp(o.Issued); at != 0 && at < now {
		return at
	}
	return now
}

// observe says what would be done.
func (x *Executor) observe(c *claim, l *lane) {
	rung, d := x.step(c.order)
	r := riposte.Receipt{Outcome: riposte.Observed, Mechanism: l.mech.Name(), Rung: rung}
	if d > 0 {
		r.Until = instant(x.base(c.order) + int64(d))
	}
	x.answer(c, r)
}

// begin answers a target that is not answered now.
func (x *Executor) begin(c *claim, g *group, l *lane) {
	o := c.order
	rung, d := x.step(o)
	var until int64
	if d > 0 {
		if until = x.base(o) + int64(d); until <= x.wall() {
			x.answer(c, riposte.Receipt{Outcome: riposte.Expired, Mechanism: l.mech.Name(), Until: instant(until), Rung: rung,
				Reason: "the order's time was over before it arrived"})
			return
		}
	}
	if x.guard != nil {
		if err := x.guard.Admit(o, len(g.holds)); err != nil {
			x.refuse(c, err)
			return
		}
	}
	if !o.Stateful() && l.lister == nil {
		x.act(c, g, l)
		return
	}
	h := &hold{
		target: o.Target, def: g.define(&o.Command, l), until: until, duration: int64(d), pos: -1,
		rung: uint16(rung), phase: journal.Pending, force: o.Force,
		cause: &journal.Cause{Order: o.ID, Since: x.now(), By: o.By},
	}
	if o.Alert != nil {
		h.cause.Rule, h.cause.Alert = o.Alert.Rule.ID, o.Alert.ID
	}
	if old := g.holds[o.Target]; old != nil {
		x.replace(old, h)
	}
	g.holds[o.Target] = h
	x.write(h)
	x.push(&job{kind: begin, place: h.place(), hold: h, claims: []*claim{c}, durable: l.mech.Durable()})
}

// write puts a new hold into the journal.
func (x *Executor) write(h *hold) {
	x.book.put(h, "")
	x.book.fresh = append(x.book.fresh, h)
}

// change writes what changed about a hold.
func (x *Executor) change(h *hold) {
	x.book.change(h, x.troubles[h].words)
	if h.cause != nil {
		x.book.fresh = append(x.book.fresh, h)
	}
}

// replace lets a new hold take the place of one that is on its way out.
func (x *Executor) replace(old, h *hold) {
	cause := x.cause(old)
	old.cause, old.over = &cause, true
	h.state, h.took, h.doubt = old.state, true, old.doubt
	x.clock.set(old, 0)
	delete(x.troubles, old)
	if x.find(old, end) == nil {
		r := x.holdReceipt(old, riposte.Failed)
		r.Reason = fmt.Sprintf("it could not be undone, and is now in force again by order %s", h.cause.Order)
		x.say(r, "", nil, 0)
		if h.doubt {
			x.push(&job{kind: clean, place: h.place(), def: h.def})
		}
		return
	}
	// Its row goes to the new order, and its last receipt is still to come.
	x.book.opened = append(x.book.opened, cause.Order)
}

// act carries out what leaves nothing to undo.
func (x *Executor) act(c *claim, g *group, l *lane) {
	x.book.opened = append(x.book.opened, c.order.ID)
	x.push(&job{kind: act, place: place{l, c.order.Target}, def: g.define(&c.order.Command, l), claims: []*claim{c}})
}

// trigger answers a target that is answered already.
func (x *Executor) trigger(c *claim, h *hold, l *lane) {
	o := c.order
	if o.Force && !h.force {
		h.force = true
		x.change(h)
	}
	if !o.Stateful() && h.def.lane.lister == nil {
		x.act(c, x.group(o.Command.Name), l)
		return
	}
	moved := x.prolong(h, o)
	// The receipt waits for what the mechanism has to say, if it has.
	wait := x.find(h, begin)
	if wait == nil && moved && h.def.lane.lister != nil {
		if wait = x.find(h, renew); wait == nil || wait.started {
			wait = &job{kind: renew, place: h.place(), hold: h}
			x.push(wait)
		}
	}
	if wait == nil {
		x.answer(c, x.extended(h))
		return
	}
	x.book.opened = append(x.book.opened, o.ID)
	wait.claims = append(wait.claims, c)
}

// prolong restarts a hold's clock, and reports whether its end moved. A step of
// less than a second moves nothing: an attacker who goes on hammering would
// otherwise cost a write and a call of the mechanism for each blow.
func (x *Executor) prolong(h *hold, o *riposte.Order) bool {
	switch {
	case h.until == 0:
		return false
	case !o.Stateful():
		h.until, h.duration, h.rung = 0, 0, 0
	default:
		d := max(h.duration, int64(o.Timeout))
		until := x.base(o) + d
		if until < h.until+int64(time.Second) {
			return false
		}
		h.until, h.duration = until, d
		x.book.endOffence(x.offenderKey(h.key()), instant(until))
	}
	if h.phase == journal.Held {
		x.clock.set(h, h.until)
	}
	x.change(h)
	return true
}

// extended is the receipt of a trigger.
func (x *Executor) extended(h *hold) riposte.Receipt {
	return riposte.Receipt{Outcome: riposte.Extended, Mechanism: h.def.lane.mech.Name(), Until: instant(h.until), Rung: int(h.rung)}
}

// holdReceipt is a receipt about a hold rather than about an order at hand.
func (x *Executor) holdReceipt(h *hold, what riposte.Outcome) riposte.Receipt {
	c := x.cause(h)
	return riposte.Receipt{
		Order: c.Order, Outcome: what, Command: h.def.command.Name, Target: h.target, Mechanism: h.def.lane.mech.Name(),
		Until: instant(h.until), Rung: int(h.rung), By: c.By, Rule: c.Rule, Alert: c.Alert,
	}
}
