package executor

import (
	"context"
	"errors"
	"slices"
	"time"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/journal"
)

// maxBatch is how many effects a mechanism is given at once.
const maxBatch = 1000

// queued is how much work may wait before more of a large request is made into
// jobs.
const queued = 4 * maxBatch

// errWritten marks a result that is only there because the journal could not
// be written.
var errWritten = errors.New("not carried out, since it could not be undone after a crash: the journal cannot be written")

// kind says what a job is for.
type kind uint8

const (
	begin  kind = iota // put a hold's effect in force
	renew              // tell the mechanism a new end
	repair             // put back what is missing
	act                // carry out what leaves nothing to undo
	end                // undo a hold's effect
	clean              // undo what may be left of a begin that failed or was interrupted
	stray              // undo what nobody knows about
)

// verb says which of a mechanism's methods a job needs.
type verb uint8

const (
	apply verb = iota
	undo
)

func (k kind) verb() verb {
	if k >= end {
		return undo
	}
	return apply
}

// claim is an order that waits for its receipt.
type claim struct {
	order   *riposte.Order
	digest  string
	answers *answers
	index   int // in answers
}

// job is one call of a mechanism for one target. The jobs of one place are done
// one after the other, in the order in which they were pushed.
type job struct {
	kind    kind
	place   place
	hold    *hold // nil for act and stray, and for clean after a failure
	def     *definition
	claims  []*claim
	tallies []*tally
	reason  string
	by      string // who ended it, "" for the clock
	first   bool   // of the first reconciliation
	adopted bool   // a begin that an earlier run has left: no order of it is at hand

	free      bool // it has no intent: what the journal says already is enough
	durable   bool // its intent must be on the disk first
	committed bool // the intent is in the journal
	safe      bool // and on the disk
	started   bool

	asked int64  // the end that the mechanism was given
	order string // id of the order that the mechanism may want to know whole
}

// batch is what a worker did.
type batch struct {
	lane    *lane
	jobs    []*job
	results []enforce.Result
	at      time.Time // when the mechanism was done
	settled int       // of the jobs
}

// push puts a job behind those of its place. Unless it is free it is released
// once what the current cycle writes is in the journal.
func (x *Executor) push(j *job) {
	if j.def == nil && j.hold != nil {
		j.def = j.hold.def
	}
	x.queues[j.place] = append(x.queues[j.place], j)
	if j.free {
		j.committed = true
		x.release(j.place)
	} else {
		x.pushed = append(x.pushed, j)
	}
	x.passed.written = x.passed.written || len(j.claims) > 0
	if j.first {
		x.firstJobs++
	}
}

// find returns the job of a kind that waits or runs for a hold.
func (x *Executor) find(h *hold, k kind) *job {
	for _, j := range x.queues[h.place()] {
		if j.hold == h && j.kind == k {
			return j
		}
	}
	return nil
}

// release hands the first job of a place to its lane, if it may start.
func (x *Executor) release(p place) {
	q := x.queues[p]
	if len(q) == 0 {
		return
	}
	j := q[0]
	if j.started || !j.committed || j.durable && !j.safe {
		return
	}
	j.started = true
	p.lane.ready[j.kind.verb()] = append(p.lane.ready[j.kind.verb()], j)
}

// pop takes a finished job off its place and releases the first of those left.
func (x *Executor) pop(j *job) {
	q := x.queues[j.place]
	if i := slices.Index(q, j); i >= 0 {
		q = slices.Delete(q, i, i+1)
	}
	if len(q) == 0 {
		delete(x.queues, j.place)
	} else {
		x.queues[j.place] = q
		x.release(j.place)
	}
	if t := j.place.lane.touched; t != nil {
		t[j.place.target] = true
	}
	if j.first {
		x.firstJobs--
	}
}

// releasePushed releases what was pushed before the commit that was just done.
// Jobs whose intent must be on the disk wait for one flush they share.
func (x *Executor) releasePushed() {
	var wait []*job
	for _, j := range x.pushed {
		j.committed = true
		if j.durable {
			wait = append(wait, j)
			continue
		}
		x.release(j.place)
	}
	clear(x.pushed)
	x.pushed = x.pushed[:0]
	if len(wait) == 0 {
		return
	}
	x.workers.Go(func() {
		// A flush that fails is reported by the journal; the effect is still
		// better than none, and the intent outlives this process at least.
		_ = x.o.Journal.Sync(x.workCtx)
		select {
		case x.synced <- wait:
		case <-x.abandon:
		}
	})
}

// safe notes that the intents of jobs are on the disk.
func (x *Executor) safe(jobs []*job) {
	x.o.Step("synced")
	for _, j := range jobs {
		j.safe = true
		x.release(j.place)
	}
}

// dispatch gives waiting jobs to idle workers.
func (x *Executor) dispatch() {
	if x.stopping && x.o.OnStop == Keep {
		return
	}
	for _, l := range x.order {
		for l.busy < l.width && len(l.ready[apply])+len(l.ready[undo]) > 0 {
			if jobs := x.nextBatch(l); len(jobs) > 0 {
				x.start(l, jobs)
			}
		}
	}
}

// nextBatch takes jobs of one verb off the lane. Blocks go before undos, but do
// not starve them. Jobs that have become pointless are settled on the spot.
func (x *Executor) nextBatch(l *lane) []*job {
	size := maxBatch
	if l.width > 1 {
		size = 1
	}
	v := l.turn
	if len(l.ready[v]) == 0 {
		v = 1 - v
	}
	l.turn = 1 - v
	var jobs []*job
	for len(l.ready[v]) > 0 && len(jobs) < size {
		j := l.ready[v][0]
		l.ready[v][0] = nil
		l.ready[v] = l.ready[v][1:]
		if res, moot := x.moot(j); moot {
			x.settle(j, &res, true) // which may make more ready
			continue
		}
		jobs = append(jobs, j)
	}
	return jobs
}

// moot reports that a job needs no call of the mechanism any more, and what its
// result is.
func (x *Executor) moot(j *job) (enforce.Result, bool) {
	h := j.hold
	until, wanted := j.place.wanted()
	switch j.kind {
	case begin:
		if h.over || h.phase == journal.Ending {
			return enforce.Result{}, true
		}
		if h.until != 0 && h.until <= x.wall() {
			return enforce.Result{Err: errLate}, true
		}
		if j.place.lane.lister == nil && x.held(j.place) != nil {
			return enforce.Result{State: j.place.state()}, true
		}
		if !j.adopted && j.place.lane.lister == nil && x.uncertain(h) {
			return enforce.Result{Err: errUncertain}, true
		}
	case renew, repair:
		if !wanted {
			return enforce.Result{}, true
		}
	case clean:
		// What waits behind it is put in force after it.
		return enforce.Result{}, x.held(j.place) != nil
	case end:
		// What may be there in part is undone before it is had anew.
		if wanted && (!h.doubt || x.held(j.place) != nil) {
			// Another command, or a newer order, has taken the effect over.
			if j.place.lane.lister != nil && x.queueLen(j.place) == 1 && until != h.until {
				x.push(&job{kind: renew, place: j.place, hold: x.anyHold(j.place)}) // the end may be sooner now
			}
			return enforce.Result{}, true
		}
	case stray:
		// What is on its way in waits behind it.
		known := false
		j.place.holds(func(h *hold) bool { known = known || h.phase != journal.Pending; return true })
		return enforce.Result{}, known
	}
	return enforce.Result{}, false
}

// errLate means that an effect's time was over before its turn came.
var errLate = errors.New("its time was over before its turn came")

// errUncertain means that an effect must not be had for fear of having it twice.
var errUncertain = errors.New("riposte was once stopped in the middle of putting the same in force, and what that may have left cannot be undone yet")

// uncertain reports whether a hold at the place may have left the effect, and
// its cleaning fails.
func (x *Executor) uncertain(h *hold) (found bool) {
	h.place().holds(func(o *hold) bool { found = o.doubt; return !found })
	return found
}

func (x *Executor) queueLen(p place) int { return len(x.queues[p]) }

func (x *Executor) anyHold(p place) (found *hold) {
	p.holds(func(h *hold) bool {
		if h.inForce() {
			found = h
		}
		return found == nil
	})
	return found
}

// held returns a hold that has the effect of a place in force.
func (x *Executor) held(p place) (found *hold) {
	p.holds(func(h *hold) bool {
		if h.inForce() && h.phase == journal.Held {
			found = h
		}
		return found == nil
	})
	return found
}

// start lets a worker call the mechanism.
func (x *Executor) start(l *lane, jobs []*job) {
	effects := make([]enforce.Effect, len(jobs))
	var missing []int // effects whose order has to be read from the journal
	for i, j := range jobs {
		effects[i] = x.effect(j)
		if j.order != "" {
			missing = append(missing, i)
		}
	}
	v := jobs[0].kind.verb()
	l.busy++
	x.busy++
	ctx := x.workCtx
	x.workers.Go(func() {
		for _, i := range missing {
			if o, err := x.o.Journal.Order(ctx, jobs[i].order); err == nil {
				effects[i].Alert = o.Alert
			}
		}
		b := &batch{lane: l, jobs: jobs}
		if v == apply {
			x.o.Step("apply")
			b.results = l.mech.Apply(ctx, effects)
			x.o.Step("applied")
		} else {
			x.o.Step("undo")
			b.results = l.mech.Undo(ctx, effects)
			x.o.Step("undone")
		}
		b.at = x.o.Now()
		select {
		case x.results <- b:
		case <-x.abandon:
		}
	})
}

// effect is what the mechanism is told.
func (x *Executor) effect(j *job) enforce.Effect {
	until, _ := j.place.wanted()
	if j.kind.verb() == undo && j.hold != nil {
		until = j.hold.until
	}
	j.asked = until
	e := enforce.Effect{Target: j.place.target, Until: instant(until), State: j.place.state(), Force: j.place.forced()}
	if j.def != nil {
		e.Command = j.def.command
	}
	if len(j.claims) > 0 {
		o := j.claims[0].order
		e.Order, e.Alert, e.By, e.Force = o.ID, o.Alert, o.By, o.Force || e.Force
		if j.kind == act {
			e.Until, e.State = time.Time{}, ""
		}
		return e
	}
	if j.hold != nil {
		e.Force = e.Force || j.hold.force
		if j.kind == end {
			e.State = j.hold.state
		}
		// A Lister needs no reasons, and they would have to be read one by one.
		if j.place.lane.lister == nil || j.hold.cause != nil {
			c := x.cause(j.hold)
			e.Order, e.By = c.Order, c.By
			if j.place.lane.lister == nil {
				j.order = c.Order
			}
		}
	}
	return e
}

// cause says where a hold came from. It is at hand, or was asked for with those
// of others, or is asked for now.
func (x *Executor) cause(h *hold) journal.Cause {
	if h.cause != nil {
		return *h.cause
	}
	if c, ok := x.facts.Causes[h.key()]; ok {
		return c
	}
	x.ask(journal.Question{Causes: []riposte.Key{h.key()}})
	return x.facts.Causes[h.key()]
}

// askCauses asks for the causes of holds that are about to be told about.
func (x *Executor) askCauses(holds []*hold) {
	q := journal.Question{}
	for _, h := range holds {
		if h != nil && h.cause == nil {
			q.Causes = append(q.Causes, h.key())
		}
	}
	if len(q.Causes) > 0 {
		x.ask(q)
	}
}

// finish takes in what a worker did, and gives the mechanism its next work.
// What came of the last is settled by settleSome.
func (x *Executor) finish(b *batch) {
	b.lane.busy--
	x.busy--
	if len(x.done) == 0 {
		x.doneSince = time.Now()
	}
	x.done = append(x.done, b)
	x.unsettled += len(b.jobs)
	x.dispatch()
}

// While a mechanism has thousands of effects before it, it goes first: to write
// down what came of an effect takes longer than the effect.
// It does not go first for long, nor for more than so many: their orders are
// held in memory until then, and whoever is told the receipts has only the latest
// orders at hand. A large lot spares the journal's pages; while
// something is about to end, lots are small, since nothing ends meanwhile.
const (
	settleLot = 1024
	smallLot  = 256
	settleAge = 200 * time.Millisecond
	unsettled = 2 * settleLot
)

// settleSome settles some of what workers did.
func (x *Executor) settleSome() {
	if len(x.done) == 0 || !x.stopping && x.mechanismsFirst() && time.Since(x.doneSince) < settleAge {
		return
	}
	left := settleLot
	if len(x.clock) > 0 && x.clock[0].at < x.wall()+int64(tick) {
		left = smallLot
	}
	for left > 0 && len(x.done) > 0 {
		b := x.done[0]
		n := min(left, len(b.jobs)-b.settled)
		jobs := b.jobs[b.settled : b.settled+n]
		x.askAbout(jobs)
		x.happened = b.at
		for _, j := range jobs {
			res := enforce.Result{Err: errNoResult}
			if b.settled < len(b.results) {
				res = b.results[b.settled]
			}
			b.settled++
			x.settle(j, &res, false)
		}
		x.unsettled, x.sinceRest = x.unsettled-n, x.sinceRest+n
		if left -= n; b.settled == len(b.jobs) {
			x.done[0] = nil
			x.done = x.done[1:]
		}
	}
	x.happened, x.settled = time.Time{}, time.Now()
}

// mechanismsFirst reports whether there is so much to do on the host that what
// came of the last can wait.
func (x *Executor) mechanismsFirst() bool {
	return x.unsettled < unsettled && (x.current != nil || len(x.undoing) > 0 || x.inBulk())
}

// inBulk reports whether a mechanism that works in batches has more than one
// before it.
func (x *Executor) inBulk() bool {
	for _, l := range x.order {
		if l.width == 1 && l.busy > 0 && len(l.ready[apply])+len(l.ready[undo]) >= maxBatch {
			return true
		}
	}
	return false
}

// askAbout asks for what settling jobs needs: the offenders of those that begin,
// the causes of those that end.
func (x *Executor) askAbout(jobs []*job) {
	q := journal.Question{}
	for _, j := range jobs {
		switch {
		case j.hold == nil:
		case j.kind == begin && j.hold.duration > 0:
			q.Offenders = x.askOffender(q.Offenders, x.offenderKey(j.hold.key()))
		case (j.kind == end || j.kind == repair && !j.first) && j.hold.cause == nil:
			q.Causes = append(q.Causes, j.hold.key())
		}
	}
	if len(q.Offenders)+len(q.Causes) > 0 {
		x.ask(q)
	}
}

var errNoResult = errors.New("the mechanism gave no result")

// workCtx is ended when a stop has waited long enough.
func (x *Executor) initWork() {
	x.workCtx, x.endWork = context.WithCancel(context.Background())
}
