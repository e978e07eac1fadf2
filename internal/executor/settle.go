package executor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/journal"
)

// settle takes in the result of a job. moot says that the mechanism was not
// called for it.
func (x *Executor) settle(j *job, res *enforce.Result, moot bool) {
	if x.stopping && errors.Is(res.Err, context.Canceled) {
		return // cut short by the stop: the journal still has it, and the next start takes it up
	}
	switch j.kind {
	case begin:
		x.settleBegin(j, res, moot)
	case renew:
		x.settleRenew(j, res, moot)
	case repair:
		x.settleRepair(j, res, moot)
	case act:
		x.settleAct(j, res)
	case end:
		x.settleEnd(j, res, moot)
	case clean:
		x.settleClean(j, res, moot)
	case stray:
		x.settleStray(j, res, moot)
	}
	x.pop(j)
	for _, t := range j.tallies {
		x.jobDone(t)
	}
}

// fail tells those who wait for a job that it failed.
func (j *job) fail(format string, args ...any) {
	for _, t := range j.tallies {
		t.errs = append(t.errs, fmt.Errorf(format, args...))
	}
}

// settleClean takes in what became of undoing what a failed or interrupted
// begin may have left. An interrupted one waits for it: done twice, it could not
// be undone.
func (x *Executor) settleClean(j *job, res *enforce.Result, moot bool) {
	h := j.hold
	switch {
	case res.Err == nil && !moot:
		x.setState(j.place, "", nil)
		x.gone(j.place)
	case res.Err == nil:
	case h != nil && h.phase == journal.Pending && !h.over:
		if b := x.find(h, begin); b != nil {
			x.close(b.claims)
			for _, c := range b.claims {
				x.answer(c, x.extended(h))
			}
			x.pop(b)
		}
		h.tries++
		x.troubles[h] = trouble{words: "riposte stopped in the middle of it, and what it may have left cannot be undone: " + res.Err.Error()}
		x.clock.set(h, x.wall()+int64(backoff(int(h.tries))))
		x.change(h)
	default:
		x.o.Log.Warn("what a failed response may have left cannot be undone", "mechanism", j.place.lane.mech.Name(), "target", j.place.target, "error", res.Err)
		x.sick(j.place.lane, res.Err)
	}
}

// done is the outcome of what was carried out.
func done(res *enforce.Result) riposte.Outcome {
	if res.Verified {
		return riposte.Verified
	}
	return riposte.Applied
}

// close notes that the orders behind a job have their receipts.
func (x *Executor) close(claims []*claim) {
	for _, c := range claims {
		x.book.closed = append(x.book.closed, c.order.ID)
	}
}

func (x *Executor) settleBegin(j *job, res *enforce.Result, moot bool) {
	h := j.hold
	late := errors.Is(res.Err, errLate)
	if j.adopted {
		x.close(j.claims)
	} else {
		x.close(j.claims[1:]) // the first is stood for by the hold's own row
	}
	switch {
	case res.Err != nil && (h.over || h.phase == journal.Ending):
		x.answerBegin(j, riposte.Receipt{Outcome: riposte.Failed, Reason: res.Err.Error(), Output: res.Output})
	case res.Err != nil:
		r := riposte.Receipt{Outcome: riposte.Failed, Reason: res.Err.Error(), Output: res.Output}
		if late {
			r.Outcome, r.Until, r.Rung = riposte.Expired, instant(h.until), int(h.rung)
		}
		x.answerBegin(j, r)
		if late && (j.adopted || h.took) {
			// It may be there since before the crash, or since an earlier order.
			x.endHold(h, "its time was up before its turn came", "", nil)
			break
		}
		if j.place.lane.lister == nil && (h.state != "" || h.took) {
			// It took over what could not be undone, or was not yet.
			x.endHold(h, "it could not be put in force anew", "", nil)
			break
		}
		x.forget(h)
		if !moot && j.place.lane.lister != nil {
			x.push(&job{kind: clean, place: j.place, def: j.def})
		}
	case moot && !h.inForce():
		x.answerBegin(j, riposte.Receipt{Outcome: riposte.Undone, Reason: "it was taken back before it was carried out"})
	case res.NoUndo:
		x.answerBegin(j, riposte.Receipt{Outcome: done(res), Output: res.Output, Once: true, Reason: "it leaves nothing that could be undone"})
		if !h.over {
			x.forget(h)
		}
	default:
		x.inForce(j, res, moot)
	}
	x.passed.settled = true
}

// inForce notes that a begin succeeded.
func (x *Executor) inForce(j *job, res *enforce.Result, moot bool) {
	h := j.hold
	if res.State != "" {
		x.setState(j.place, res.State, h)
	}
	if h.took, h.doubt = false, false; h.phase == journal.Pending {
		h.phase, h.tries = journal.Held, 0
		delete(x.troubles, h)
		x.clock.set(h, h.until)
	}
	if h.duration > 0 {
		x.offend(h)
	}
	x.change(h)
	r := riposte.Receipt{Outcome: done(res), Output: res.Output, Until: instant(h.until), Rung: int(h.rung)}
	if moot {
		if other := x.other(h); other != nil {
			r.Reason = fmt.Sprintf("in force already through %s", other.def.command.Name)
		}
	}
	x.answerBegin(j, r)
	x.catchUp(j)
}

// other returns another hold that wants the effect.
func (x *Executor) other(h *hold) (found *hold) {
	h.place().holds(func(o *hold) bool {
		if o != h && o.inForce() {
			found = o
		}
		return found == nil
	})
	return found
}

// setState keeps the mechanism's state with every hold of a place.
func (x *Executor) setState(p place, state string, but *hold) {
	p.holds(func(h *hold) bool {
		if h.state != state {
			h.state = state
			if h != but {
				x.change(h)
			}
		}
		return true
	})
}

// catchUp has the mechanism told when the wanted end moved while it was at
// work.
func (x *Executor) catchUp(j *job) {
	if j.place.lane.lister == nil || x.queueLen(j.place) > 1 {
		return // what waits will tell it
	}
	until, wanted := j.place.wanted()
	if wanted && (until == 0 && j.asked != 0 || until >= j.asked+int64(time.Second)) {
		x.push(&job{kind: renew, place: j.place, hold: j.hold})
	}
}

// answerBegin gives the orders behind a begin their receipts: the first what
// became of it, the others that they prolonged it, or that it came to nothing.
// A begin that was taken up again at the start has no order at hand.
func (x *Executor) answerBegin(j *job, r riposte.Receipt) {
	r.Mechanism = j.place.lane.mech.Name()
	if j.adopted {
		full := x.holdReceipt(j.hold, r.Outcome)
		full.Reason, full.Output = r.Reason, r.Output
		if full.Reason == "" {
			full.Reason = "riposte stopped in the middle of it, and took it up again"
		}
		x.say(full, "", nil, 0)
	}
	for i, c := range j.claims {
		if (i > 0 || j.adopted) && (r.Outcome == riposte.Applied || r.Outcome == riposte.Verified) {
			r = x.extended(j.hold)
		}
		x.answer(c, r)
	}
}

// offend notes an offence that was answered.
func (x *Executor) offend(h *hold) {
	k := x.offenderKey(h.key())
	rec, ok := x.offender(k)
	if !ok {
		rec = journal.Offender{Key: k}
	}
	since := x.cause(h).Since
	if stamp(rec.Until) <= stamp(since) || rec.Count == 0 {
		rec.Count++
	}
	rec.Rung, rec.Last = int(h.rung), since
	rec.Until = instant(max(h.until, stamp(rec.Until)))
	x.book.offenders[k] = rec
	delete(x.book.ended, k)
}

// endOffence notes that the answer to an offender ends at another time.
func (b *book) endOffence(k riposte.Key, until time.Time) {
	if rec, ok := b.offenders[k]; ok {
		rec.Until = until
		b.offenders[k] = rec
		return
	}
	b.ended[k] = until
}

// forget takes a hold off the books.
func (x *Executor) forget(h *hold) {
	if h.over {
		return
	}
	x.clock.set(h, 0)
	delete(x.troubles, h)
	delete(x.group(h.def.command.Name).holds, h.target)
	x.book.drop(h.key())
	h.over = true
}

func (x *Executor) settleRenew(j *job, res *enforce.Result, moot bool) {
	x.close(j.claims)
	if res.Err != nil {
		x.sick(j.place.lane, res.Err)
		for _, c := range j.claims {
			r := x.extended(j.hold)
			r.Outcome, r.Reason = riposte.Failed, fmt.Sprintf("its clock was restarted here, but %s could not be told: %v", r.Mechanism, res.Err)
			x.answer(c, r)
		}
		return
	}
	if !moot && res.State != "" {
		x.setState(j.place, res.State, nil)
	}
	for _, c := range j.claims {
		x.answer(c, x.extended(j.hold))
	}
	if !moot {
		x.catchUp(j)
	}
}

func (x *Executor) settleRepair(j *job, res *enforce.Result, moot bool) {
	if moot {
		return
	}
	if res.Err != nil {
		x.sick(j.place.lane, fmt.Errorf("put back %s: %w", j.place.target, res.Err))
		if j.place.lane.lister == nil {
			x.setMissing(j.place, "it could not be put back: "+res.Err.Error())
		}
		j.fail("%s: %s could not be put back: %w", j.place.lane.mech.Name(), j.place.target, res.Err)
		return
	}
	if j.place.lane.lister == nil {
		x.setMissing(j.place, "")
		// It is there for all that share it.
		j.place.holds(func(h *hold) bool {
			if h.inForce() && h.phase == journal.Pending && !h.doubt && x.find(h, begin) == nil {
				h.phase = journal.Held
				x.change(h)
			}
			return true
		})
	}
	same := res.State == "" || res.State == j.place.state()
	if !same {
		x.setState(j.place, res.State, nil)
	}
	if j.place.lane.lister == nil && same {
		return // it was there all the time
	}
	j.place.holds(func(h *hold) bool {
		switch {
		case !h.inForce():
		case j.first:
			x.restored = append(x.restored, h)
		default:
			r := x.holdReceipt(h, riposte.Repaired)
			r.Reason = j.reason
			x.say(r, "", nil, 0)
		}
		return true
	})
	x.catchUp(j)
}

// setMissing marks what is in force at a place of a mechanism that cannot be
// asked as not being there, or with no words as being there again.
func (x *Executor) setMissing(p place, words string) {
	p.holds(func(h *hold) bool {
		if !h.inForce() || h.missing == (words != "") {
			return true
		}
		if h.missing = words != ""; h.missing {
			x.troubles[h] = trouble{words: words}
		} else {
			delete(x.troubles, h)
		}
		x.change(h)
		return true
	})
}

// sayRestored tells, when there is nothing more urgent, what was put back at
// the start.
func (x *Executor) sayRestored() {
	const lot = 500
	n := min(lot, len(x.restored))
	x.askCauses(x.restored[:n])
	for _, h := range x.restored[:n] {
		if h.inForce() {
			r := x.holdReceipt(h, riposte.Repaired)
			r.Reason = "put back at the start of riposte"
			x.say(r, "", nil, 0)
		}
	}
	clear(x.restored[:n])
	if x.restored = x.restored[n:]; len(x.restored) == 0 {
		x.restored = nil
	}
}

func (x *Executor) settleAct(j *job, res *enforce.Result) {
	x.close(j.claims)
	r := riposte.Receipt{Outcome: done(res), Mechanism: j.place.lane.mech.Name(), Output: res.Output, Once: res.Err == nil}
	if res.Err != nil {
		r.Outcome, r.Reason = riposte.Failed, res.Err.Error()
	}
	for _, c := range j.claims {
		x.answer(c, r)
	}
	x.passed.settled = true
}

// The waits between attempts to undo: doubled each time up to a limit.
const (
	retryFirst = time.Second
	retryLast  = 5 * time.Minute
)

func backoff(tries int) time.Duration {
	if tries > 10 {
		return retryLast
	}
	return min(retryFirst<<max(tries-1, 0), retryLast)
}

func (x *Executor) settleEnd(j *job, res *enforce.Result, moot bool) {
	h := j.hold
	if res.Err == nil {
		x.ended(j, res, moot)
		return
	}
	if h.over {
		// A newer order has taken it over.
		r := x.holdReceipt(h, riposte.Failed)
		r.Reason = "it could not be undone before a newer order took it over: " + res.Err.Error()
		x.say(r, "", nil, 0)
		x.book.closed = append(x.book.closed, r.Order)
		j.fail("%s on %s: %w", h.def.command.Name, h.target, res.Err)
		return
	}
	h.tries++
	words := res.Err.Error()
	news := x.troubles[h].words != words
	wait := backoff(int(h.tries))
	x.troubles[h] = trouble{words: words, reason: j.reason, by: j.by}
	x.clock.set(h, x.wall()+int64(wait))
	x.change(h)
	if news {
		r := x.holdReceipt(h, riposte.Failed)
		r.Reason, r.Output = fmt.Sprintf("it could not be undone and is tried again: %s", words), res.Output
		x.say(r, "", nil, 0)
		x.o.Log.Error("a response could not be undone; it is tried again", "mechanism", r.Mechanism, "target", h.target, "error", words)
	}
	j.fail("%s on %s: %w", h.def.command.Name, h.target, res.Err)
}

// ended notes that a hold is over, and its effect gone, or with moot left to
// another hold.
func (x *Executor) ended(j *job, res *enforce.Result, moot bool) {
	h := j.hold
	state := ""
	if moot {
		state = j.place.state()
	}
	r := x.holdReceipt(h, riposte.Undone)
	r.Reason, r.Output = j.reason, res.Output
	if h.over {
		x.book.closed = append(x.book.closed, r.Order)
	}
	if j.by != "" {
		r.By = j.by
	}
	if h.tries > 0 {
		r.Reason += fmt.Sprintf(", at the %d. attempt", h.tries+1)
	}
	x.forget(h)
	x.setState(j.place, state, nil)
	if !moot {
		x.gone(j.place)
	}
	if other := x.anyHold(j.place); other != nil && moot {
		r.Reason += fmt.Sprintf("; %s keeps it in force", other.def.command.Name)
	}
	r = x.say(r, "", nil, 0)
	for _, t := range j.tallies {
		t.receipts = append(t.receipts, r)
	}
	x.passed.over = true
}

// gone notes that nothing is left at a place of what was there.
func (x *Executor) gone(p place) {
	p.holds(func(h *hold) bool { h.took, h.doubt = false, false; return true })
}

func (x *Executor) settleStray(j *job, res *enforce.Result, moot bool) {
	if moot {
		return
	}
	if res.Err != nil {
		x.sick(j.place.lane, fmt.Errorf("remove %s: %w", j.place.target, res.Err))
		j.fail("%s: %s could not be removed: %w", j.place.lane.mech.Name(), j.place.target, res.Err)
		return
	}
	x.say(riposte.Receipt{
		Outcome: riposte.Undone, Target: j.place.target, Mechanism: j.place.lane.mech.Name(), By: "riposte",
		Reason: "it was on the host, and the journal knows nothing of it",
	}, "", nil, 0)
}
