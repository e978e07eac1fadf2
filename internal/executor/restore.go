package executor

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/journal"
)

// restore takes up what the journal says is in force, on its way in or on its
// way out, and begins to make the host agree with it.
func (x *Executor) restore(ctx context.Context) error {
	if err := x.restoreMeta(ctx); err != nil {
		return err
	}
	defs := map[string]*definition{}
	now := x.wall()
	err := x.o.Journal.Load(ctx, func(r *journal.Response) error {
		x.restoreHold(r, defs, now)
		return nil
	})
	if err != nil {
		return err
	}
	if err := x.restorePending(ctx); err != nil {
		return err
	}
	for _, m := range x.o.Mechanisms {
		x.laneOf(m)
	}
	var rest []*hold
	for _, g := range x.groups { // what is over first, so that the rest knows what it shares
		for _, h := range g.holds {
			if !x.takeUpOver(h, now) {
				rest = append(rest, h)
			}
		}
	}
	for _, h := range rest {
		x.takeUp(h)
	}
	for _, l := range x.order {
		if l.lister != nil {
			x.firstLists++
			x.list(l, &report{repair: true, first: true})
		}
	}
	x.workers.Go(func() { x.forgetOld(x.workCtx) })
	return nil
}

func (x *Executor) restoreHold(r *journal.Response, defs map[string]*definition, now int64) {
	g := x.group(r.Command.Name)
	name := r.Command.Name + "\x00" + r.Mechanism + "\x00" + r.Command.Executable + "\x00" + r.Target.Kind.String()
	for _, a := range r.Command.ExtraArgs {
		name += "\x00" + a
	}
	d := defs[name]
	if d == nil {
		d = g.define(&r.Command, x.findLane(r))
		defs[name] = d
	}
	h := &hold{
		target: r.Target, def: d, state: r.State, until: stamp(r.Until), duration: int64(r.Duration), pos: -1,
		rung: uint16(r.Rung), phase: r.Phase, force: r.Force,
	}
	if r.Trouble != "" {
		x.troubles[h] = trouble{words: r.Trouble}
	}
	if d.lane.mech.Name() != r.Mechanism {
		// The mechanism is gone, and what it did with it, as far as we can tell.
		if h.state = ""; h.phase == journal.Held {
			h.phase = journal.Pending
		}
		cause := x.cause(h)
		h.cause = &cause
		x.write(h)
	}
	if h.until != 0 && h.duration > 0 && h.until-now > h.duration {
		// The clock was set back while riposte did not run.
		h.until = now + h.duration
		x.change(h)
	}
	g.holds[r.Target] = h
}

// findLane finds the mechanism that a response was carried out with: the one
// its command resolves to, if that is still the same, one of that name, or else
// whatever the command resolves to today.
func (x *Executor) findLane(r *journal.Response) *lane {
	m, err := x.o.Resolve(r.Command)
	if err == nil && m.Name() == r.Mechanism {
		return x.laneOf(m)
	}
	for _, o := range x.o.Mechanisms {
		if o.Name() == r.Mechanism && (o.Kind() == r.Target.Kind || o.Kind() == riposte.None) {
			return x.laneOf(o)
		}
	}
	if err == nil {
		x.o.Log.Warn("a mechanism is no longer there; another takes over", "mechanism", r.Mechanism, "by", m.Name(), "command", r.Command.Name)
		return x.laneOf(m)
	}
	x.o.Log.Error("a mechanism is no longer there; what it holds cannot be undone", "mechanism", r.Mechanism, "command", r.Command.Name, "error", err)
	return x.laneOf(missing{name: r.Mechanism, kind: r.Target.Kind})
}

// missing stands for a mechanism that this host no longer has.
type missing struct {
	name string
	kind riposte.Kind
}

func (m missing) Name() string       { return m.name }
func (m missing) Kind() riposte.Kind { return m.kind }
func (m missing) Durable() bool      { return false }
func (m missing) fail(es []enforce.Effect) []enforce.Result {
	return enforce.Fail(es, fmt.Errorf("%s is not available on this host", m.name))
}
func (m missing) Apply(_ context.Context, es []enforce.Effect) []enforce.Result { return m.fail(es) }
func (m missing) Undo(_ context.Context, es []enforce.Effect) []enforce.Result  { return m.fail(es) }

// takeUpOver has a response taken back that must not be in force any longer, and
// reports whether it is one.
func (x *Executor) takeUpOver(h *hold, now int64) bool {
	// Whether what was on its way is there nobody knows.
	h.doubt = h.phase != journal.Held && h.def.lane.lister == nil
	switch {
	case h.phase == journal.Ending:
		x.push(&job{kind: end, place: h.place(), hold: h, reason: "it was being taken back when riposte stopped", first: true})
	case h.until != 0 && h.until <= now:
		h.phase = journal.Ending
		x.push(&job{kind: end, place: h.place(), hold: h, reason: "its time was up while riposte did not run", first: true})
	case !h.force && x.guard != nil && x.guard.Protected(h.target) != nil:
		x.endProtected(h)
	default:
		return false
	}
	return true
}

// takeUp goes on with a response where the last run left it.
func (x *Executor) takeUp(h *hold) {
	l := h.def.lane
	switch {
	case x.observes(h):
		x.clock.set(h, h.until)     // it ends on time, and is not put back before
		delete(x.book.meta, "boot") // a start that acts puts it back
	case h.phase == journal.Pending:
		// The last run stopped in the middle. Its cause is needed to count the
		// offence once the effect is there.
		cause := x.cause(h)
		h.cause = &cause
		x.adopt(h, true)
	default:
		x.clock.set(h, h.until)
		if l.lister != nil {
			return // it is compared with what the mechanism lists
		}
		if x.o.Boot != "" && x.rebooted {
			// To put it back is an intent like the first.
			h.phase = journal.Pending
			x.change(h)
		}
		if x.o.Boot == "" || x.rebooted {
			x.push(&job{kind: repair, place: h.place(), hold: h, first: true})
		}
	}
}

// observes reports whether this host only says what it would do: then nothing
// is put back, and what is in force still ends on time.
func (x *Executor) observes(h *hold) bool {
	return x.o.Observe != nil && x.o.Observe(h.def.command)
}

// adopt carries out what an earlier run may have carried out already. When the
// mechanism cannot say, it is undone first, so that it is not done twice.
func (x *Executor) adopt(h *hold, first bool) {
	if h.def.lane.lister == nil {
		h.doubt = true
		x.push(&job{kind: clean, place: h.place(), hold: h, first: first})
	}
	x.push(&job{kind: begin, place: h.place(), hold: h, first: first, adopted: true, durable: h.def.lane.mech.Durable()})
}

// restorePending gives the orders that were under way without a response of
// their own the receipt they did not live to see.
func (x *Executor) restorePending(ctx context.Context) error {
	orders, err := x.o.Journal.Unsettled(ctx)
	if err != nil {
		return err
	}
	for i := range orders {
		o := &orders[i]
		x.book.closed = append(x.book.closed, o.ID)
		if o.Command.Name == "" {
			continue // no longer on record
		}
		x.answer(&claim{order: o}, riposte.Receipt{Outcome: riposte.Failed,
			Reason: "riposte stopped in the middle of it; whether it was carried out is not known, and it is not repeated"})
	}
	return nil
}

// firstPatience is how long a mechanism that does not say what it holds keeps
// orders waiting at the start.
const firstPatience = 5 * time.Second

// feed puts back, some at a time, what was found missing at the start.
func (x *Executor) feed() {
	for len(x.putBack) > 0 && len(x.queues) < queued {
		h := x.putBack[0]
		x.putBack = x.putBack[1:]
		if x.isFirst(h) && len(x.queues[h.place()]) == 0 {
			x.push(&job{kind: repair, place: h.place(), hold: h, first: true, free: true})
		}
	}
	if len(x.putBack) == 0 {
		x.putBack = nil
	}
}

// checkReady tells when the first reconciliation is done: when orders may be
// taken, and when the host agrees with the journal.
func (x *Executor) checkReady() {
	if !x.opened && (x.firstLists == 0 || time.Since(x.started) >= firstPatience) {
		x.opened = true
	}
	if !x.isReady && x.firstLists == 0 && x.firstJobs == 0 && len(x.putBack) == 0 {
		x.isReady = true
		close(x.ready)
		slices.SortFunc(x.restored, byTarget) // they are told one after the other, and neighbours share pages of the journal
	}
}

// forgetOld removes offenders that no longer count, now and then.
func (x *Executor) forgetOld(ctx context.Context) {
	if x.o.ForgetAfter <= 0 {
		return
	}
	t := time.NewTicker(time.Hour)
	defer t.Stop()
	for {
		if n, err := x.o.Journal.Forget(x.o.Now().Add(-x.o.ForgetAfter)); err != nil {
			x.o.Log.Error("old offenders cannot be forgotten", "error", err)
		} else if n > 0 {
			x.o.Log.Debug("offenders are forgotten", "count", n)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// restoreMeta takes up what people had set.
func (x *Executor) restoreMeta(ctx context.Context) error {
	meta, err := x.o.Journal.Meta(ctx)
	if err != nil {
		return err
	}
	if x.rebooted = meta["boot"] != x.o.Boot; x.rebooted {
		x.book.meta["boot"] = x.o.Boot
	}
	for key, to := range map[string]any{"paused": &x.paused, "trial": &x.trial} {
		if text := meta[key]; text != "" {
			if err := json.Unmarshal([]byte(text), to); err != nil {
				x.o.Log.Error("what the journal keeps beside responses cannot be read", "key", key, "error", err)
			}
		}
	}
	return nil
}
