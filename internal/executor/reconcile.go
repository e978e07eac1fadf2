package executor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"riposte"
	"riposte/internal/enforce"
)

// Drift is one way in which the host is not as the journal says.
type Drift struct {
	Mechanism string         `json:"mechanism"`
	Target    riposte.Target `json:"target"`
	Command   string         `json:"command,omitempty"` // of what should be there
	What      string         `json:"what"`              // see the constants
	Until     time.Time      `json:"until,omitzero"`    // as the host has it
	Wanted    time.Time      `json:"wanted,omitzero"`   // as the journal has it
}

// What a Drift can be.
const (
	Missing = "missing" // in the journal, not on the host
	Unknown = "unknown" // on the host, not in the journal
	OffTime = "end"     // both, with different ends
)

// Report is what a comparison of the host with the journal found.
type Report struct {
	Drift   []Drift  `json:"drift,omitempty"`
	Checked int      `json:"checked"`           // effects compared
	Skipped []string `json:"skipped,omitempty"` // mechanisms that cannot list what they hold
	Errors  []string `json:"errors,omitempty"`
}

// slack is how far the end that a host keeps may be from the journal's: kernels
// round, and what is in force is renewed no more than once a second.
const slack = 3 * time.Second

// Reconcile compares what the mechanisms hold with what the journal says, and
// with repair makes the host agree: it puts back what is missing, removes what
// is riposte's but unknown, and mends ends. It returns once that is done. The
// names of mechanisms narrow it; none means all. What is repaired has receipts.
func (x *Executor) Reconcile(ctx context.Context, repair bool, names ...string) (Report, error) {
	r := &report{repair: repair, tally: &tally{done: make(chan struct{})}}
	err := x.call(ctx, func() {
		// The report itself counts as a job until all lists are there.
		r.tally.begin(1)
		if repair {
			x.recheck()
		}
		for _, l := range x.order {
			if len(names) > 0 && !slices.Contains(names, l.mech.Name()) {
				continue
			}
			if l.lister == nil {
				r.Skipped = append(r.Skipped, l.mech.Name())
				continue
			}
			r.tally.add(1)
			x.list(l, r)
		}
		x.jobDone(r.tally)
	})
	if err != nil {
		return Report{}, err
	}
	select {
	case <-r.tally.done:
	case <-ctx.Done():
		return Report{}, ctx.Err()
	case <-x.stopped:
		return Report{}, ErrStopped
	}
	for _, err := range r.tally.errs {
		r.Errors = append(r.Errors, err.Error())
	}
	slices.SortFunc(r.Drift, func(a, b Drift) int {
		return cmp.Or(cmp.Compare(a.Mechanism, b.Mechanism), cmp.Compare(a.What, b.What), cmp.Compare(a.Target.Value, b.Target.Value))
	})
	return r.Report, nil
}

// add counts n more jobs.
func (t *tally) add(n int) { t.total, t.left = t.total+n, t.left+n }

// report is a Report in the making. It belongs to the executor's goroutine.
type report struct {
	Report
	repair bool
	first  bool   // the first reconciliation
	tally  *tally // nil when nobody waits
}

// listing is what a mechanism holds.
type listing struct {
	lane    *lane
	effects []enforce.Effect
	err     error
	report  *report
}

// list asks a mechanism what it holds. While it answers, the places that change
// are noted: about these the answer is stale.
func (x *Executor) list(l *lane, r *report) {
	if l.touched != nil {
		l.waiting = append(l.waiting, r)
		return
	}
	l.touched = map[riposte.Target]bool{}
	x.lists++
	ctx := x.workCtx
	x.workers.Go(func() {
		effects, err := l.lister.List(ctx)
		select {
		case x.listed <- &listing{l, effects, err, r}:
		case <-x.abandon:
		}
	})
}

// compare holds what a mechanism lists against what should be in force.
func (x *Executor) compare(a *listing) {
	l, r := a.lane, a.report
	x.lists--
	touched := l.touched
	l.touched = nil
	x.sinceRest += len(a.effects)
	if len(l.waiting) > 0 {
		next := l.waiting[0]
		l.waiting = l.waiting[1:]
		x.list(l, next)
	}
	if r.first {
		x.firstLists--
	}
	if a.err != nil {
		r.Errors = append(r.Errors, fmt.Sprintf("%s cannot say what it holds: %v", l.mech.Name(), a.err))
		x.sick(l, a.err)
	} else {
		x.well(l)
	}
	if a.err == nil || r.first {
		// At the start, to apply what may be there already does no harm.
		x.compareEffects(l, a.effects, touched, r)
	}
	if r.tally != nil {
		x.jobDone(r.tally)
	}
}

func (x *Executor) compareEffects(l *lane, effects []enforce.Effect, touched map[riposte.Target]bool, r *report) {
	found := make(map[riposte.Target]int64, len(effects))
	for i := range effects {
		found[effects[i].Target] = stamp(effects[i].Until)
	}
	r.Checked += len(effects)
	stale := func(t riposte.Target) bool { return touched[t] || len(x.queues[place{l, t}]) > 0 }
	for _, g := range l.groups {
		for t, h := range g.holds {
			if h.def.lane != l {
				continue
			}
			until, there := found[t]
			delete(found, t)
			if stale(t) || !x.isFirst(h) {
				continue
			}
			if what := drift(h.place(), until, there); what != "" {
				x.mend(h, what, until, r)
			}
		}
	}
	for t, until := range found {
		p := place{l, t}
		known := false
		p.holds(func(*hold) bool { known = true; return false })
		if known || stale(t) {
			continue
		}
		r.Drift = append(r.Drift, Drift{Mechanism: l.mech.Name(), Target: t, What: Unknown, Until: instant(until)})
		if r.repair {
			x.pushFor(r, &job{kind: stray, place: p})
		}
	}
}

// isFirst reports whether the hold stands for its place: the first that wants
// the effect.
func (x *Executor) isFirst(h *hold) bool {
	return x.anyHold(h.place()) == h
}

// drift compares the end that a host keeps with the one wanted. A host that
// keeps none cannot be wrong about it.
func drift(p place, until int64, there bool) string {
	wanted, ok := p.wanted()
	switch {
	case !ok:
		return ""
	case !there:
		return Missing
	case until == 0:
		return ""
	case wanted == 0 || until < wanted-int64(slack) || until > wanted+int64(slack):
		return OffTime
	}
	return ""
}

func (x *Executor) mend(h *hold, what string, until int64, r *report) {
	wanted, _ := h.place().wanted()
	if !r.first {
		r.Drift = append(r.Drift, Drift{Mechanism: h.def.lane.mech.Name(), Target: h.target, Command: h.def.command.Name,
			What: what, Until: instant(until), Wanted: instant(wanted)})
	}
	if !r.repair || x.observes(h) {
		return
	}
	if what == Missing {
		if r.first {
			x.putBack = append(x.putBack, h)
			return
		}
		x.pushFor(r, &job{kind: repair, place: h.place(), hold: h, reason: "it had gone missing and was put back"})
		return
	}
	x.pushFor(r, &job{kind: repair, place: h.place(), hold: h, reason: "the host kept another end and was told the right one", first: r.first})
}

func (x *Executor) pushFor(r *report, j *job) {
	if r.tally != nil {
		r.tally.add(1)
		j.tallies = append(j.tallies, r.tally)
	}
	x.push(j)
}

// sick notes that a mechanism failed outside of an order, and when to compare
// it with the journal again.
func (x *Executor) sick(l *lane, err error) {
	words := err.Error()
	if l.trouble != words {
		x.o.Log.Error("a mechanism fails", "mechanism", l.mech.Name(), "error", err)
	}
	l.trouble = words
	if l.retry != 0 {
		return
	}
	l.fails++
	l.retry = x.wall() + int64(min(backoff(l.fails), time.Minute))
}

// well notes that a mechanism answers. Its trouble is over when what it is then
// asked to do works, too; that clears retry again, or sets it anew.
func (x *Executor) well(l *lane) {
	if l.retry == 0 && l.trouble != "" {
		x.o.Log.Info("a mechanism works again", "mechanism", l.mech.Name())
		l.trouble, l.fails = "", 0
	}
}

// retryLanes compares the mechanisms that failed with the journal again, or,
// when they cannot be asked, puts back once more what they failed to.
func (x *Executor) retryLanes() {
	now := x.wall()
	for _, l := range x.order {
		if l.retry == 0 || l.retry > now {
			continue
		}
		l.retry = 0
		if l.lister != nil {
			x.list(l, &report{repair: true})
			continue
		}
		missing := false
		for _, g := range l.groups {
			for _, h := range g.holds {
				if h.missing && h.def.lane == l && h.inForce() && len(x.queues[h.place()]) == 0 {
					missing = true
					x.push(&job{kind: repair, place: h.place(), hold: h, reason: "it could be put back at last"})
				}
			}
		}
		if !missing {
			x.well(l)
		}
	}
}

// Recheck asks the guard about everything in force, after the allow list or
// what else it protects has changed, and takes back what it would refuse now.
// Forced orders are left alone. It returns how many that are.
func (x *Executor) Recheck(ctx context.Context) (int, error) {
	n := 0
	err := x.call(ctx, func() { n = x.recheck() })
	return n, err
}

func (x *Executor) recheck() int {
	if x.guard == nil {
		return 0
	}
	n := 0
	for _, g := range x.groups {
		for _, h := range g.holds {
			if h.inForce() && !h.force && x.guard.Protected(h.target) != nil {
				x.endProtected(h)
				n++
			}
		}
	}
	return n
}

func (x *Executor) endProtected(h *hold) {
	x.endHold(h, "it is protected now: "+x.guard.Protected(h.target).Reason, "riposte", nil)
}
