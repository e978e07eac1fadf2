package executor

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"riposte/internal/guard"
	"riposte/internal/journal"
)

// stepSize is by how much the wall clock must run away from a clock that nobody
// sets before it counts as having been set. Slewing stays far below.
const stepSize = 500 * time.Millisecond

// readClock reads the wall clock and returns how far it is ahead of the one
// that nobody sets.
func (x *Executor) readClock() time.Duration {
	x.read = x.o.Now().UnixNano()
	return time.Duration(x.read) - x.o.Elapsed()
}

// watchClock moves all ends with a wall clock that was set, so that what is in
// force lasts as long as it was given.
func (x *Executor) watchClock() {
	drift := x.readClock()
	by := drift - x.drift
	x.drift = drift
	if by > -stepSize && by < stepSize {
		return
	}
	// What this cycle has decided was decided on the old clock.
	err := x.commit()
	x.clock.shift(int64(by))
	for _, g := range x.groups {
		for _, h := range g.holds {
			if h.until != 0 {
				h.until += int64(by)
			}
		}
	}
	for _, l := range x.order {
		if l.retry != 0 {
			l.retry += int64(by)
		}
	}
	if x.trial != nil {
		x.trial.Until, x.trial.Since = x.trial.Until.Add(by), x.trial.Since.Add(by)
		x.setMeta("trial", x.trial)
	}
	if err == nil {
		err = x.o.Journal.Commit(&journal.Batch{Shift: by})
	}
	if err != nil {
		x.rewriteAll()
	}
	x.note("clock", "", fmt.Sprintf("the clock was set by %s; the ends of what is in force moved with it", by.Round(time.Millisecond)))
	x.o.Log.Warn("the clock was set; what is in force lasts as long as it was given", "by", by)
}

// rewriteAll writes the end of everything in force anew.
func (x *Executor) rewriteAll() {
	for _, g := range x.groups {
		for _, h := range g.holds {
			if h.until != 0 {
				x.change(h)
			}
		}
	}
}

// pause says who stopped new responses, and why.
type pause struct {
	By    string    `json:"by"`
	Since time.Time `json:"since"`
	Why   string    `json:"why,omitempty"`
}

func (p *pause) words() string {
	s := fmt.Sprintf("responses are paused since %s by %s", p.Since.UTC().Format(time.RFC3339), p.By)
	if p.Why != "" {
		s += ": " + p.Why
	}
	return s
}

// Pause refuses all new orders, those of triggers included, until Resume; what
// is in force still ends on time. A forced order passes. It outlives a restart.
func (x *Executor) Pause(ctx context.Context, by, why string) error {
	return x.call(ctx, func() { x.setPaused(&pause{By: by, Since: x.now(), Why: why}) })
}

func (x *Executor) setPaused(p *pause) {
	x.paused = p
	x.setMeta("paused", p)
	x.note("pause", p.By, p.Why)
}

// Resume ends a pause and reports whether there was one.
func (x *Executor) Resume(ctx context.Context, by string) (was bool, err error) {
	err = x.call(ctx, func() {
		if was = x.paused != nil; was {
			x.paused = nil
			x.setMeta("paused", nil)
			x.note("resume", by, "")
		}
	})
	return was, err
}

// trial is the time in which a person must confirm.
type trial struct {
	By    string    `json:"by"`
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
}

// Arm lets responses run on trial: unless Confirm is called in time, everything
// put in force since is undone and responses are paused. It ends a pause.
func (x *Executor) Arm(ctx context.Context, d time.Duration, by string) error {
	if d <= 0 {
		return fmt.Errorf("a trial of %s: expected a time", d)
	}
	return x.call(ctx, func() {
		x.trial = &trial{By: by, Since: x.now(), Until: x.now().Add(d)}
		x.setMeta("trial", x.trial)
		x.paused = nil
		x.setMeta("paused", nil)
		x.note("arm", by, fmt.Sprintf("armed on trial until %s", x.trial.Until.Format(time.RFC3339)))
	})
}

// Confirm ends a trial well and reports whether there was one.
func (x *Executor) Confirm(ctx context.Context, by string) (was bool, err error) {
	err = x.call(ctx, func() {
		if was = x.trial != nil; was {
			x.trial = nil
			x.setMeta("trial", nil)
			x.note("confirm", by, "")
		}
	})
	return was, err
}

// watchTrial ends a trial that nobody confirmed.
func (x *Executor) watchTrial() {
	t := x.trial
	if t == nil || t.Until.After(x.now()) {
		return
	}
	_ = x.commit() // so that the list is whole; what cannot be written has its cause at hand
	list, err := x.o.Journal.InForce(x.workCtx, journal.Filter{Since: t.Since})
	if err != nil {
		x.o.Log.Error("what was put in force on trial cannot be listed; everything is undone", "error", err)
	}
	since := map[*hold]bool{}
	for i := range list {
		if g := x.groups[list[i].Command.Name]; g != nil && g.holds[list[i].Target] != nil {
			since[g.holds[list[i].Target]] = true
		}
	}
	n := 0
	for _, g := range x.groups {
		for _, h := range g.holds {
			// What is not in the journal yet is younger than the trial.
			if err != nil || since[h] || h.cause != nil && !h.cause.Since.Before(t.Since) {
				x.endHold(h, "it was put in force on trial, and nobody confirmed", "riposte", nil)
				n++
			}
		}
	}
	x.trial = nil
	x.setMeta("trial", nil)
	x.note("unconfirmed", "", fmt.Sprintf("the trial of %s was not confirmed; %d responses are undone", t.By, n))
	x.setPaused(&pause{By: "riposte", Since: x.now(), Why: "the trial was not confirmed"})
	x.o.Log.Warn("the trial was not confirmed; what was put in force since is undone, and responses are paused", "responses", n)
}

// setMeta keeps a value over a restart; nil forgets it.
func (x *Executor) setMeta(key string, v any) {
	text := ""
	if v != nil {
		b, err := json.Marshal(v)
		if err != nil {
			x.o.Log.Error("what people set cannot be kept", "key", key, "error", err)
			return
		}
		text = string(b)
	}
	x.book.meta[key] = text
}

// SetGuard replaces the guard, as a reload does, and takes back what the new
// one would refuse. It returns how many responses that are.
func (x *Executor) SetGuard(ctx context.Context, g *guard.Guard) (int, error) {
	n := 0
	err := x.call(ctx, func() {
		x.guard = g
		n = x.recheck()
	})
	return n, err
}

// Status is the state of an executor.
type Status struct {
	InForce  map[string]int `json:"in_force"`           // by command
	Waiting  int            `json:"waiting"`            // jobs not done yet
	Stuck    int            `json:"stuck"`              // responses that could not be undone yet
	Paused   string         `json:"paused,omitempty"`   // in words
	Trial    time.Time      `json:"trial,omitzero"`     // when it ends unless confirmed
	Breaker  string         `json:"breaker,omitempty"`  // in words, when it is open
	Problems []string       `json:"problems,omitempty"` // of mechanisms and journal
	Missed   uint64         `json:"missed,omitempty"`   // receipts that Notify was too slow for
}

// Status says how things stand.
func (x *Executor) Status(ctx context.Context) (s Status, err error) {
	err = x.call(ctx, func() {
		s.InForce = map[string]int{}
		for name, g := range x.groups {
			if len(g.holds) > 0 {
				s.InForce[name] = len(g.holds)
			}
		}
		for _, q := range x.queues {
			s.Waiting += len(q)
		}
		s.Stuck = len(x.troubles)
		if x.paused != nil {
			s.Paused = x.paused.words()
		}
		if x.trial != nil {
			s.Trial = x.trial.Until
		}
		if x.guard != nil {
			s.Breaker = x.guard.BreakerOpen()
		}
		for _, l := range x.order {
			if l.trouble != "" {
				s.Problems = append(s.Problems, l.mech.Name()+": "+l.trouble)
			}
		}
		if x.unwritten != nil {
			s.Problems = append(s.Problems, x.unwritten.Error())
		}
	})
	if err != nil {
		return Status{}, err
	}
	s.Problems = append(s.Problems, x.o.Journal.Problems()...)
	x.tell.mu.Lock()
	s.Missed = x.tell.missed
	x.tell.mu.Unlock()
	return s, nil
}
