package executor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/guard"
	"riposte/internal/journal"
)

// maxTake is how many orders one cycle takes: one commit writes them, and the
// mechanisms are at work on them while the next are taken.
const maxTake = 1024

// tick is how long the executor sleeps at most while anything is in force: a
// wall clock that was set is noticed within that time.
const tick = time.Second

// loop is all state of an executor. It belongs to the goroutine of Run.
type loop struct {
	lanes     map[laneKey]*lane
	order     []*lane
	groups    map[string]*group
	queues    map[place][]*job
	clock     clock
	troubles  map[*hold]trouble // why what is on its way out is still there
	book      book
	unwritten error     // why the journal cannot be written
	rewrite   time.Time // when to try again

	pushed   []*job        // since the last commit
	out      []outgoing    // receipts of this cycle
	acks     []*submission // whose orders this cycle has written
	tallied  []*tally      // whose jobs are done
	current  *submission   // taken in part
	restored []*hold       // put back at the start, and not yet told
	guard    *guard.Guard
	paused   *pause
	trial    *trial
	read     int64     // the wall clock
	happened time.Time // when the mechanism was done with what is settled; zero: now
	facts    journal.Facts
	known    offenders
	undoing  []*undoing    // in hand
	drift    time.Duration // of it against Elapsed

	started               time.Time
	putBack               []*hold   // found missing at the start, and not yet a job
	firstJobs, firstLists int       // of the first reconciliation, outstanding
	opened                bool      // orders are taken
	done                  []*batch  // whose results are not settled yet
	unsettled             int       // jobs in them
	sinceRest             int       // jobs done and effects listed since the last rest
	settled               time.Time // when the last was
	doneSince             time.Time
	isReady               bool
	rebooted              bool // the machine was started anew since the last run
	stopping              bool
	more                  bool // there is more to do before sleeping
	busy                  int  // batches at work
	lists                 int  // listings under way

	workers sync.WaitGroup
	passed  passed // steps to tell after the commit
	workCtx context.Context
	endWork context.CancelFunc
	abandon chan struct{} // closed when results are no longer waited for
}

func (l *loop) init(x *Executor) {
	l.lanes, l.groups, l.queues = map[laneKey]*lane{}, map[string]*group{}, map[place][]*job{}
	l.troubles, l.book = map[*hold]trouble{}, newBook()
	l.guard, l.abandon = x.o.Guard, make(chan struct{})
}

// trouble is why a response could not be undone, and on whose behalf it is
// tried again.
type trouble struct{ words, reason, by string }

// now is the wall clock as watchClock last read it, wall the same in
// nanoseconds: whatever is decided between two looks is decided on one clock.
func (x *Executor) now() time.Time { return instant(x.read) }
func (x *Executor) wall() int64    { return x.read }

func (x *Executor) laneOf(m enforce.Mechanism) *lane {
	k := laneKey{m.Name(), m.Kind()}
	l := x.lanes[k]
	if l == nil {
		l = newLane(m)
		x.lanes[k] = l
		x.order = append(x.order, l)
	}
	return l
}

func (x *Executor) group(name string) *group {
	g := x.groups[name]
	if g == nil {
		g = &group{name: name, holds: map[riposte.Target]*hold{}}
		x.groups[name] = g
	}
	return g
}

// Run makes the host agree with the journal, then carries out orders until ctx
// ends. It may be called once.
func (x *Executor) Run(ctx context.Context) error {
	first := false
	x.once.Do(func() { first = true })
	if !first {
		return errors.New("the executor was run before")
	}
	defer close(x.stopped)
	x.initWork()
	defer x.endWork()
	x.tell.start()
	defer x.tell.stop()
	x.started, x.drift = time.Now(), x.readClock()
	if err := x.restore(ctx); err != nil {
		return fmt.Errorf("restore what is in force: %w", err)
	}
	for ctx.Err() == nil {
		x.cycle()
		x.sleep(ctx)
	}
	return x.stop()
}

// cycle does everything that is to be done now.
func (x *Executor) cycle() {
	for x.more = true; x.more; {
		x.more = false
		x.watchClock()
		x.due()
		x.watchTrial()
		x.retryLanes()
		x.feed()
		x.undoSome()
		x.takeSome()
		x.takeResults()
		x.settleSome()
		if x.idle() && len(x.restored) > 0 {
			x.sayRestored()
		}
		x.writeAndGo()
	}
	x.checkReady()
	x.takeRest()
}

// A rest is worth it after so many jobs and listed effects, and when nothing was done for so long.
const (
	restAfter = 10_000
	restCalm  = 2 * time.Second
)

// takeRest says that all is done, when it was much.
func (x *Executor) takeRest() {
	if !x.restless() || !x.isReady || !x.idle() || len(x.restored) > 0 || !x.book.empty() || time.Since(x.settled) < restCalm || !x.tell.quiet() {
		return
	}
	x.sinceRest = 0
	x.out, x.pushed, x.queues, x.known = nil, nil, map[place][]*job{}, offenders{} // as large as the burst was
	x.workers.Go(func() {
		if err := x.o.Journal.Rest(); err != nil {
			x.o.Log.Warn("after a burst", "error", err)
		}
		x.o.Rest()
	})
}

// restless reports whether a rest is due as soon as there is time for it.
func (x *Executor) restless() bool { return x.o.Rest != nil && x.sinceRest >= restAfter }

// writeAndGo writes what was decided, then lets it happen, then tells.
func (x *Executor) writeAndGo() {
	x.dispatch() // what is free does not wait for the journal
	err := x.commit()
	if err != nil {
		x.failUnwritten(err)
	}
	x.tellSteps()
	x.releasePushed()
	x.deliver(err)
	x.dispatch()
	// What dispatch found pointless is settled, and is to be written, too.
	if len(x.pushed) > 0 || len(x.out) > 0 || x.current != nil || len(x.done) > 0 && !x.mechanismsFirst() || x.unwritten == nil && !x.book.empty() {
		x.more = true
	}
}

// passed are the steps that the next commit completes.
type passed struct{ written, settled, end, over bool }

func (x *Executor) tellSteps() {
	p := x.passed
	x.passed = passed{}
	for _, s := range []struct {
		on   bool
		name string
	}{{p.settled, "settled"}, {p.over, "over"}, {p.written, "written"}, {p.end, "end"}} {
		if s.on {
			x.o.Step(s.name)
		}
	}
}

// takeResults takes in what workers have done meanwhile, so that they go on.
func (x *Executor) takeResults() {
	for {
		select {
		case b := <-x.results:
			x.finish(b)
		default:
			return
		}
	}
}

// idle reports whether nothing is at work and nothing waits.
func (x *Executor) idle() bool {
	return x.busy == 0 && len(x.done) == 0 && len(x.queues) == 0 && x.current == nil && len(x.undoing) == 0 && x.lists == 0
}

// takeSome takes some of the orders of the submission in hand.
func (x *Executor) takeSome() {
	s := x.current
	if s == nil {
		return
	}
	n := min(maxTake, len(s.orders)-s.next)
	q := journal.Question{}
	for i := range s.orders[s.next : s.next+n] {
		o := &s.orders[s.next+i]
		q.Orders = append(q.Orders, o.ID)
		q.Offenders = x.askOffender(q.Offenders, x.offenderKey(o.Key()))
	}
	x.ask(q)
	for range n {
		x.take(s, s.next)
		s.next++
	}
	if s.next == len(s.orders) {
		x.acks = append(x.acks, s)
		x.current = nil
	}
}

// sleep waits for something to do, and takes in all that is there then.
func (x *Executor) sleep(ctx context.Context) {
	t := time.NewTimer(x.rest())
	defer t.Stop()
	inbox := x.inbox
	if !x.opened || x.stopping || x.current != nil {
		inbox = nil
	}
	select {
	case <-ctx.Done():
		return
	case <-t.C:
		return
	case s := <-inbox:
		x.watchClock()
		x.current = s
		x.takeSome()
	case do := <-x.calls:
		x.watchClock()
		do()
	case b := <-x.results:
		x.watchClock()
		x.finish(b)
	case l := <-x.listed:
		x.watchClock()
		x.compare(l)
	case js := <-x.synced:
		x.safe(js)
	}
	x.drain()
}

// drain takes in whatever else is there, so that one commit writes it all.
func (x *Executor) drain() {
	for n := 0; n < maxTake && x.current == nil; n++ {
		inbox := x.inbox
		if !x.opened || x.stopping {
			inbox = nil
		}
		select {
		case s := <-inbox:
			x.current = s
			x.takeSome()
		case do := <-x.calls:
			do()
		case b := <-x.results:
			x.finish(b)
		case l := <-x.listed:
			x.compare(l)
		case js := <-x.synced:
			x.safe(js)
		default:
			return
		}
	}
}

// rest is how long there is nothing to do.
func (x *Executor) rest() time.Duration {
	if len(x.restored) > 0 && x.idle() {
		return 0
	}
	d := time.Hour
	if len(x.done) > 0 {
		d = max(0, settleAge-time.Since(x.doneSince))
	}
	if len(x.clock) > 0 {
		d = min(d, tick, time.Duration(x.clock[0].at-x.o.Now().UnixNano()))
	}
	if x.unwritten != nil && !x.book.empty() {
		d = min(d, time.Until(x.rewrite))
	}
	if x.restless() && x.idle() {
		d = min(d, max(tick, restCalm-time.Since(x.settled)))
	}
	for _, l := range x.order {
		if l.retry != 0 {
			d = min(d, time.Duration(l.retry-x.wall()), tick)
		}
	}
	if !x.opened {
		d = min(d, firstPatience-time.Since(x.started))
	}
	if x.trial != nil {
		d = min(d, x.trial.Until.Sub(x.now()), tick)
	}
	return max(d, 0)
}

// stop ends the work: what a mechanism has in hand is waited for, what it has
// not is left to the next start, which finds it in the journal.
func (x *Executor) stop() error {
	x.stopping = true
	undoing := x.o.OnStop == Undo
	if undoing {
		for _, g := range x.groups {
			for _, h := range g.holds {
				x.endHold(h, "riposte stops, and is told to undo", "riposte", nil)
			}
		}
		x.cycle()
	} else {
		for _, l := range x.order {
			l.ready = [2][]*job{}
		}
	}
	patience := time.NewTimer(x.o.StopTime)
	defer patience.Stop()
	patient := true
	for x.busy > 0 || len(x.done) > 0 || undoing && patient && len(x.queues) > 0 {
		if len(x.done) > 0 {
			if x.settleSome(); undoing && patient {
				x.cycle()
			}
			continue
		}
		select {
		case b := <-x.results:
			x.finish(b)
		case js := <-x.synced:
			x.safe(js)
		case l := <-x.listed:
			x.compare(l)
		case do := <-x.calls:
			do()
		case <-patience.C:
			if !patient {
				continue
			}
			patient = false
			x.endWork() // mechanisms return early
		}
		if undoing && patient {
			x.cycle()
		}
	}
	x.endWork()
	close(x.abandon)
	err := x.commit()
	x.deliver(err)
	x.workers.Wait()
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), x.o.StopTime)
		defer cancel()
		err = x.o.Journal.Sync(ctx)
	}
	if err != nil {
		return fmt.Errorf("write down what is in force: %w", err)
	}
	return nil
}
